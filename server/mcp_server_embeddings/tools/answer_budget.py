"""The answer budget: how many entries of an answer's lists are sent."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice

import pydantic_core

from mcp_server_embeddings.tools.results import ResultModel

ANSWER_CHARACTERS = 8_000
"""Characters of an answer by default: about 2,500 tokens, a tenth of what Claude Code accepts from one call."""

AROUND = 600
"""Characters kept for what surrounds the lists: model, counts, notes."""


_whole = ContextVar("whole_answers", default=False)


@contextmanager
def whole_answers() -> Iterator[None]:
    """Leave nothing out of the answers of tools that are called in the block: they are for a page, and no model's."""
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


class AnswerBudget:
    """The characters that an answer's lists may take, spent list by list.

    Args:
        characters: Of the whole answer.

    Example:
        >>> budget = AnswerBudget()
        >>> checks = checks[: budget.take(checks)]
    """

    def __init__(self, characters: int = ANSWER_CHARACTERS) -> None:
        self._characters = sys.maxsize if _whole.get() else characters - AROUND
        self._left = self._characters

    def take(self, entries: Iterable[ResultModel | object], *, share: float = 1.0, limit: int | None = None) -> int:
        """Return how many entries of a list fit into what is left, and spend what they take.

        Args:
            entries: The list: models, or JSON values.
            share: At most this share of the whole budget.
            limit: At most so many entries.
        """
        taken, used = self._fitting(islice(entries, limit), share)
        self._left -= used
        return taken

    def take_all(self, entries: Sequence[ResultModel | object], *, share: float = 1.0) -> bool:
        """Return whether a whole list fits; spends nothing where it does not.

        Args:
            entries: The list: models, or JSON values.
            share: At most this share of the whole budget.
        """
        taken, used = self._fitting(entries, share)
        if taken < len(entries):
            return False
        self._left -= used
        return True

    def _fitting(self, entries: Iterable[ResultModel | object], share: float) -> tuple[int, int]:
        """Return how many entries fit, and what they take."""
        allowed = min(self._left, int(share * self._characters))
        taken, used = 0, 0
        for entry in entries:
            cost = json_length(entry) + 1
            if used + cost > allowed:
                break
            taken, used = taken + 1, used + cost
        return taken, used


def json_length(value: ResultModel | object) -> int:
    """Return the characters of a value as compact JSON, as it is sent."""
    return len(pydantic_core.to_json(value.compact() if isinstance(value, ResultModel) else value).decode())
