"""BM25 of frequent words as FTS5 computes it, for all of their passages at once.

FTS5 looks up the lengths of passages one by one, in two microseconds each. Here the lengths are in memory, and the
passages that have a word are read at once, as a list of numbers in one text: a sixth of the time for 30,000 passages.
"""

import math
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.store.matching import Unit, words_table

Rows = NDArray[np.int64]
"""Shape ``(n,)``: rows of chunks, ascending."""

FREQUENT = 2_000
"""Number of passages from which on this is faster than FTS5, which takes 4 ms to score so many."""

_K1, _B = 1.2, 0.75
"""The constants of FTS5."""

_MIN_IDF = 1e-6
"""The minimum of FTS5, for a term that half of the passages or more have."""


class Lengths:
    """The number of terms of each passage of a collection. Thread-safe.

    A passage is only ever added with a higher row, or removed, so known lengths stay valid.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = self._lengths = np.empty(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._rows.nbytes + self._lengths.nbytes

    def of(self, database: sqlite3.Connection, collection: int, rows: Rows) -> NDArray[np.int64] | None:
        """Return the lengths of rows; None if one was removed before it was read, after the transaction began."""
        with self._lock:
            self._read(database, collection)
            known, lengths = self._rows, self._lengths
        if not len(known):
            return None
        places = np.minimum(rows - known[0], len(known) - 1)
        if (known[places] != rows).any():  # rows in between were removed, or belong to other collections
            places = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        return lengths[places] if (known[places] == rows).all() else None

    def _read(self, database: sqlite3.Connection, collection: int) -> None:
        """Read the lengths of the rows above the highest known row."""
        last = int(self._rows[-1]) if len(self._rows) else 0
        rows, sizes = database.execute(
            "SELECT group_concat(id), CAST(group_concat(sz, '') AS BLOB) "
            f"FROM {words_table(collection)}_docsize WHERE id > ?",
            (last,),
        ).fetchone()
        if rows is not None:
            self._rows = np.concatenate([self._rows, _numbers(rows)])
            self._lengths = np.concatenate([self._lengths, _varints(sizes)])


@dataclass(frozen=True, slots=True)
class Known:
    """Statistics that are known in a transaction.

    Attributes:
        lengths: The lengths of passages.
        counts: The number of passages that have a frequent unit, by unit and limit of counting.
    """

    lengths: Lengths = field(default_factory=Lengths)
    counts: dict[tuple[Unit, int], int] = field(default_factory=dict)


class Statistics:
    """Statistics of a collection, kept between keyword searches. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = (0, -1)
        self._known = Known()

    @property
    def nbytes(self) -> int:
        """Memory in use, approximately."""
        return self._known.lengths.nbytes

    def at(self, generation: int, revision: int) -> Known:
        """Return the statistics of one state of the collection, to which searches add what they find.

        Args:
            generation: Generation of the file.
            revision: Revision of the collection.
        """
        with self._lock:
            if self._state != (generation, revision):
                self._known = Known(self._known.lengths) if self._state[0] == generation else Known()
                self._state = (generation, revision)
            return self._known


def best_of(
    database: sqlite3.Connection, collection: int, terms: Sequence[str], k: int, lengths: Lengths
) -> list[tuple[int, float]] | None:
    """Return the rows and scores of the best passages that have any of the terms, by BM25, best first, ties by row.

    Args:
        database: A connection inside a read transaction.
        collection: Its key.
        terms: In the order in which FTS5 would add their scores: floating-point sums depend on it.
        k: Maximum number of passages.
        lengths: The lengths of the collection's passages.

    Returns:
        None if a length is not known; see ``Lengths``.
    """
    postings = _postings(database, collection, terms)
    rows = _distinct(np.concatenate([found for found, _ in postings]))[0]
    sizes = lengths.of(database, collection, rows)
    if sizes is None:
        return None
    passages, average = _averages(database, collection)
    norms = _K1 * (1 - _B + _B * sizes / average)
    scores = np.zeros(len(rows))
    for found, counts in postings:
        at = np.searchsorted(rows, found)
        scores[at] += _idf(passages, len(found)) * (counts * (_K1 + 1) / (counts + norms[at]))
    order = np.lexsort((rows, -scores))[:k]
    return list(zip(rows[order].tolist(), scores[order].tolist(), strict=True))


def _postings(
    database: sqlite3.Connection, collection: int, terms: Sequence[str]
) -> list[tuple[Rows, NDArray[np.int64]]]:
    """Return, for each term, the rows that have it and how often."""
    table = words_table(collection)
    # Rolled back with the transaction.
    database.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS temp.{table}_terms USING fts5vocab(main, {table}, instance)")
    query = f"SELECT group_concat(doc) FROM temp.{table}_terms WHERE term = ?"
    found = [database.execute(query, (term,)).fetchone()[0] for term in terms]
    return [_distinct(_numbers(rows or "")) for rows in found]


def _averages(database: sqlite3.Connection, collection: int) -> tuple[int, float]:
    """Return the number of passages and their average length, from FTS5's own record."""
    query = f"SELECT block FROM {words_table(collection)}_data WHERE id = 1"
    passages, terms, *_ = _varints(database.execute(query).fetchone()[0]).tolist()
    return passages, terms / passages


def _idf(passages: int, matching: int) -> float:
    idf = math.log((passages - matching + 0.5) / (matching + 0.5))
    return idf if idf > 0 else _MIN_IDF


def _numbers(text: str) -> NDArray[np.int64]:
    return np.fromstring(text, np.int64, sep=",")


def _distinct(rows: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
    """Return the different rows and how often each occurs. ``np.unique`` does not profit from already sorted runs."""
    rows = np.sort(rows, kind="stable")
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[first], np.diff(first, append=len(rows))


def _varints(content: bytes) -> NDArray[np.int64]:
    """Decode SQLite's varints: 7 bits per byte, with the eighth bit set in all bytes but the last."""
    data = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    widths = np.diff(ends, prepend=-1)
    numbers = data[ends].astype(np.int64)
    for back in range(1, int(widths.max(initial=0))):
        longer = widths > back
        numbers[longer] += (data[ends[longer] - back].astype(np.int64) & 0x7F) << 7 * back
    return numbers
