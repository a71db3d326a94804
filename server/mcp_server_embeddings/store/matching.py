"""Search by words: which words of a query decide, whatever keeps the index."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mcp_server_embeddings.store.analysis import QueryWord, query_words
from mcp_server_embeddings.store.records import WordMatches

MAX_POSTINGS = 30_000
"""Occurrences that one search scores, about 20 ms. Frequent words tell little (BM25 weighs them near nothing) and cost
nearly all: 'the' in 100,000 texts takes 60 ms. So the rarest words come first."""

_GROWTH = 4
"""By which counting goes further where it found no end."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is looked up: any of some terms, of which those with spaces are several in a row.

    Attributes:
        terms: See ``QueryWord``.
        beginning: Terms need only begin so.
    """

    terms: tuple[str, ...]
    beginning: bool = False


class TermIndex(Protocol):
    """An index of the terms of passages."""

    def languages(self) -> list[str]:
        """Return the languages that passages have, in the order of ``STEMMERS``."""

    def counts(self, units: Sequence[Unit]) -> dict[Unit, int]:
        """Return how many passages have each unit.

        Beside a rarer one, more than ``MAX_POSTINGS`` may be counted as one more than that: it is not looked up.
        """

    def best(self, units: Sequence[Unit], k: int) -> list[tuple[int, float]]:
        """Return the keys of passages that have some of the units and fit the filter, with BM25, best first."""

    def has_all(self, units: Sequence[Unit]) -> bool:
        """Tell whether one passage that fits the filter has all of the units."""


def words_table(collection: int) -> str:
    """Return the table of the terms of one collection: BM25 weighs a word by how many of its texts have it."""
    return f"words_{collection:d}"


def counts_of(units: Sequence[Unit], count: Callable[[Sequence[Unit], int], Mapping[Unit, int]]) -> dict[Unit, int]:
    """Return how many passages have each unit, up to what is not searched for anyway.

    Going through all of those that have a frequent word takes as long as everything else. Only where all words are
    frequent it matters which of them is the least so.

    Args:
        units: What is counted.
        count: Counts units up to a number.
    """
    most = MAX_POSTINGS + 1
    counts = dict(count(units, most))
    while len(known := [found for found in counts.values() if found]) > 1 and min(known) == most:
        most *= _GROWTH
        counts |= count([unit for unit in units if counts[unit]], most)
    return counts


def best_matches(index: TermIndex, query: str, k: int) -> WordMatches:
    """Chunks that have words of the query, best first by BM25 (Robertson and Zaragoza 2009, as in SQLite's FTS5)."""
    words = query_words(query, index.languages())
    wholes = [Unit(word.terms, word.beginning) for word in words]
    units = {whole: at for at, whole in enumerate(wholes)}
    for at, part in _parts(words):
        units.setdefault(part, at)
    counts = index.counts(list(units)) if units else {}
    known = sorted((unit for unit in units if counts[unit]), key=lambda unit: counts[unit])
    if not known:
        return WordMatches([], np.empty(0), 0, len(words), complete=False)
    searched = _affordable(known, counts)
    found = index.best(searched, k)
    complete = all(counts[whole] for whole in wholes) and index.has_all(wholes)
    number = len({units[unit] for unit in searched})
    return WordMatches([key for key, _ in found], np.array([worth for _, worth in found]), number, len(words), complete)


def _parts(words: Sequence[QueryWord]) -> Iterator[tuple[int, Unit]]:
    for at, word in enumerate(words):
        for part in word.parts:
            yield at, Unit(part)


def _affordable(words: list[Unit], counts: Mapping[Unit, int]) -> list[Unit]:
    """Return the rarest words, one at least, as long as their occurrences stay in the budget."""
    chosen, postings = words[:1], counts[words[0]]
    for word in words[1:]:
        postings += counts[word]
        if postings > MAX_POSTINGS:
            break
        chosen.append(word)
    return chosen
