"""Cutting a text into passages short enough to quote."""

import re
from collections.abc import Iterator

_CLOSING = "[\"'”’»)\\]]*$"
SENTENCE_END = re.compile(f"[.!?…。！？؟।]{_CLOSING}")
"""The end of a sentence at the end of a text, with closing quotes and brackets."""

STATEMENT_END = re.compile(f"[.!?…。！？؟।:;：；]{_CLOSING}")
"""An ending that running text has and headings lack; it includes the colon before a list."""

MAX_PASSAGE = 320
"""Maximum number of characters in a passage. A longer sentence, in a table or a log, is cut between words."""

_MIN_TITLE = 25
"""Number of characters below which a sentence says little."""

_BLOCK_CHARACTERS = 4_000
"""Number of characters passed to sentencex at once: its time is quadratic in the quotes and brackets among them, and
it blocks all other threads of the process."""


def passages(text: str) -> list[tuple[int, int]]:
    """Return the sentences of a text as character offsets, without surrounding white space.

    Returns:
        Pairs ``(start, end)``, ascending, not overlapping; together they cover every visible character.
    """
    return [place for block in passage_blocks(text) for place in block]


def passage_blocks(text: str) -> Iterator[list[tuple[int, int]]]:
    """Yield the sentences of a text block by block, to bound the memory for long texts.

    Sentence ends are found by sentencex (Wikimedia), which knows the punctuation of about 300 languages; its
    English rules are used for all texts, because the language of a text is not known.
    """
    # Imported here: only the calls that cut texts need it.
    from sentencex import get_sentence_boundaries

    for first, last in _split(text, 0, len(text), _BLOCK_CHARACTERS):
        found: list[tuple[int, int]] = []
        for sentence in get_sentence_boundaries("en", text[first:last]):
            start, end = first + int(sentence["start_index"]), first + int(sentence["end_index"])
            for piece in _split(text, start, end, MAX_PASSAGE):
                found += _strip(text, *piece)
        yield found


def headline(text: str) -> str:
    r"""Return the title of a text: its heading or a separate first line; otherwise its first sentence.

    A sentence under 25 characters, such as a greeting, is returned with the next one.

    Example:
        >>> headline("# Refunds\n\nYou get your money back.")
        'Refunds'
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    title = lines[0].strip("#* ") if lines else ""
    if title and len(lines) > 1 and (lines[0].startswith("#") or not lines[1] or set(lines[1]) <= set("=-")):
        return title
    paragraph = " ".join(lines[: lines.index("")] if "" in lines else lines)
    ends = [end for _, end in passages(paragraph)]
    return paragraph[: next((end for end in ends if end >= _MIN_TITLE), None)]


def joined(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join neighbouring passages up to ``MAX_PASSAGE`` characters, for texts that have too many."""
    merged: list[tuple[int, int]] = []
    for start, end in places:
        if merged and end - merged[-1][0] <= MAX_PASSAGE:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _split(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield pieces of at most ``most`` characters, cut after a line, else between words, else anywhere."""
    while end - start > most:
        half, limit = start + most // 2, start + most
        line = text.rfind("\n", half, limit) + 1
        cut = line or next((i for i in range(limit, half, -1) if text[i - 1].isspace()), limit)
        yield start, cut
        start = cut
    yield start, end


def _strip(text: str, start: int, end: int) -> list[tuple[int, int]]:
    piece = text[start:end]
    visible = piece.strip()
    if not visible:
        return []
    first = start + len(piece) - len(piece.lstrip())
    return [(first, first + len(visible))]
