"""Find the words that distinguish one group of texts from the others."""

import math
import re
from collections import Counter
from collections.abc import Sequence, Set

_TERMS_PER_GROUP = 5
"""Number of terms per group."""

_MAX_TERM = 30
"""Maximum number of characters in a term; longer words are addresses and keys."""

_TEXTS_AT_ONCE = 256

_WORD = re.compile(r"\b\w\w+\b")

_CONTRACTION = re.compile(r"\b\w+n['’]t\b|['’](?:s|ll|ve|re|d|m)\b")
"""``doesn't`` as a whole, and the suffixes in ``parcel's`` and ``they've``."""

_MORE_STOP_WORDS = frozenset({"did", "does", "doing", "just", "really"})
"""Stop words that are missing from scikit-learn's list."""


def distinguishing_terms(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the five best terms of each group by class-based tf-idf, ties in alphabetical order.

    All texts of a group count as one document: a term's weight is its share of the group's words times
    ``log(1 + A / f)``, with ``A`` the mean number of words of a group and ``f`` the term's count over all groups
    (Grootendorst 2022, "BERTopic", arXiv:2203.05794). Excluded are English stop words and contractions, single
    characters, and words that occur in every group: they distinguish none, and include the stop words of any language.

    Args:
        groups: The texts of each group.

    Returns:
        Up to five lower-case words for each group; none if its texts have no words.
    """
    # Imported here, because the import takes a second and only one tool needs it.
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    stop_words = ENGLISH_STOP_WORDS | _MORE_STOP_WORDS
    counts = [_count_words(texts, stop_words) for texts in groups]
    shared = set.intersection(*map(set, counts)) if len(counts) > 1 else set()
    counts = [Counter({word: n for word, n in count.items() if word not in shared}) for count in counts]
    totals: Counter[str] = sum(counts, Counter())
    mean = totals.total() / max(1, len(groups))
    return [_best_terms(count, totals, mean) for count in counts]


def _count_words(texts: Sequence[str], stop_words: Set[str]) -> "Counter[str]":
    """Count the words of texts, many texts at once: a call per text or word would cost more than the counting."""
    counts = Counter[str]()
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        joined = "\n".join(texts[start : start + _TEXTS_AT_ONCE]).lower()
        counts.update(_WORD.findall(_CONTRACTION.sub(" ", joined)))
    return Counter({word: n for word, n in counts.items() if len(word) <= _MAX_TERM and word not in stop_words})


def _best_terms(count: "Counter[str]", totals: "Counter[str]", mean: float) -> list[str]:
    total = count.total()
    weights = {word: number / total * math.log(1 + mean / totals[word]) for word, number in count.items()}
    return sorted(weights, key=lambda word: (-weights[word], word))[:_TERMS_PER_GROUP]
