"""Cutting documents into chunks that fit the model."""

from collections.abc import Callable, Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.reading.documents import Section
from mcp_server_embeddings.tools.sentences import passages

CHUNK_TOKENS = 256
"""Tokens of a chunk at most, also where the model reads more: one vector stands for about one thought."""

_RESERVE = 4
"""Tokens kept free for what the model puts around a text."""

Count = Callable[[Sequence[str]], list[int]]


def chunk_limit(embedder: Embedder) -> int:
    """Tokens of a chunk under this model."""
    identity = embedder.identity()
    if identity.max_tokens is None:
        return CHUNK_TOKENS
    (prompt,) = embedder.count_tokens([identity.prompts.document])
    return max(1, min(CHUNK_TOKENS, identity.max_tokens - prompt - _RESERVE))


def chunk_places(text: str, sections: Sequence[Section], count: Count, most: int) -> list[Section]:
    """The chunks of a text: whole sentences, as many as fit, never across a section.

    Args:
        text: The document.
        sections: Its sections, ascending, not overlapping.
        count: Tokens of each of some texts.
        most: Tokens of a chunk at most; a longer sentence is cut.

    Returns:
        Their places with the headings of their sections, ascending; together every visible character of those.
    """
    return [chunk for section in sections for chunk in _section_chunks(text, section, count, most)]


def _section_chunks(text: str, section: Section, count: Count, most: int) -> list[Section]:
    whole = text[section.start : section.end]
    visible = whole.strip()
    if not visible:
        return []
    start = section.start + len(whole) - len(whole.lstrip())
    if count([visible])[0] <= most:
        return [Section(start, start + len(visible), section.heading)]
    pieces = [(section.start + first, section.start + last) for first, last in passages(whole)]
    chunks: list[Section] = []
    room = 0
    for (first, last), tokens in _fitting(text, pieces, count, most):
        if chunks and tokens <= room:
            chunks[-1] = Section(chunks[-1].start, last, section.heading)
            room -= tokens
        else:
            chunks.append(Section(first, last, section.heading))
            room = most - tokens
    return chunks


def _fitting(
    text: str, pieces: Sequence[tuple[int, int]], count: Count, most: int
) -> list[tuple[tuple[int, int], int]]:
    """The pieces with their tokens; those over the limit halved until they fit or are one character."""
    fitting: list[tuple[tuple[int, int], int]] = []
    for (start, end), tokens in zip(pieces, count([text[start:end] for start, end in pieces]), strict=True):
        if tokens <= most or end - start == 1:
            fitting.append(((start, end), tokens))
        else:
            middle = (start + end) // 2
            fitting += _fitting(text, [(start, middle), (middle, end)], count, most)
    return fitting
