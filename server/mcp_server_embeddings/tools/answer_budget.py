"""How much of a long answer is listed: what a small context bears, or what the caller asks for."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mcp_server_embeddings.tools.texts import MAX_TEXTS, check_range, snippet

MAX_TOP = 1_000
"""Pairs and hits that a caller may ask for."""

ANSWER_TOKENS = 2_100
"""Tokens of the listed entries. With what surrounds them an answer stays under 2,500, a tenth of what Claude Code
takes from one call (25,000)."""

_TERSENESS = 0.75
"""Numbers and labels of an entry in words, over the same as JSON, whose quotes and names are tokens too."""

_MOST_ENTRIES = 1_000
"""No more entries than this are counted; they would not fit."""

_ABOUT_A_TOKEN = re.compile(r"[A-Za-z0-9]{1,3}|[^\sA-Za-z0-9]")

_MEMBERS = (300, 100, 30, 10, 3)
"""Members listed of each entry, tried in turn until all entries fit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an answer, in the two forms in which it is sent.

    Attributes:
        data: Its JSON, for the structured content.
        recalled: The beginnings of texts that the words add.
        repeated: JSON of the same, where the structured content recalls the texts too.
    """

    data: str
    recalled: str
    repeated: str = ""


def positions(rows: Sequence[int], texts: Sequence[str], sign: str = "") -> list[Entry]:
    """Entries that are positions alone, recalled by the beginnings of their texts.

    Args:
        rows: The positions.
        texts: What they are positions in.
        sign: What the words put before or after each.
    """
    return [Entry(f"{row},", f"{sign}[{row}] {snippet(texts[row])}") for row in rows]


class TokenCounter(Protocol):
    """Counts the tokens of texts; an ``Embedder`` does it with its model's tokenizer."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has."""
        ...


class EstimatedTokens:
    """Counts without a model, rather too many: three letters or digits of ASCII a token, every other sign one."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """About how many tokens each text has."""
        return [len(_ABOUT_A_TOKEN.findall(text)) for text in texts]


class AnswerBudget:
    """What an answer has room for, filled list by list.

    Args:
        counter: Counts tokens.
        top: As many entries of each list as the caller asked for; None for as many as fit.

    Raises:
        InputError: ``top`` is outside 1 to 2,000.
    """

    def __init__(self, counter: TokenCounter, top: int | None) -> None:
        if top is not None:
            check_range("top", top, 1, MAX_TEXTS)
        self._counter = counter
        self._top = top
        self._left = float(ANSWER_TOKENS)

    def take(self, entries: Sequence[Entry], share: float = 1.0) -> int:
        """How many entries of a list to send: those that fit into what is left, and one at least if there is one.

        Args:
            entries: The list.
            share: At most this much of the whole room.
        """
        if self._top is not None:
            return min(self._top, len(entries))
        room = min(self._left, share * ANSWER_TOKENS)
        listed = used = 0.0
        for cost in self._costs(entries[:_MOST_ENTRIES]):
            if listed and used + cost > room:
                break
            listed, used = listed + 1, used + cost
        self._left -= used
        return int(listed)

    def take_members(self, entries: Callable[[int], list[Entry]], longest: int) -> tuple[int, int]:
        """How many entries to send, and how many members of each: rather all entries with few members.

        Args:
            entries: The list, with that many members in each entry.
            longest: Members of the largest entry.
        """
        if self._top is not None:
            return min(self._top, len(entries(1))), self._top
        tried = (longest, *(number for number in _MEMBERS if number < longest))
        fitting = (number for number in tried if sum(self._costs(entries(number))) <= self._left)
        members = next(fitting, 1)
        return self.take(entries(members)), members

    def _costs(self, entries: Sequence[Entry]) -> list[float]:
        parts = [part for entry in entries for part in (entry.data, entry.recalled, entry.repeated)]
        tokens = iter(self._counter.count_tokens(parts))
        return [
            max(data + repeated, _TERSENESS * data + recalled)
            for data, recalled, repeated in zip(tokens, tokens, tokens, strict=True)
        ]
