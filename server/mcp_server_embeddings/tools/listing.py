"""How much of a long answer is listed: what a small context bears, or what the caller asks for."""

from collections.abc import Callable, Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.texts import MAX_TEXTS, check_range

ANSWER_TOKENS = 2_000
"""Tokens of the listed entries. With what surrounds them an answer stays under 2,500; Claude Code stops at
25,000 for all answers of a conversation's step."""

_MOST_ENTRIES = 1_000
"""No more entries than this are counted; they would not fit."""

_MEMBERS = (300, 100, 30, 10, 3)
"""Members listed of each entry, tried in turn until all entries fit."""


def check_top(top: int | None) -> None:
    """Refuse a number of entries outside 1 to 2,000.

    Raises:
        InputError: It is.
    """
    if top is not None:
        check_range("top", top, 1, MAX_TEXTS)


def fitting(embedder: Embedder, entries: Sequence[str], top: int | None, share: float = 1.0) -> int:
    """How many entries to list.

    Args:
        embedder: Counts tokens.
        entries: What each entry adds to the answer.
        top: As many as the caller asked for; None for as many as fit.
        share: Of ``ANSWER_TOKENS``.

    Returns:
        At most ``len(entries)``, and at least one where there is one.
    """
    if top is not None:
        return min(top, len(entries))
    if not entries:
        return 0
    left = share * ANSWER_TOKENS
    tokens = embedder.count_tokens(entries[:_MOST_ENTRIES])
    for listed, count in enumerate(tokens):
        left -= count
        if left < 0:
            return max(1, listed)
    return len(tokens)


def fitting_members(
    embedder: Embedder, entries: Callable[[int], list[str]], longest: int, top: int | None, share: float = 1.0
) -> tuple[int, int]:
    """How many entries to list, and how many members of each: rather all entries with few members.

    Args:
        embedder: Counts tokens.
        entries: What each entry adds to the answer with that many members.
        longest: Members of the largest entry.
        top: As many entries and members as the caller asked for; None for as many as fit.
        share: Of ``ANSWER_TOKENS``.
    """
    if top is not None:
        return top, top
    for members in (longest, *(number for number in _MEMBERS if number < longest)):
        lines = entries(members)
        listed = fitting(embedder, lines, None, share)
        if listed == len(lines):
            return listed, members
    return fitting(embedder, entries(1), None, share), 1
