"""Cut documents into chunks that fit the model."""

from collections.abc import Callable, Iterator, Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.records import heading_context
from mcp_server_embeddings.tools.sentences import passage_blocks

CHUNK_TOKENS = 256
"""Maximum tokens of a chunk, even if the model accepts more: one vector represents about one idea."""

_RESERVE = 4
"""Tokens reserved for the special tokens that the model adds to a text."""

_COUNTED = 64_000
"""Characters per call of the token counter; while counting, a tokenizer uses about 300 bytes per token."""

_TOKEN_LENGTH = 16
"""Generous number of characters per token: a longer section is cut into sentences without counting it first."""

Count = Callable[[Sequence[str]], list[int]]
"""Counts the tokens of each text."""


def chunk_limit(embedder: Embedder) -> int:
    """Return the maximum tokens of a chunk under this model, without the document prompt."""
    identity = embedder.identity()
    if identity.max_tokens is None:
        return CHUNK_TOKENS
    (prompt,) = embedder.count_tokens([identity.prompts.document])
    return max(1, min(CHUNK_TOKENS, identity.max_tokens - prompt - _RESERVE))


def chunk_places(text: str, sections: Sequence[Section], count: Count, most: int) -> list[Section]:
    """Cut a text into chunks of whole sentences, as many as fit, that never cross a section boundary.

    Args:
        text: The document.
        sections: Its sections, ascending, not overlapping.
        count: The token counter.
        most: Maximum tokens of a chunk including its heading path; a longer sentence is cut.

    Returns:
        The chunks with the headings of their sections, ascending. They cover every visible character of the sections.
    """
    paths = [heading_context(section.heading) for section in sections]
    different = list(dict.fromkeys(filter(None, paths)))
    taken = dict(zip(different, count(different), strict=True)) if different else {}
    return [
        chunk
        for section, path in zip(sections, paths, strict=True)
        for chunk in _section_chunks(text, section, count, max(most - taken.get(path, 0), most // 2))
    ]


def _section_chunks(text: str, section: Section, count: Count, most: int) -> list[Section]:
    whole = text[section.start : section.end]
    visible = whole.strip()
    if not visible:
        return []
    start = section.start + len(whole) - len(whole.lstrip())
    if len(visible) <= most * _TOKEN_LENGTH and count([visible])[0] <= most:
        return [Section(start, start + len(visible), section.heading)]
    chunks: list[Section] = []
    room = 0
    for place, tokens in _counted(whole, count, most):
        first, last = (section.start + offset for offset in place)
        if chunks and tokens <= room:
            chunks[-1] = Section(chunks[-1].start, last, section.heading)
            room -= tokens
        else:
            chunks.append(Section(first, last, section.heading))
            room = most - tokens
    return chunks


def _counted(text: str, count: Count, most: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the sentences of a text with their token counts, one part of the text at a time; cut long sentences."""
    pieces: list[tuple[int, int]] = []
    for block in passage_blocks(text):
        pieces += block
        if pieces and pieces[-1][1] - pieces[0][0] >= _COUNTED:
            yield from _fitting(text, pieces, count, most)
            pieces = []
    yield from _fitting(text, pieces, count, most)


def _fitting(
    text: str, pieces: Sequence[tuple[int, int]], count: Count, most: int
) -> list[tuple[tuple[int, int], int]]:
    """Return the pieces with their token counts; halve those over the limit until they fit or are one character."""
    fitting: list[tuple[tuple[int, int], int]] = []
    for (start, end), tokens in zip(pieces, count([text[start:end] for start, end in pieces]), strict=True):
        if tokens <= most or end - start == 1:
            fitting.append(((start, end), tokens))
        else:
            middle = (start + end) // 2
            fitting += _fitting(text, [(start, middle), (middle, end)], count, most)
    return fitting
