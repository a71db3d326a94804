"""Vectors of texts seen before: in memory, and on disk for the user's other processes and sessions.

The cache stores hashes and vectors, never texts. A problem with the disk costs speed, never an answer.
"""

import hashlib
import logging
import sqlite3
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.private import create_database, reserve_database
from mcp_server_embeddings.sqlite import ClosingConnection, open_database, query_batches, transaction

_log = logging.getLogger(__name__)

MEMORY_BYTES = 64_000_000
"""Size limit of the cache in memory: about 38,000 vectors of 384 dimensions."""

CACHE_FILE = "cache.sqlite"
"""Name of the cache's file in the data folder."""

_ENTRY_OVERHEAD = 200
"""Bytes of an entry in memory in addition to its vector: key, record and their slots in the dictionary."""

_BUSY_SECONDS = 0.05
"""Longest wait for another process that writes to the file."""

_LOCK_SECONDS = 0.5
"""Longest wait for another thread that uses the file."""

_DAY = 86_400

Cut = Literal["", "windowed", "truncated"]
_CUTS: tuple[Cut, ...] = get_args(Cut)

_CHECKSUM_BYTES = 4
"""Size of the checksum that follows an entry's vector on disk: SQLite does not notice a changed bit there."""


@dataclass(frozen=True, slots=True)
class CachedText:
    """The cached result for a text.

    Attributes:
        vector: Shape ``(d,)``, float32.
        tokens: Number of tokens that the model read for it.
        cut: How the text was cut; empty if it was within the model's limit.
    """

    vector: NDArray[np.float32]
    tokens: int
    cut: Cut


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """Statistics of the cache for ``status``."""

    hits: int
    misses: int
    entries: int
    memory_bytes: int
    disk_bytes: int


def cache_key(context: str, text: str) -> bytes:
    """Return the 16-byte key of a text in a context: model identity, engine, precision, role, long_text."""
    return hashlib.blake2b(f"{context}\0{text}".encode(), digest_size=16).digest()


class VectorCache:
    """A least-recently-used cache in memory over one on disk. Thread-safe.

    Args:
        path: The file shared by processes; None disables the cache on disk.
        disk_bytes: Size limit of the file; the least recently used entries are deleted first.
        memory_bytes: Size limit of the cache in memory; 0 disables it.
    """

    def __init__(self, path: Path | None, disk_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, CachedText] = OrderedDict()
        self._memory_used = 0
        self._hits = self._misses = 0
        self._disk = _Disk(path, disk_bytes) if path is not None else None

    def get(self, keys: Sequence[bytes], dimensions: int | None = None) -> dict[bytes, CachedText]:
        """Return the cached entries of ``keys``; an entry that is corrupt on disk counts as missing.

        Args:
            keys: Results of ``cache_key``.
            dimensions: Required length of a vector; None for any.
        """
        with self._lock:
            found = {key: self._entries[key] for key in keys if key in self._entries}
            for key in found:
                self._entries.move_to_end(key)
        missing = [key for key in keys if key not in found]
        if missing and self._disk is not None:
            stored = self._disk.get(missing, dimensions)
            self._remember(stored)
            found |= stored
        with self._lock:
            self._hits += len(found)
            self._misses += len(keys) - len(found)
        return found

    def put(self, entries: Mapping[bytes, CachedText]) -> None:
        """Add ``entries`` to the cache."""
        self._remember(entries)
        if self._disk is not None:
            self._disk.put(entries)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._disk is not None:
            self._disk.close()

    def figures(self) -> CacheFigures:
        """Return the current statistics."""
        with self._lock:
            disk = self._disk.size() if self._disk is not None else 0
            return CacheFigures(self._hits, self._misses, len(self._entries), self._memory_used, disk)

    def _remember(self, entries: Mapping[bytes, CachedText]) -> None:
        with self._lock:
            for key, entry in entries.items():
                if key not in self._entries:
                    self._memory_used += _size(entry)
                # Copied, because a row of a call's matrix would keep the whole matrix in memory.
                self._entries[key] = replace(entry, vector=entry.vector.copy())
                self._entries.move_to_end(key)
            while self._memory_used > self._memory_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._memory_used -= _size(oldest)


def _size(entry: CachedText) -> int:
    return entry.vector.nbytes + _ENTRY_OVERHEAD


class _Disk:
    """The SQLite file. Its write-ahead log survives a crash of any process; a corrupt file is recreated."""

    _SCHEMA = (
        "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, tokens INTEGER, cut TEXT, vector BLOB, used INTEGER)"
    )

    def __init__(self, path: Path, limit: int) -> None:
        reserve_database(path)
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self._warned = False
        self._database: ClosingConnection | None = None

    def get(self, keys: Sequence[bytes], dimensions: int | None) -> dict[bytes, CachedText]:
        with self._using() as database:
            return self._read(database, keys, dimensions) if database is not None else {}
        return {}

    def put(self, entries: Mapping[bytes, CachedText]) -> None:
        with self._using() as database:
            if database is not None:
                self._write(database, entries)

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the open file to one thread at a time; None if it cannot be used or another thread takes too long."""
        if not self._lock.acquire(timeout=_LOCK_SECONDS):
            _log.info("the cache on disk is skipped: it is still in use after %s seconds", _LOCK_SECONDS)
            yield None
            return
        try:
            with self._tolerate_failures():
                yield self._connection()
        finally:
            self._lock.release()

    @contextmanager
    def _tolerate_failures(self) -> Iterator[None]:
        """Continue without the file if it is locked or read-only or the disk is full; recreate it if it is corrupt."""
        try:
            yield
        except sqlite3.OperationalError as error:
            _log.info("the cache on disk is skipped: %s", error)
        except sqlite3.DatabaseError as error:
            self._recreate(error)

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _connection(self) -> sqlite3.Connection | None:
        """Return the open file; None if it cannot be opened, which every use tries again."""
        if self._database is None:
            with self._tolerate_failures():
                self._open()
        return self._database

    def _open(self) -> None:
        """Open the file, or warn once that it cannot be opened.

        Raises:
            sqlite3.DatabaseError: The file is corrupt.
        """
        try:
            create_database(self._path)  # private, because vectors reveal something about their texts
            self._database = open_database(
                self._path,
                ClosingConnection,
                busy_seconds=_BUSY_SECONDS,
                synchronous="NORMAL",
                check=lambda _: None,  # a file that is not a cache counts as corrupt
                prepare=lambda database: database.execute(self._SCHEMA),
            )
        except (OSError, sqlite3.OperationalError) as error:  # locked, read-only, full
            level = logging.INFO if self._warned else logging.WARNING
            _log.log(level, "the cache %s cannot be opened (%s); going on without", self._path, error)
            self._warned = True

    def _recreate(self, reason: Exception) -> None:
        """Replace a corrupt file with an empty one."""
        _log.warning("the cache %s is corrupt (%s); recreating it", self._path, type(reason).__name__)
        try:
            if self._database is not None:
                damaged, self._database = self._database, None
                damaged.close()
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._open()
        except (OSError, sqlite3.DatabaseError) as error:
            _log.warning("the cache %s cannot be replaced (%s); going on without", self._path, error)

    def _read(
        self, database: sqlite3.Connection, keys: Sequence[bytes], dimensions: int | None
    ) -> dict[bytes, CachedText]:
        found: dict[bytes, CachedText] = {}
        today = int(time.time() // _DAY)
        stale: list[bytes] = []
        for placeholders, batch in query_batches(keys):
            query = f"SELECT key, tokens, cut, vector, used FROM vectors WHERE key IN ({placeholders})"  # noqa: S608 - no values
            with closing(database.execute(query, batch)) as rows:
                for key, tokens, cut, vector, used in rows:
                    entry = _valid_entry(key, tokens, cut, vector, dimensions)
                    if entry is None:
                        continue
                    found[key] = entry
                    if used != today:
                        stale.append(key)
        if stale:
            with self._tolerate_failures(), transaction(database):  # a failure does not affect the entries read
                database.executemany("UPDATE vectors SET used = ? WHERE key = ?", [(today, key) for key in stale])
        return found

    def _write(self, database: sqlite3.Connection, entries: Mapping[bytes, CachedText]) -> None:
        today = int(time.time() // _DAY)
        rows = [(key, entry.tokens, entry.cut, _packed(key, entry), today) for key, entry in entries.items()]
        with transaction(database):
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", rows)
        self._evict(database)

    def _evict(self, database: sqlite3.Connection) -> None:
        """If the file is over its limit, delete the least recently used entries down to 90 % of it."""
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (page_size,) = database.execute("PRAGMA page_size").fetchone()
        used = (pages - free) * page_size
        if used <= self._limit:
            return
        (count,) = database.execute("SELECT count(*) FROM vectors").fetchone()
        surplus = int(count * (1 - 0.9 * self._limit / used)) + 1
        database.execute(
            "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used, rowid LIMIT ?)", (surplus,)
        )


def _packed(key: bytes, entry: CachedText) -> bytes:
    """Return the bytes of the column ``vector``: the numbers and their checksum."""
    numbers = entry.vector.astype("<f4").tobytes()
    return numbers + _checksum(key, entry.tokens, entry.cut, numbers)


def _checksum(key: bytes, tokens: int, cut: Cut, numbers: bytes) -> bytes:
    return zlib.crc32(b"%b %d %b " % (key, tokens, cut.encode()) + numbers).to_bytes(_CHECKSUM_BYTES, "little")


def _valid_entry(key: bytes, tokens: object, cut: object, vector: object, dimensions: int | None) -> CachedText | None:
    """Return the entry of a row, or None if it is corrupt: SQLite checks neither types nor bytes of its columns."""
    kind = next((known for known in _CUTS if known == cut), None)
    if not isinstance(tokens, int) or kind is None or not isinstance(vector, bytes):
        return None
    numbers, checksum = vector[:-_CHECKSUM_BYTES], vector[-_CHECKSUM_BYTES:]
    if len(numbers) % 4 or (dimensions is not None and len(numbers) != 4 * dimensions):
        return None
    if _checksum(key, tokens, kind, numbers) != checksum:
        return None
    entry = CachedText(np.frombuffer(numbers, dtype="<f4"), tokens, kind)
    return entry if np.isfinite(entry.vector).all() else None
