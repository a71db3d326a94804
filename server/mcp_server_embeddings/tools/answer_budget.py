"""The answer budget: how many list entries fit into an answer."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import pydantic_core

from mcp_server_embeddings.tools.results import ResultModel

ANSWER_CHARACTERS = 8_000
"""Default size of an answer in characters: about 2,500 tokens, a tenth of what Claude Code accepts from one call."""

RESERVED_CHARACTERS = 600
"""Characters reserved for everything outside the lists: model, counts, notes."""

_unlimited = ContextVar("whole_answers", default=False)


@contextmanager
def whole_answers() -> Iterator[None]:
    """Remove the limit on answers of tools called in the block; for pages, where no model pays for the length."""
    token = _unlimited.set(True)
    try:
        yield
    finally:
        _unlimited.reset(token)


class AnswerBudget:
    """The characters available to an answer's lists, spent list by list.

    Args:
        characters: Size limit of the whole answer.

    Example:
        >>> budget = AnswerBudget()
        >>> checks = checks[: budget.take(checks)]
    """

    def __init__(self, characters: int = ANSWER_CHARACTERS) -> None:
        self._characters = sys.maxsize if _unlimited.get() else characters - RESERVED_CHARACTERS
        self._remaining = self._characters

    def take(self, entries: Iterable[object], *, share: float = 1.0) -> int:
        """Return how many leading entries fit into the remaining budget, and deduct their size.

        Args:
            entries: Models or JSON values.
            share: Maximum share of the whole budget that they may use.
        """
        count, used = self._count_fitting(entries, share)
        self._remaining -= used
        return count

    def take_all(self, entries: Sequence[object], *, share: float = 1.0) -> bool:
        """Return whether the whole list fits; deduct its size only if it does. Arguments as for ``take``."""
        count, used = self._count_fitting(entries, share)
        if count < len(entries):
            return False
        self._remaining -= used
        return True

    def _count_fitting(self, entries: Iterable[object], share: float) -> tuple[int, int]:
        """Return how many leading entries fit, and their size in characters."""
        allowed = min(self._remaining, int(share * self._characters))
        count, used = 0, 0
        for entry in entries:
            cost = json_length(entry) + 1
            if used + cost > allowed:
                break
            count, used = count + 1, used + cost
        return count, used


def json_length(value: object) -> int:
    """Return the number of characters of a value serialised as compact JSON, as in an answer."""
    return len(pydantic_core.to_json(value.compact() if isinstance(value, ResultModel) else value).decode())
