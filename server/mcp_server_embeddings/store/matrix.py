"""A collection's vectors in memory, following the file."""

import sqlite3
import threading

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.store.connection import Connection
from mcp_server_embeddings.store.records import CollectionRecord, Snapshot
from mcp_server_embeddings.vectors.scores import Vectors, unit_rows

_AT_ONCE = 10_000
"""Rows read together: 15 MB of 384 numbers."""

_SPARE = 1.25
"""AnswerBudget for more rows when the matrix has to grow."""

_DEAD = 0.25
"""From this share of removed rows on the matrix is written anew."""


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
        """The vectors at the revision of ``record``, which was read in the same transaction."""
        with self._lock:
            if database.generation != self._generation:
                self._clear(database.generation)
            if record.revision > self._revision:
                if record.removals != self._removals:
                    self._drop(database, record)
                self._append(database, record)
                self._revision, self._removals = record.revision, record.removals
            n = self._count
            return Snapshot(self._rows[:n], self._vectors[:n], self._alive)

    def _append(self, database: sqlite3.Connection, record: CollectionRecord) -> None:
        last = int(self._rows[self._count - 1]) if self._count else 0
        found = database.execute(
            "SELECT chunks.row, vector FROM chunks JOIN vectors ON chunk = chunks.row "
            "WHERE collection = ? AND chunks.row > ? ORDER BY chunks.row",
            (record.row, last),
        )
        # Exactly what a collection holds when it is first read, some room to grow afterwards.
        self._reserve(record.chunks if not self._count else 0)
        while part := found.fetchmany(_AT_ONCE):
            self._reserve(self._count + len(part))
            end = self._count + len(part)
            block = np.frombuffer(b"".join(vector for _, vector in part), dtype="<f4")
            self._vectors[self._count : end] = unit_rows(block.reshape(len(part), -1))
            self._rows[self._count : end] = [row for row, _ in part]
            self._count = end
        alive = np.ones(self._count, np.bool_)
        alive[: len(self._alive)] = self._alive
        self._alive = alive

    def _drop(self, database: sqlite3.Connection, record: CollectionRecord) -> None:
        query = "SELECT row FROM chunks WHERE collection = ? ORDER BY row"
        left = np.fromiter((row for (row,) in database.execute(query, (record.row,))), np.int64)
        alive = np.isin(self._rows[: self._count], left, assume_unique=True)
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
