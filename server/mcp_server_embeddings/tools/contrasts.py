"""Find negations and opposites among the words of two texts."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import NamedTuple

from mcp_server_embeddings.languages import Language, tables

_OBLIGATION = 0
"""Group of opposites, in every language, for degrees of obligation: "must not" and "may not" both forbid."""

_POLARITY = -1
"""Pseudo-group for words that differ by a negating prefix."""

_IMPLICATIVE = frozenset({"fail", "fails", "failed", "stop", "stops", "stopped", "free"})
"""English words that negate the words after them (Karttunen 1971, "Implicative verbs", Language 47:2)."""

_ENGLISH_ENDINGS = (
    ("ies", "y"), ("ied", "y"), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"), ("es", ""), ("s", "")
)  # fmt: skip
"""Endings and their replacements."""

_MIN_BASE = 3

_ABSENT = "∅"

_MAX_CHARACTERS = 40
"""Maximum characters of a word or number in an answer; longer ones are keys and addresses."""


class Contrast(NamedTuple):
    """Two opposite words, one from each text, and the group of opposites that contains them."""

    left: str
    right: str
    group: int


def negation_changes(left: Sequence[str], right: Sequence[str], found: Sequence[Contrast]) -> tuple[str, ...]:
    """Offset negations against opposites: ``not allowed`` means the same as ``forbidden``.

    Args:
        left: The negating words of the left text.
        right: The negating words of the right text.
        found: The contrasts between the texts.

    Returns:
        The changes, as ``∅ → not`` and ``before → after``.
    """
    if not (left or right or found):
        return ()
    surplus = abs(len(left) - len(right))
    obligations = [contrast for contrast in found if contrast.group == _OBLIGATION and (surplus or not left)]
    opposites = [contrast for contrast in found if contrast.group != _OBLIGATION]
    cancelled = min(surplus, len(opposites))
    sides = [*(Counter(left) - Counter(right)).elements()], [*(Counter(right) - Counter(left)).elements()]
    shorter = min(map(len, sides))
    unmatched = format_changes(*(side[shorter:][: surplus - cancelled] for side in sides))
    return (*unmatched, *(f"{contrast.left} → {contrast.right}" for contrast in [*obligations, *opposites[cancelled:]]))


def negating_words(text: str, words: Sequence[str], language: Language) -> list[str]:
    """Return the negating words of a text, in order."""
    if language.cues is not None:
        return [cue for cue in language.cues.findall(text) if cue]
    negation = language.negation
    negating = [
        word
        for at, word in enumerate(words)
        if (word in negation or word in _IMPLICATIVE) and _negates(word, words[at + 1] if at + 1 < len(words) else "")
    ]
    return negating or [word for word in words if word in language.concord]


def contrasts(lefts: Sequence[str], rights: Sequence[str], language: Language) -> tuple[list[Contrast], set[str]]:
    """Find opposites among the words that only one of the two texts has.

    Returns:
        The contrasts, and the words that have a synonym in the other text.
    """
    sides = [_group_words(words, others, language) for words, others in ((lefts, rights), (rights, lefts))]
    synonyms = {word for side in sides for key in sides[0].keys() & sides[1].keys() for word in side[key]}
    found: dict[tuple[str, str], int] = {}
    for (left_group, left_class), words in sides[0].items():
        for (right_group, right_class), other_words in sides[1].items():
            if left_group == right_group and left_class != right_class:
                for pair in zip(words, other_words, strict=False):
                    if synonyms.isdisjoint(pair):
                        found.setdefault(pair, left_group)
    return [Contrast(*pair, group) for pair, group in found.items()], synonyms


def prefix_contrasts(removed: Sequence[str], added: Sequence[str]) -> list[Contrast]:
    """Find words that differ by a negating prefix: ``valid`` and ``invalid``."""
    found: list[Contrast] = []
    for prefix in tables().denying_prefixes if removed and added else ():
        found += [Contrast(word, prefix + word, _POLARITY) for word in removed if prefix + word in added]
        found += [Contrast(prefix + word, word, _POLARITY) for word in added if prefix + word in removed]
    return found


def format_changes(left: Sequence[str], right: Sequence[str]) -> tuple[str, ...]:
    """Format the changes between two lists, paired by position: ``30 days → 60 days``."""
    return tuple(f"{shortened(old)} → {shortened(new)}" for old, new in zip_longest(left, right, fillvalue=_ABSENT))


def shortened(word: str) -> str:
    """Shorten a token that is too long to be a word."""
    return word if len(word) <= _MAX_CHARACTERS else word[: _MAX_CHARACTERS - 1] + "…"


def _negates(word: str, following: str) -> bool:
    """Tell whether a word negates the next: in ``failed to``, ``stopped working``, ``free of``, not in ``not only``."""
    if word not in _IMPLICATIVE:
        return following != "only"
    if word == "free":
        return following in ("of", "from")
    return following.endswith("ing") if word.startswith("stop") else following == "to"


def _group_words(words: Sequence[str], others: Sequence[str], language: Language) -> dict[tuple[int, int], list[str]]:
    """Group the words that only the first text has by their classes of opposites: (group, class)."""
    by_class: dict[tuple[int, int], list[str]] = {}
    for word in sorted({*words, *_have_to_forms(words)}.difference(others, _have_to_forms(others))):
        for key in _opposite_classes(word, language):
            by_class.setdefault(key, []).append(word)
    return dict(sorted(by_class.items()))


def _have_to_forms(words: Sequence[str]) -> list[str]:
    if "to" not in words:
        return []
    return [f"{word}_to" for word, following in pairwise(words) if following == "to" and word in ("have", "has", "had")]


@lru_cache(maxsize=1 << 14)
def _opposite_classes(word: str, language: Language) -> frozenset[tuple[int, int]]:
    return frozenset(key for base in _base_forms(word, language) for key in language.opposites.get(base, ()))


def _base_forms(word: str, language: Language) -> list[str]:
    """Return the possible base forms of a word, including itself; only English endings are removed."""
    bases = [word]
    if word in language.irregular:
        bases.append(language.irregular[word])
    for ending, replacement in _ENGLISH_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_BASE:
            base = word.removesuffix(ending) + replacement
            bases.append(base)
            if base[-1] == base[-2]:
                bases.append(base[:-1])
    return bases
