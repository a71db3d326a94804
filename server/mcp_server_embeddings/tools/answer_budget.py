"""The answer budget: how many entries of a long answer are listed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mcp_server_embeddings.engine.estimate import EstimatedTokens
from mcp_server_embeddings.tools.texts import snippet

ANSWER_TOKENS = 2_100
"""Tokens of the listed entries. With what surrounds them an answer stays under 2,500, a tenth of what Claude Code
accepts from one call (25,000)."""

_COUNTER = EstimatedTokens()
"""An answer is the same whatever model is served, so it is not counted by the model's tokenizer."""

_TEXT_TO_JSON = 0.75
"""Tokens of an entry's numbers and labels in the text form, relative to JSON with its quotes and names."""

_MAX_ENTRIES = 1_000
"""More entries than this are not counted; they would not fit."""

_MEMBERS = (300, 100, 30, 10, 3)
"""Members listed per entry, tried in turn until all entries fit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an answer, in the two forms in which it is sent.

    Attributes:
        data: JSON of the structured content.
        recalled: The beginnings of texts that the text form adds.
        repeated: JSON of these, where the structured content has them too.
    """

    data: str
    recalled: str
    repeated: str = ""


def positions(rows: Sequence[int], texts: Sequence[str], sign: str = "") -> list[Entry]:
    """Create entries that are positions only, shown in the text form with the beginnings of their texts.

    Args:
        rows: The positions.
        texts: What they are positions in.
        sign: A sign beside each position in the text form.
    """
    return [Entry(f"{row},", f"{sign}[{row}] {snippet(texts[row])}") for row in rows]


class AnswerBudget:
    """The tokens an answer may take, spent list by list.

    Args:
        top: Entries of each list that the caller asked for; None for as many as fit.

    Example:
        >>> budget = AnswerBudget(top=None)
        >>> listed = pairs[: budget.take([Entry(pair.model_dump_json(), "") for pair in pairs])]
    """

    def __init__(self, top: int | None) -> None:
        self._top = top
        self._left = float(ANSWER_TOKENS)

    def take(self, entries: Sequence[Entry], share: float = 1.0) -> int:
        """Return how many entries of a list fit into what is left; at least one if there is any.

        Args:
            entries: The list.
            share: At most this share of the whole budget.
        """
        if self._top is not None:
            return min(self._top, len(entries))
        limit = min(self._left, share * ANSWER_TOKENS)
        listed, used = 0, 0.0
        for cost in _costs(entries[:_MAX_ENTRIES]):
            if listed and used + cost > limit:
                break
            listed, used = listed + 1, used + cost
        self._left -= used
        return listed

    def take_members(self, entries: Callable[[int], list[Entry]], longest: int) -> tuple[int, int]:
        """Return how many entries to send and how many members of each; prefers all entries with few members.

        Args:
            entries: The list, with that many members in each entry.
            longest: Members of the largest entry.
        """
        if self._top is not None:
            return min(self._top, len(entries(1))), self._top
        tried = (longest, *(number for number in _MEMBERS if number < longest))
        fitting = (number for number in tried if sum(_costs(entries(number))) <= self._left)
        members = next(fitting, 1)
        return self.take(entries(members)), members


def _costs(entries: Sequence[Entry]) -> list[float]:
    parts = [part for entry in entries for part in (entry.data, entry.recalled, entry.repeated)]
    tokens = iter(_COUNTER.count(parts))
    return [
        max(data + repeated, _TEXT_TO_JSON * data + recalled)
        for data, recalled, repeated in zip(tokens, tokens, tokens, strict=True)
    ]
