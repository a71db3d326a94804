"""Cutting a text into passages short enough to quote."""

MAX_PASSAGE = 320
"""Characters of a passage at most. A sentence over it, in a table or a log, is cut between words."""


def passages(text: str) -> list[tuple[int, int]]:
    """The sentences of a text as character offsets, white space around them left out.

    Sentence ends are found by sentencex (Wikimedia), which knows the punctuation of about 300 languages; its
    English rules serve all here, since a text does not say its language.

    Returns:
        Pairs ``(start, end)``, ascending, not overlapping; together they hold every visible character.
    """
    # Imported here: only the calls that cut texts need it.
    from sentencex import get_sentence_boundaries

    found: list[tuple[int, int]] = []
    for sentence in get_sentence_boundaries("en", text):
        start, end = int(sentence["start_index"]), int(sentence["end_index"])
        while start < end:
            cut = _end(text, start, end)
            found += _trimmed(text, start, cut)
            start = cut
    return found


def _end(text: str, start: int, end: int) -> int:
    if end - start <= MAX_PASSAGE:
        return end
    space = text.rfind(" ", start + 1, start + MAX_PASSAGE)
    return space if space > start + MAX_PASSAGE // 2 else start + MAX_PASSAGE


def _trimmed(text: str, start: int, end: int) -> list[tuple[int, int]]:
    piece = text[start:end]
    visible = piece.strip()
    if not visible:
        return []
    first = start + len(piece) - len(piece.lstrip())
    return [(first, first + len(visible))]
