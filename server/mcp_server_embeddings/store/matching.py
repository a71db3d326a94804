"""Keyword search: choose the words of a query that decide, independently of the index implementation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mcp_server_embeddings.store.analysis import query_words
from mcp_server_embeddings.store.records import WordMatches

MAX_POSTINGS = 30_000
"""Maximum occurrences that one search scores, about 20 ms. Frequent words carry little information (BM25 gives them
almost no weight) and cost the most: 'the' in 100,000 texts takes 60 ms. So the rarest words come first."""

_GROWTH = 4
"""Factor by which the limit of counting grows while every count reaches it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Alternative terms that are looked up together; a term with spaces is a phrase.

    Attributes:
        terms: See ``QueryWord``.
        prefix: Whether the terms are prefixes.
    """

    terms: tuple[str, ...]
    prefix: bool = False


class TermIndex(Protocol):
    """An index of the terms of passages."""

    def languages(self) -> list[str]:
        """Return the languages of the passages, in the order of ``STEMMERS``."""

    def counts(self, units: Sequence[Unit]) -> dict[Unit, int]:
        """Return how many passages have each unit.

        If another unit is rarer, a count above ``MAX_POSTINGS`` may be cut to ``MAX_POSTINGS + 1``: the unit is not
        looked up.
        """

    def best(self, units: Sequence[Unit], k: int) -> list[tuple[int, float]]:
        """Return the keys and BM25 scores of passages that have any of the units and fit the filter, best first."""

    def has_all(self, units: Sequence[Unit]) -> bool:
        """Tell whether a single passage that fits the filter has all of the units."""


def words_table(collection: int) -> str:
    """Return the table of a collection's terms: BM25 depends on how many texts of the same collection have a word."""
    return f"words_{collection:d}"


def limited_counts(
    units: Sequence[Unit], count: Callable[[Sequence[Unit], int], Mapping[Unit, int]]
) -> dict[Unit, int]:
    """Count the passages that have each unit, up to a limit above which a unit is not looked up anyway.

    Visiting every passage that has a frequent word takes as long as the rest of the search. Exact counts matter only if
    all words are frequent, to find the rarest.

    Args:
        units: The units to count.
        count: Counts units up to a limit.
    """
    limit = MAX_POSTINGS + 1
    counts = dict(count(units, limit))
    while len(known := [found for found in counts.values() if found]) > 1 and min(known) == limit:
        limit *= _GROWTH
        counts |= count([unit for unit in units if counts[unit]], limit)
    return counts


def best_matches(index: TermIndex, query: str, k: int) -> WordMatches:
    """Return chunks that have words of the query, best first by BM25 (Robertson and Zaragoza 2009, as in FTS5)."""
    words = query_words(query, index.languages())
    wholes = [Unit(word.terms, word.prefix) for word in words]
    units = {whole: at for at, whole in enumerate(wholes)}
    for at, word in enumerate(words):
        for part in word.parts:
            units.setdefault(Unit(part), at)
    counts = index.counts(list(units)) if units else {}
    known = sorted((unit for unit in units if counts[unit]), key=lambda unit: counts[unit])
    if not known:
        return WordMatches([], np.empty(0), 0, len(words), complete=False)
    searched = _within_budget(known, counts)
    found = index.best(searched, k)
    complete = all(counts[whole] for whole in wholes) and index.has_all(wholes)
    searched_words = len({units[unit] for unit in searched})
    scores = np.array([score for _, score in found])
    return WordMatches([key for key, _ in found], scores, searched_words, len(words), complete)


def _within_budget(words: list[Unit], counts: Mapping[Unit, int]) -> list[Unit]:
    """Return the rarest words, at least one, whose occurrences together stay within ``MAX_POSTINGS``."""
    chosen, postings = words[:1], counts[words[0]]
    for word in words[1:]:
        postings += counts[word]
        if postings > MAX_POSTINGS:
            break
        chosen.append(word)
    return chosen
