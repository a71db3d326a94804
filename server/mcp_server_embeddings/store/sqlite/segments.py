"""The vectors of large collections in a quarter of the memory, in files that processes share.

A segment has all chunks of a collection from one row to another, quantized (``vectors/quantized.py``), and never
changes. Its file is next to the database and mapped into memory. The file is derived data: the database lists the
segments with the digest of each one's content, which is also the name of its file. A file that is missing, or has other
content, is created again.
"""

import hashlib
import mmap
import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.store.sqlite.database import Database
from mcp_server_embeddings.store.sqlite.stored_vectors import unit_blocks
from mcp_server_embeddings.vectors.blocks import UNWATCHED, in_threads
from mcp_server_embeddings.vectors.quantized import Part, Quantized, joined, quantized

ROWS = 50_000
"""Chunks of a segment: 20 MB of vectors of 384 numbers."""

_EXTRA_BYTES = 16
"""Bytes of a chunk in addition to its codes: row, scale and error."""

_MAX_REMOVED = 0.25
"""Share of removed chunks from which on a segment is created again."""

_WAIT_SECONDS = 1.0
"""How long to wait for another process to finish writing; a search does not need its segments to be recorded."""

_ABANDONED_SECONDS = 3_600.0
"""Age from which on an unfinished file is no longer being written."""

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """All chunks of a collection in a range of rows, quantized.

    Attributes:
        first: The first row of the range.
        last: The last row of the range.
        rows: Shape ``(n,)``, int64, ascending: the rows of the chunks.
        vectors: Their quantized vectors.
        alive: Shape ``(n,)``: False if the chunk was removed meanwhile.
        path: The file; None if the segment is in memory only.
        stamp: State of the file when it was mapped.
    """

    first: int
    last: int
    rows: NDArray[np.int64]
    vectors: Quantized
    alive: NDArray[np.bool_]
    path: Path | None = None
    stamp: _Stamp | None = None

    @property
    def count(self) -> int:
        """Number of chunks that are left."""
        return int(np.count_nonzero(self.alive))

    @property
    def nbytes(self) -> int:
        """Memory in use, shared with other processes or not."""
        return self.vectors.codes.nbytes + _EXTRA_BYTES * len(self.rows)

    @property
    def is_wasteful(self) -> bool:
        """Whether too many chunks were removed."""
        return self.count < (1 - _MAX_REMOVED) * len(self.rows)

    def is_changed(self) -> bool:
        """Tell whether the file was written to since: further reads might end the process (SIGBUS) or find other data.

        Mapped pages stay unchanged if the file was removed or replaced.
        """
        if self.path is None or self.stamp is None:
            return False
        now = _stamp(self.path)
        return now is not None and now[0] == self.stamp[0] and now != self.stamp

    def part(self, selected: NDArray[np.int64] | None) -> Part:
        """Return the part to search: the chunks that are left, all or those in a selection of ascending rows."""
        if selected is None:
            return Part(self.vectors, None if self.alive.all() else np.flatnonzero(self.alive))
        start, stop = np.searchsorted(selected, [self.rows[0], self.rows[-1] + 1])
        places = np.searchsorted(self.rows, selected[start:stop])
        places = places[self.rows[places] == selected[start:stop]]
        return Part(self.vectors, places[self.alive[places]])

    def refreshed(self, database: sqlite3.Connection, collection: int) -> "Segment":
        """Return the segment with the chunks that are left now."""
        between = "FROM chunks WHERE collection = ? AND row BETWEEN ? AND ?"
        bounds = (collection, self.first, self.last)
        if database.execute(f"SELECT count(*) {between}", bounds).fetchone()[0] == self.count:
            return self  # removed chunks never come back
        left = np.fromiter((row for (row,) in database.execute(f"SELECT row {between}", bounds)), np.int64)
        return replace(self, alive=np.isin(self.rows, left, assume_unique=True))


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - a hot path
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


class SegmentFiles:
    """The segment files of a data folder. Thread-safe.

    Args:
        database: Lists the segments.
        folder: The folder of the files; created on the first write.
        rows: Chunks of a segment.
    """

    def __init__(self, database: Database, folder: Path, rows: int = ROWS) -> None:
        self._database = database
        self._folder = folder
        self.rows = rows

    def load(self, database: sqlite3.Connection, collection: int, after: int, dimensions: int) -> list[Segment]:
        """Return the recorded segments after a row, up to date; one whose file cannot be used is created again."""
        query = "SELECT first, last, chunks, file FROM segments WHERE collection = ? AND first > ? ORDER BY first"
        entries = database.execute(query, (collection, after)).fetchall()
        loads = [partial(self._map, first, last, count, name, dimensions) for first, last, count, name in entries]
        found: list[Segment] = []
        for (first, last, *_), segment in zip(entries, list(in_threads(loads, UNWATCHED)), strict=True):
            found += [segment] if segment else self.create(database, collection, first, last)
        return [segment.refreshed(database, collection) for segment in found]

    def extend(self, database: sqlite3.Connection, collection: int, after: int | None = None) -> list[Segment]:
        """Create full segments from the chunks after a row, if there are enough chunks for two.

        Args:
            database: A connection inside a read transaction.
            collection: The collection's key.
            after: The row; None for the last row of the recorded segments.
        """
        if after is None:
            query = "SELECT coalesce(max(last), 0) FROM segments WHERE collection = ?"
            (after,) = database.execute(query, (collection,)).fetchone()
        query = "SELECT count(*) FROM chunks WHERE collection = ? AND row > ?"
        (remaining,) = database.execute(query, (collection, after)).fetchone()
        found: list[Segment] = []
        for _ in range(remaining // self.rows if remaining >= 2 * self.rows else 0):
            found += self.create(database, collection, (found[-1].last if found else after) + 1)
        return found

    def create(
        self, database: sqlite3.Connection, collection: int, first: int, last: int | None = None
    ) -> list[Segment]:
        """Create a segment and record it in place of those of the same chunks. If that fails, it is in memory only.

        Args:
            database: A connection inside a read transaction, to read the chunks.
            collection: The collection's key.
            first: The first row.
            last: The last row; None for as many chunks as a segment has.

        Returns:
            The segment; empty if there are no chunks.
        """
        limit = self.rows if last is None else -1
        found = unit_blocks(database, collection, first, last, limit)
        blocks = [(rows, quantized(units)) for rows, units in found]
        if not blocks:
            return []
        rows = np.concatenate([rows for rows, _ in blocks])
        vectors = joined([vectors for _, vectors in blocks])
        segment = Segment(first, int(rows[-1]) if last is None else last, rows, vectors, np.ones(len(rows), np.bool_))
        with suppress(OSError, StorageError):
            name = self._write(segment)
            self._record(database, collection, segment, name)
            mapped = self._map(first, segment.last, len(rows), name, vectors.codes.shape[1])
            return [mapped or segment]
        return [segment]

    def compacted(self, database: sqlite3.Connection, collection: int, segments: Sequence[Segment]) -> list[Segment]:
        """Create wasteful segments again, each merged with the next ones while there is room."""
        result: list[Segment] = []
        at = 0
        while at < len(segments):
            end, count = at + 1, segments[at].count
            if segments[at].is_wasteful:
                while end < len(segments) and count + segments[end].count <= self.rows:
                    count, end = count + segments[end].count, end + 1
                result += self.create(database, collection, segments[at].first, segments[end - 1].last)
            else:
                result.append(segments[at])
            at = end
        return result

    def sweep(self, database: sqlite3.Connection) -> None:
        """Remove files without a segment; inside a write transaction, so that no segment is recorded meanwhile."""
        known = {name for (name,) in database.execute("SELECT file FROM segments")}
        with suppress(OSError):  # for example on Windows, which keeps mapped files
            for path in list(self._folder.iterdir()):
                unfinished = path.suffix == ".tmp" and time.time() - path.stat().st_mtime < _ABANDONED_SECONDS
                if path.name not in known and not unfinished:
                    path.unlink(missing_ok=True)

    def _record(self, database: sqlite3.Connection, collection: int, segment: Segment, name: str) -> None:
        """Record a segment, unless another process recorded some of its chunks since the transaction began."""
        seen = _overlapping(database, collection, segment)
        entry = (segment.first, segment.last, len(segment.rows), name)
        if seen == [entry]:
            return
        with self._database.writing(_WAIT_SECONDS) as writer:
            within = all(segment.first <= first and last <= segment.last for first, last, *_ in seen)
            exists = writer.execute("SELECT 1 FROM collections WHERE row = ?", (collection,)).fetchone()
            if not (exists and within and _overlapping(writer, collection, segment) == seen):
                return
            for first, *_ in seen:
                writer.execute("DELETE FROM segments WHERE collection = ? AND first = ?", (collection, first))
            writer.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", (collection, *entry))
            if seen:
                self.sweep(writer)

    def _write(self, segment: Segment) -> str:
        """Write a segment's file and return its name."""
        vectors = segment.vectors
        arrays: tuple[NDArray[np.generic], ...] = (vectors.codes, segment.rows, vectors.scales, vectors.errors)
        content = [array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays]
        digest = hashlib.blake2b(digest_size=16)
        for part in content:
            digest.update(part)
        with atomic_write(self._folder / digest.hexdigest()) as file:
            file.writelines(content)
        return digest.hexdigest()

    def _map(self, first: int, last: int, count: int, name: str, dimensions: int) -> Segment | None:
        """Map a segment's file; None if it is missing or its content is not the recorded one."""
        path = self._folder / name
        stamp = _stamp(path)
        try:
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # ValueError: the file is empty
            return None
        complete = len(content) == count * (dimensions + _EXTRA_BYTES)
        if not complete or hashlib.blake2b(content, digest_size=16).hexdigest() != name:
            return None
        codes = np.frombuffer(content, np.int8, count * dimensions).reshape(count, dimensions)
        rows = np.frombuffer(content, "<i8", count, codes.nbytes)
        scales, errors = np.frombuffer(content, "<f4", 2 * count, codes.nbytes + rows.nbytes).reshape(2, count)
        return Segment(first, last, rows, Quantized(codes, scales, errors), np.ones(count, np.bool_), path, stamp)


def _overlapping(database: sqlite3.Connection, collection: int, segment: Segment) -> list[tuple[int, int, int, str]]:
    query = "SELECT first, last, chunks, file FROM segments WHERE collection = ? AND last >= ? AND first <= ?"
    return database.execute(query, (collection, segment.first, segment.last)).fetchall()
