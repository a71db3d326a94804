"""The vectors of a collection in memory, kept in sync with the file."""

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
"""Decimals of a cosine, so that equal texts tie."""

_GROWTH = 1.25
"""Growth factor of the matrix: room for more rows."""

_MAX_REMOVED = 0.25
"""Share of removed rows from which on the matrix is rewritten."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of a collection at one revision.

    Attributes:
        segments: The first chunks, quantized; empty for a small collection.
        rows: Shape ``(n,)``, int64, ascending: rows of the other chunks.
        vectors: Shape ``(n, d)``, float32: their unit vectors.
        alive: Shape ``(n,)``: False if the chunk was removed meanwhile.
    """

    segments: tuple[Segment, ...]
    rows: NDArray[np.int64]
    vectors: Vectors
    alive: NDArray[np.bool_]

    def nearest(
        self, database: Connection, vectors: Vectors, k: int, selected: NDArray[np.int64] | None
    ) -> list[Nearest]:
        """Return the chunks nearest each vector, ties by row.

        Args:
            database: A connection in the transaction of the snapshot, to read the vectors of segments.
            vectors: Shape ``(n, d)``.
            k: Maximum number of chunks for each vector.
            selected: Rows of the chunks to search, ascending; None for all.
        """
        wanted = self.alive if selected is None else self.alive & np.isin(self.rows, selected)
        parts = [segment.part(selected) for segment in self.segments]
        sealed = sum(map(len, parts))
        total = int(wanted.sum()) + sealed
        found = []
        for unit, vector in zip(unit_rows(vectors), vectors, strict=True):
            cosines = np.where(wanted, np.round(self.vectors @ unit, _DECIMALS), -np.inf).astype(np.float32)
            near = _top_positions(cosines, min(k, total - sealed))
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
        self, database: Connection, near: Candidates, rows: NDArray[np.int64], vector: Vector, k: int
    ) -> tuple[NDArray[np.int64], Vectors, Scores]:
        """Compare candidates by their exact vectors: the ``k`` of the highest bounds, then those not ruled out by them.

        Reading a vector costs as much as scanning ten thousand quantized ones, or a hundred times that if it is not in
        the page cache.

        Args:
            database: As in ``nearest``.
            near: Candidates from segments.
            rows: Rows of other chunks to compare.
            vector: Shape ``(d,)``.
            k: Number of chunks wanted.

        Returns:
            Rows, their unit vectors and their cosines, including the ``k`` nearest and all that tie with the last.
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

    def units(self, database: Connection, rows: NDArray[np.int64]) -> Vectors:
        """Return the unit vectors of chunks, shape ``(n, d)``; those of segments are read from the database."""
        units = np.empty((len(rows), self.vectors.shape[1]), np.float32)
        for start in range(0, len(rows), ROWS_PER_READ):  # in blocks: reading makes copies
            part = rows[start : start + ROWS_PER_READ]
            block, sealed = units[start : start + ROWS_PER_READ], part <= _last_row(self.segments)
            block[~sealed] = self.vectors[np.searchsorted(self.rows, part[~sealed])]
            block[sealed] = unit_rows(vectors_of(database, part[sealed], units.shape[1]))
        return units

    def means(
        self,
        database: Connection,
        chunks: NDArray[np.int64],
        weights: NDArray[np.int64],
        starts: NDArray[np.int64],
        wanted: NDArray[np.int64],
    ) -> Vectors:
        """Return the weighted mean directions of runs of chunks, as unit rows.

        Args:
            database: As in ``nearest``.
            chunks: Shape ``(n,)``: rows of all chunks, run after run.
            weights: Shape ``(n,)``: their weights.
            starts: Shape ``(m,)``: the position where each run begins, ascending from 0.
            wanted: Shape ``(k,)``: the numbers of the runs to return.
        """
        if len(starts) == len(chunks):
            return self.units(database, chunks[wanted])
        lengths = np.diff(np.append(starts, len(chunks)))[wanted]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        taken = np.arange(lengths.sum()) + np.repeat(starts[wanted] - begins, lengths)
        chunks, weights = chunks[taken], weights[taken]
        means = np.empty((len(wanted), self.vectors.shape[1]), np.float32)
        for first in range(0, len(wanted), ROWS_PER_READ):  # in blocks: the weighted rows are a copy
            last = min(first + ROWS_PER_READ, len(wanted))
            run = slice(begins[first], ends[last - 1])
            weighted = self.units(database, chunks[run]) * weights[run, None].astype(np.float32)
            means[first:last] = np.add.reduceat(weighted, begins[first:last] - begins[first], axis=0)
        return unit_rows(means)


def _top_positions(cosines: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the positions of the highest cosines, best first, ties by position."""
    candidates = np.arange(len(cosines))
    if 0 < k < len(cosines):
        # Sorting all of 100,000 cosines takes longer than computing them. Ties with the last place are kept.
        lowest = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
        candidates = np.flatnonzero(cosines >= lowest)
    return candidates[best_rows(cosines[candidates].astype(np.float64), k)]


class Matrix:
    """The unit vectors of all chunks of a collection. Thread-safe; a returned snapshot never changes.

    Chunks are only ever added with higher rows, or removed. So an update reads the chunks above the highest known row,
    and the list of remaining rows only if the record's count of removals has changed. In a large collection, all chunks
    but the last are in segments.

    Attributes:
        words: Statistics of the collection for keyword searches.
    """

    def __init__(self, dimensions: int, files: SegmentFiles) -> None:
        self.words = Statistics()
        self._lock = threading.Lock()
        self._dimensions = dimensions
        self._files = files
        self._clear(0)

    def _clear(self, generation: int) -> None:
        """Start over with another file: its rows and revisions mean something else."""
        self._generation = generation
        self._revision = -1
        self._removals = 0
        self._segments: tuple[Segment, ...] = ()
        self._set_arrays(np.empty(0, np.int64), np.empty((0, self._dimensions), np.float32), np.empty(0, np.bool_))

    def _set_arrays(self, rows: NDArray[np.int64], vectors: Vectors, alive: NDArray[np.bool_]) -> None:
        self._rows, self._vectors, self._alive = rows, vectors, alive
        self._count = len(rows)

    @property
    def nbytes(self) -> int:
        """Memory in use, shared with other processes or not."""
        rest = self._vectors.nbytes + self._rows.nbytes + self._alive.nbytes + self.words.nbytes
        return rest + sum(segment.nbytes for segment in self._segments)

    def snapshot(self, database: Connection, record: CollectionRecord) -> Snapshot:
        """Return the vectors at the revision of ``record``, which was read in the same transaction."""
        with self._lock:
            if database.generation != self._generation or any(segment.is_changed() for segment in self._segments):
                self._clear(database.generation)
            if record.revision > self._revision:
                if record.removals != self._removals:
                    self._apply_removals(database, record)
                self._extend_segments(database, record)
                self._append(database, record)
                self._revision, self._removals = record.revision, record.removals
            if record.revision == self._revision:
                return Snapshot(self._segments, self._rows[: self._count], self._vectors[: self._count], self._alive)
            return self._earlier_snapshot(database, record)

    def _earlier_snapshot(self, database: Connection, record: CollectionRecord) -> Snapshot:
        """Return the vectors for a transaction that began before another thread read a later state."""
        segments, alive = self._refreshed_segments(database, record), self._still_stored(database, record)
        if sum(segment.count for segment in segments) + np.count_nonzero(alive) < record.chunks:
            return Matrix(self._dimensions, self._files).snapshot(database, record)  # some were discarded meanwhile
        return Snapshot(segments, self._rows[: self._count], self._vectors[: self._count], alive)

    def _extend_segments(self, database: Connection, record: CollectionRecord) -> None:
        """Move all chunks but the last into segments, if there are enough."""
        if record.chunks - sum(segment.count for segment in self._segments) < 2 * self._files.rows:
            return
        key, segments = record.key, list(self._segments)
        segments += self._files.load(database, key, _last_row(segments), self._dimensions)
        segments += self._files.extend(database, key, _last_row(segments))
        self._segments = tuple(self._files.compacted(database, key, segments))
        rest = slice(np.searchsorted(self._rows[: self._count], _last_row(segments), side="right"), self._count)
        self._set_arrays(self._rows[rest].copy(), self._vectors[rest].copy(), self._alive[rest].copy())

    def _refreshed_segments(self, database: Connection, record: CollectionRecord) -> tuple[Segment, ...]:
        """Return the segments with the chunks that are left in a transaction."""
        return tuple(segment.refreshed(database, record.key) for segment in self._segments)

    def _append(self, database: Connection, record: CollectionRecord) -> None:
        last = int(self._rows[self._count - 1]) if self._count else _last_row(self._segments)
        # The exact size when a collection is first read; some room to grow afterwards.
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

    def _still_stored(self, database: Connection, record: CollectionRecord) -> NDArray[np.bool_]:
        """Tell which of the rows outside segments still have chunks."""
        query = "SELECT row FROM chunks WHERE collection = ? AND row > ? ORDER BY row"
        found = database.execute(query, (record.key, _last_row(self._segments)))
        left = np.fromiter((row for (row,) in found), np.int64)
        return np.isin(self._rows[: self._count], left, assume_unique=True)

    def _apply_removals(self, database: Connection, record: CollectionRecord) -> None:
        """Apply removals."""
        self._segments = tuple(self._files.compacted(database, record.key, self._refreshed_segments(database, record)))
        alive = self._still_stored(database, record) if self._count else self._alive
        if alive.sum() < (1 - _MAX_REMOVED) * self._count:
            self._set_arrays(self._rows[: self._count][alive], self._vectors[: self._count][alive], alive[alive])
        else:
            self._alive = alive

    def _reserve(self, needed: int) -> None:
        """Make room for a number of rows. The arrays of earlier snapshots stay where they are."""
        if needed <= len(self._rows):
            return
        room = needed if not self._count else int(needed * _GROWTH)
        rows, vectors = np.empty(room, np.int64), np.empty((room, self._vectors.shape[1]), np.float32)
        rows[: self._count] = self._rows[: self._count]
        vectors[: self._count] = self._vectors[: self._count]
        self._rows, self._vectors = rows, vectors


def _last_row(segments: Sequence[Segment]) -> int:
    """Return the last row of segments; 0 without segments."""
    return segments[-1].last if segments else 0
