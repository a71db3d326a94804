"""A collection's vectors in memory, following the file."""

import sqlite3
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.store.records import CollectionRecord, Nearest, Vector
from mcp_server_embeddings.store.sqlite.connection import Connection
from mcp_server_embeddings.vectors.ranking import best_rows
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores, unit_rows

_DECIMALS = 6
"""Of a cosine, so that equal texts tie."""

_ROWS_PER_READ = 10_000
"""15 MB of 384 numbers."""

_SPARE = 1.25
"""Room for more rows when the matrix has to grow."""

_DEAD = 0.25
"""From this share of removed rows on the matrix is written anew."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of a collection at one revision.

    Attributes:
        rows: Shape ``(n,)``, int64, ascending: the chunks.
        vectors: Shape ``(n, d)``, float32, unit rows.
        alive: Shape ``(n,)``: False where the chunk was removed meanwhile.
    """

    rows: NDArray[np.int64]
    vectors: Vectors
    alive: NDArray[np.bool_]

    def nearest(self, vectors: Vectors, k: int, selected: NDArray[np.int64] | None) -> list[Nearest]:
        """Return the chunks nearest each vector, ties by row; of those selected, or of all."""
        wanted = self.alive if selected is None else self.alive & np.isin(self.rows, selected)
        total = int(wanted.sum())
        found = []
        for unit, vector in zip(unit_rows(vectors), vectors, strict=True):
            cosines = np.where(wanted, np.round(self.vectors @ unit, _DECIMALS), -np.inf).astype(np.float32)
            near = _highest(cosines, min(k, total))
            rows = self.vectors[near]
            found.append(Nearest(self.rows[near].tolist(), exact_cosines(rows, vector), rows, total))
        return found

    def means(
        self,
        chunks: NDArray[np.int64],
        weights: NDArray[np.int64],
        starts: NDArray[np.int64],
        wanted: NDArray[np.int64],
    ) -> Vectors:
        """Return the weighted mean directions of runs of chunks, unit rows.

        Args:
            chunks: Shape ``(n,)``: all of them, run after run.
            weights: Shape ``(n,)``.
            starts: Shape ``(m,)``: where each run begins, ascending from 0.
            wanted: Shape ``(k,)``: the runs whose means are returned.
        """
        if len(starts) == len(chunks):
            return self.vectors[np.searchsorted(self.rows, chunks[wanted])]
        lengths = np.diff(np.append(starts, len(chunks)))[wanted]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        taken = np.arange(lengths.sum()) + np.repeat(starts[wanted] - begins, lengths)
        places, weights = np.searchsorted(self.rows, chunks[taken]), weights[taken]
        means = np.empty((len(wanted), self.vectors.shape[1]), np.float32)
        for first in range(0, len(wanted), _ROWS_PER_READ):  # in parts: the weighted rows are a copy
            last = min(first + _ROWS_PER_READ, len(wanted))
            run = slice(begins[first], ends[last - 1])
            weighted = self.vectors[places[run]] * weights[run, None].astype(np.float32)
            means[first:last] = np.add.reduceat(weighted, begins[first:last] - begins[first], axis=0)
        return unit_rows(means)


def _highest(cosines: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Positions of the highest cosines, best first, ties by position."""
    candidates = np.arange(len(cosines))
    if 0 < k < len(cosines):
        # Sorting all of 100,000 takes longer than comparing them; what ties with the last place stays in.
        lowest = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
        candidates = np.flatnonzero(cosines >= lowest)
    return candidates[best_rows(cosines[candidates].astype(np.float64), k)]


def exact_cosines(rows: Vectors, vector: Vector) -> Scores:
    """In double precision: the same score, and the same order of near ties, as for the same texts sent."""
    return scores(rows, vector[None, :], "cosine")[:, 0]


class Matrix:
    """Unit rows of every chunk. Thread-safe; what it gave out is never changed.

    Chunks are only ever added with higher rows or removed, so catching up reads what is above the highest row, and
    the list of rows that are left only when the record's count of removals has changed.
    """

    def __init__(self, dimensions: int) -> None:
        self._lock = threading.Lock()
        self._dimensions = dimensions
        self._clear(0)

    def _clear(self, generation: int) -> None:
        """Begin again with another file: its rows and revisions mean something else."""
        self._generation = generation
        self._revision = -1
        self._removals = 0
        self._count = 0
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._vectors: Vectors = np.empty((0, self._dimensions), np.float32)
        self._alive: NDArray[np.bool_] = np.empty(0, np.bool_)

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self._vectors.nbytes + self._rows.nbytes + self._alive.nbytes

    def snapshot(self, database: Connection, record: CollectionRecord) -> Snapshot:
        """Return the vectors at the revision of ``record``, which was read in the same transaction."""
        with self._lock:
            if database.generation != self._generation:
                self._clear(database.generation)
            if record.revision > self._revision:
                if record.removals != self._removals:
                    self._drop(database, record)
                self._append(database, record)
                self._revision, self._removals = record.revision, record.removals
            n = self._count
            # Another thread may have read a later state: then what that added does not count here.
            alive = self._alive if record.revision == self._revision else self._stored(database, record)
            return Snapshot(self._rows[:n], self._vectors[:n], alive)

    def _append(self, database: sqlite3.Connection, record: CollectionRecord) -> None:
        last = int(self._rows[self._count - 1]) if self._count else 0
        found = database.execute(
            "SELECT chunks.row, vector FROM chunks JOIN vectors ON chunk = chunks.row "
            "WHERE collection = ? AND chunks.row > ? ORDER BY chunks.row",
            (record.key, last),
        )
        # Exactly what a collection holds when it is first read, some room to grow afterwards.
        self._reserve(record.chunks if not self._count else 0)
        while part := found.fetchmany(_ROWS_PER_READ):
            self._reserve(self._count + len(part))
            end = self._count + len(part)
            block = np.frombuffer(b"".join(vector for _, vector in part), dtype="<f4")
            self._vectors[self._count : end] = unit_rows(block.reshape(len(part), -1))
            self._rows[self._count : end] = [row for row, _ in part]
            self._count = end
        alive = np.ones(self._count, np.bool_)
        alive[: len(self._alive)] = self._alive
        self._alive = alive

    def _stored(self, database: sqlite3.Connection, record: CollectionRecord) -> NDArray[np.bool_]:
        """Which rows are those of chunks."""
        query = "SELECT row FROM chunks WHERE collection = ? ORDER BY row"
        left = np.fromiter((row for (row,) in database.execute(query, (record.key,))), np.int64)
        return np.isin(self._rows[: self._count], left, assume_unique=True)

    def _drop(self, database: sqlite3.Connection, record: CollectionRecord) -> None:
        alive = self._stored(database, record)
        if alive.sum() < (1 - _DEAD) * self._count:
            self._rows = self._rows[: self._count][alive]
            self._vectors = self._vectors[: self._count][alive]
            self._count = len(self._rows)
            alive = np.ones(self._count, np.bool_)
        self._alive = alive

    def _reserve(self, needed: int) -> None:
        """Make room for so many rows. Rows given out before stay where they are."""
        if needed <= len(self._rows):
            return
        room = needed if not self._count else int(needed * _SPARE)
        rows, vectors = np.empty(room, np.int64), np.empty((room, self._vectors.shape[1]), np.float32)
        rows[: self._count] = self._rows[: self._count]
        vectors[: self._count] = self._vectors[: self._count]
        self._rows, self._vectors = rows, vectors
