"""Cut documents into chunks that fit the model."""

from collections.abc import Callable, Iterator, Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.records import heading_context
from mcp_server_embeddings.tools.sentences import passage_blocks

CHUNK_TOKENS = 256
"""Maximum tokens of a chunk, even if the model accepts more: one vector represents about one idea."""

_SPECIAL_TOKENS = 4
"""Tokens reserved for the special tokens that the model adds to a text."""

_CHARACTERS_PER_COUNT = 64_000
"""Characters per call of the token counter; while counting, a tokenizer uses about 300 bytes per token."""

_CHARACTERS_PER_TOKEN = 16
"""Generous number of characters per token: a longer section is cut into sentences without counting it first."""

Count = Callable[[Sequence[str]], list[int]]
"""Counts the tokens of each text."""


def chunk_limit(embedder: Embedder) -> int:
    """Return the maximum tokens of a chunk under this model, without the document prompt."""
    identity = embedder.identity()
    if identity.max_tokens is None:
        return CHUNK_TOKENS
    (prompt,) = embedder.count_tokens([identity.prompts.document])
    return max(1, min(CHUNK_TOKENS, identity.max_tokens - prompt - _SPECIAL_TOKENS))


def chunk_places(text: str, sections: Sequence[Section], count: Count, max_tokens: int) -> list[Section]:
    """Cut a text into chunks of whole sentences, as many as fit, that never cross a section boundary.

    Args:
        text: The document.
        sections: Its sections, ascending, not overlapping.
        count: The token counter.
        max_tokens: Maximum tokens of a chunk including its heading path; a longer sentence is cut.

    Returns:
        The chunks with the headings of their sections, ascending. They cover every visible character of the sections.
    """
    headings = [heading_context(section.heading) for section in sections]
    distinct = list(dict.fromkeys(filter(None, headings)))
    heading_tokens = dict(zip(distinct, count(distinct), strict=True)) if distinct else {}
    chunks: list[Section] = []
    for section, heading in zip(sections, headings, strict=True):
        available = max(max_tokens - heading_tokens.get(heading, 0), max_tokens // 2)
        chunks += _section_chunks(text, section, count, available)
    return chunks


def _section_chunks(text: str, section: Section, count: Count, max_tokens: int) -> list[Section]:
    whole = text[section.start : section.end]
    visible = whole.strip()
    if not visible:
        return []
    start = section.start + len(whole) - len(whole.lstrip())
    if len(visible) <= max_tokens * _CHARACTERS_PER_TOKEN and count([visible])[0] <= max_tokens:
        return [Section(start, start + len(visible), section.heading)]
    chunks: list[Section] = []
    remaining = 0
    for place, tokens in _counted_sentences(whole, count, max_tokens):
        first, last = (section.start + offset for offset in place)
        if chunks and tokens <= remaining:
            chunks[-1] = Section(chunks[-1].start, last, section.heading)
            remaining -= tokens
        else:
            chunks.append(Section(first, last, section.heading))
            remaining = max_tokens - tokens
    return chunks


def _counted_sentences(text: str, count: Count, max_tokens: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the sentences of a text with their token counts, one part of the text at a time; cut long sentences."""
    pieces: list[tuple[int, int]] = []
    for block in passage_blocks(text):
        pieces += block
        if pieces and pieces[-1][1] - pieces[0][0] >= _CHARACTERS_PER_COUNT:
            yield from _split_to_fit(text, pieces, count, max_tokens)
            pieces = []
    yield from _split_to_fit(text, pieces, count, max_tokens)


def _split_to_fit(
    text: str, pieces: Sequence[tuple[int, int]], count: Count, max_tokens: int
) -> list[tuple[tuple[int, int], int]]:
    """Return the pieces with their token counts; halve those over the limit until they fit or are one character."""
    result: list[tuple[tuple[int, int], int]] = []
    for (start, end), tokens in zip(pieces, count([text[start:end] for start, end in pieces]), strict=True):
        if tokens <= max_tokens or end - start == 1:
            result.append(((start, end), tokens))
        else:
            middle = (start + end) // 2
            result += _split_to_fit(text, [(start, middle), (middle, end)], count, max_tokens)
    return result
