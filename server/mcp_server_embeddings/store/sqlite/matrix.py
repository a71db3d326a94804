"""A collection's vectors in memory, following the file."""

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.store.records import CollectionRecord, Nearest, Vector
from mcp_server_embeddings.store.sqlite.connection import Connection
from mcp_server_embeddings.store.sqlite.postings import Statistics
from mcp_server_embeddings.store.sqlite.segments import Segment, SegmentFiles
from mcp_server_embeddings.store.sqlite.stored_vectors import ROWS_PER_READ, unit_blocks, vectors_of
from mcp_server_embeddings.vectors.quantized import Candidates, candidates
from mcp_server_embeddings.vectors.ranking import best_rows
from mcp_server_embeddings.vectors.scores import Scores, Vectors, exact_cosines, unit_rows

_DECIMALS = 6
"""Of a cosine, so that equal texts tie."""

_SPARE = 1.25
"""Room for more rows when the matrix has to grow."""

_DEAD = 0.25
"""From this share of removed rows on the matrix is written anew."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of a collection at one revision.

    Attributes:
        segments: The first chunks, quantized; none of a small collection.
        rows: Shape ``(n,)``, int64, ascending: the other chunks.
        vectors: Shape ``(n, d)``, float32: their unit rows.
        alive: Shape ``(n,)``: False where the chunk was removed meanwhile.
    """

    segments: tuple[Segment, ...]
    rows: NDArray[np.int64]
    vectors: Vectors
    alive: NDArray[np.bool_]

    def nearest(
        self, database: sqlite3.Connection, vectors: Vectors, k: int, selected: NDArray[np.int64] | None
    ) -> list[Nearest]:
        """Return the chunks nearest each vector, ties by row.

        Args:
            database: In the transaction of the snapshot: vectors of segments are read there.
            vectors: Shape ``(n, d)``.
            k: How many.
            selected: Rows of the chunks that count, ascending; None for all.
        """
        wanted = self.alive if selected is None else self.alive & np.isin(self.rows, selected)
        parts = [segment.searched(selected) for segment in self.segments]
        sealed = sum(map(len, parts))
        total = int(wanted.sum()) + sealed
        found = []
        for unit, vector in zip(unit_rows(vectors), vectors, strict=True):
            cosines = np.where(wanted, np.round(self.vectors @ unit, _DECIMALS), -np.inf).astype(np.float32)
            near = _highest(cosines, min(k, total - sealed))
            rows, units = self.rows[near], self.vectors[near]
            if not sealed:
                found.append(Nearest(rows.tolist(), exact_cosines(units, vector), units, total))
                continue
            rows, units, exact = self.compared(database, candidates(parts, unit, k), rows, vector, k)
            order = np.argsort(rows)
            best = order[best_rows(exact[order], k)]
            found.append(Nearest(rows[best].tolist(), exact[best], units[best], total))
        return found

    def compared(
        self, database: sqlite3.Connection, near: Candidates, rows: NDArray[np.int64], vector: Vector, k: int
    ) -> tuple[NDArray[np.int64], Vectors, Scores]:
        """Compare candidates by the vectors themselves, without those that the highest ``k`` bounds rule out by then.

        Reading a vector costs as much as going through ten thousand quantized ones, or a hundred times that where it is
        not in the page cache.

        Args:
            database: As in ``nearest``.
            near: Candidates of segments.
            rows: Other chunks to compare.
            vector: Shape ``(d,)``.
            k: How many are wanted.

        Returns:
            Rows, their unit vectors and their cosines: the ``k`` nearest are among them, and what ties with the last.
        """
        places = zip(self.segments, near.positions, strict=True)
        order = np.argsort(-near.upper, kind="stable")
        upper, sealed = near.upper[order], np.concatenate([segment.rows[at] for segment, at in places])[order]
        rows = np.concatenate([rows, sealed[:k]])
        units = self.units(database, rows)
        exact = exact_cosines(units, vector)
        floor = np.partition(exact, len(exact) - k)[len(exact) - k] if 0 < k <= len(exact) else -np.inf
        rest = sealed[k:][upper[k:] >= floor]
        others = self.units(database, rest)
        return (
            np.concatenate([rows, rest]),
            np.concatenate([units, others]),
            np.concatenate([exact, exact_cosines(others, vector)]),
        )

    def units(self, database: sqlite3.Connection, rows: NDArray[np.int64]) -> Vectors:
        """Return unit vectors of chunks, shape ``(n, d)``; those of segments are read from the database."""
        units = np.empty((len(rows), self.vectors.shape[1]), np.float32)
        for start in range(0, len(rows), ROWS_PER_READ):  # in parts: what is read is copied until it is in its place
            part = rows[start : start + ROWS_PER_READ]
            block, sealed = units[start : start + ROWS_PER_READ], part <= _end(self.segments)
            block[~sealed] = self.vectors[np.searchsorted(self.rows, part[~sealed])]
            block[sealed] = unit_rows(vectors_of(database, part[sealed], units.shape[1]))
        return units

    def means(
        self,
        database: sqlite3.Connection,
        chunks: NDArray[np.int64],
        weights: NDArray[np.int64],
        starts: NDArray[np.int64],
        wanted: NDArray[np.int64],
    ) -> Vectors:
        """Return the weighted mean directions of runs of chunks, unit rows.

        Args:
            database: As in ``nearest``.
            chunks: Shape ``(n,)``: all of them, run after run.
            weights: Shape ``(n,)``.
            starts: Shape ``(m,)``: where each run begins, ascending from 0.
            wanted: Shape ``(k,)``: the runs whose means are returned.
        """
        if len(starts) == len(chunks):
            return self.units(database, chunks[wanted])
        lengths = np.diff(np.append(starts, len(chunks)))[wanted]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        taken = np.arange(lengths.sum()) + np.repeat(starts[wanted] - begins, lengths)
        chunks, weights = chunks[taken], weights[taken]
        means = np.empty((len(wanted), self.vectors.shape[1]), np.float32)
        for first in range(0, len(wanted), ROWS_PER_READ):  # in parts: the weighted rows are a copy
            last = min(first + ROWS_PER_READ, len(wanted))
            run = slice(begins[first], ends[last - 1])
            weighted = self.units(database, chunks[run]) * weights[run, None].astype(np.float32)
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


class Matrix:
    """Unit rows of every chunk. Thread-safe; what it gave out is never changed.

    Chunks are only ever added with higher rows or removed, so catching up reads what is above the highest row, and
    the list of rows that are left only when the record's count of removals has changed. Of a large collection all but
    the last chunks are in segments.

    Attributes:
        words: What searches by words keep of the collection.
    """

    def __init__(self, dimensions: int, files: SegmentFiles) -> None:
        self.words = Statistics()
        self._lock = threading.Lock()
        self._dimensions = dimensions
        self._files = files
        self._clear(0)

    def _clear(self, generation: int) -> None:
        """Begin again with another file: its rows and revisions mean something else."""
        self._generation = generation
        self._revision = -1
        self._removals = 0
        self._segments: tuple[Segment, ...] = ()
        self._keep(np.empty(0, np.int64), np.empty((0, self._dimensions), np.float32), np.empty(0, np.bool_))

    def _keep(self, rows: NDArray[np.int64], vectors: Vectors, alive: NDArray[np.bool_]) -> None:
        self._rows, self._vectors, self._alive = rows, vectors, alive
        self._count = len(rows)

    @property
    def nbytes(self) -> int:
        """Memory it takes, shared with other processes or not."""
        rest = self._vectors.nbytes + self._rows.nbytes + self._alive.nbytes + self.words.nbytes
        return rest + sum(segment.nbytes for segment in self._segments)

    def snapshot(self, database: Connection, record: CollectionRecord) -> Snapshot:
        """Return the vectors at the revision of ``record``, which was read in the same transaction."""
        with self._lock:
            self._check(database)
            if record.revision > self._revision:
                if record.removals != self._removals:
                    self._drop(database, record)
                self._divide(database, record)
                self._append(database, record)
                self._revision, self._removals = record.revision, record.removals
            if record.revision == self._revision:
                return Snapshot(self._segments, self._rows[: self._count], self._vectors[: self._count], self._alive)
            return self._earlier(database, record)

    def _earlier(self, database: Connection, record: CollectionRecord) -> Snapshot:
        """Return the vectors of a transaction that began before another thread read a later state."""
        n, segments, alive = self._count, self._followed(database, record), self._stored(database, record)
        if sum(segment.count for segment in segments) + np.count_nonzero(alive) < record.chunks:
            return Matrix(self._dimensions, self._files).snapshot(database, record)  # some were let go of meanwhile
        return Snapshot(segments, self._rows[:n], self._vectors[:n], alive)

    def _check(self, database: Connection) -> None:
        if database.generation != self._generation or any(segment.is_changed() for segment in self._segments):
            self._clear(database.generation)

    def _divide(self, database: Connection, record: CollectionRecord) -> None:
        """Put chunks into segments, all but the last ones, if there are enough."""
        if record.chunks - sum(segment.count for segment in self._segments) < 2 * self._files.rows:
            return
        key, segments = record.key, list(self._segments)
        segments += self._files.noted(database, key, _end(segments), self._dimensions)
        segments += self._files.extended(database, key, _end(segments))
        self._segments = tuple(self._files.tidied(database, key, segments))
        rest = slice(np.searchsorted(self._rows[: self._count], _end(segments), side="right"), self._count)
        self._keep(self._rows[rest].copy(), self._vectors[rest].copy(), self._alive[rest].copy())

    def _followed(self, database: sqlite3.Connection, record: CollectionRecord) -> tuple[Segment, ...]:
        """Return the segments with what is left of them in a transaction."""
        return tuple(segment.following(database, record.key) for segment in self._segments)

    def _append(self, database: sqlite3.Connection, record: CollectionRecord) -> None:
        last = int(self._rows[self._count - 1]) if self._count else _end(self._segments)
        # Exactly what a collection holds when it is first read, some room to grow afterwards.
        expected = record.chunks - sum(segment.count for segment in self._segments)
        self._reserve(expected if not self._count else 0)
        for rows, units in unit_blocks(database, record.key, last + 1):
            end = self._count + len(rows)
            self._reserve(end)
            self._rows[self._count : end], self._vectors[self._count : end] = rows, units
            self._count = end
        alive = np.ones(self._count, np.bool_)
        alive[: len(self._alive)] = self._alive
        self._alive = alive

    def _stored(self, database: sqlite3.Connection, record: CollectionRecord) -> NDArray[np.bool_]:
        """Which rows outside segments are those of chunks."""
        query = "SELECT row FROM chunks WHERE collection = ? AND row > ? ORDER BY row"
        found = database.execute(query, (record.key, _end(self._segments)))
        left = np.fromiter((row for (row,) in found), np.int64)
        return np.isin(self._rows[: self._count], left, assume_unique=True)

    def _drop(self, database: sqlite3.Connection, record: CollectionRecord) -> None:
        """Follow removals."""
        self._segments = tuple(self._files.tidied(database, record.key, self._followed(database, record)))
        alive = self._stored(database, record) if self._count else self._alive
        if alive.sum() < (1 - _DEAD) * self._count:
            self._keep(self._rows[: self._count][alive], self._vectors[: self._count][alive], alive[alive])
        else:
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


def _end(segments: Sequence[Segment]) -> int:
    """Return the last row of segments; 0 where there are none."""
    return segments[-1].last if segments else 0
