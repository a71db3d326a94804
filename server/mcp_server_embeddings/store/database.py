"""Connections to the file: many readers, one writer at a time, and SQLite's errors in our words."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.schema import PAGE_BYTES, checked_version, migrate

_BUSY_SECONDS = 30.0
"""How long a write waits for another process's. Writes are short: nothing is encoded inside one."""

_RETRY_SECONDS = 0.005

_WAL_BYTES = 64_000_000
"""The write-ahead log is cut back to this after a checkpoint."""

_HEADER = b"SQLite format 3\0"

_IDLE = 4
"""Connections for reading kept open."""


class Database:
    """One SQLite file in write-ahead logging: readers never wait, and what was committed survives a crash.

    Thread-safe. Opened on first use.

    Args:
        path: The file; its folder is made on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._watching: sqlite3.Connection | None = None
        self._seen = (0, 0)

    def exists(self) -> bool:
        """Whether anything was ever stored. Reading a folder without the file finds no collections and makes none.

        Raises:
            StorageError: The folder may not be entered.
        """
        try:
            return self.path.exists()
        except OSError as error:
            raise StorageError(
                f"the collections in {str(self.path)!r} are not available ({error.strerror}); nothing was changed: "
                "make the folder readable, or give another with --data-dir"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one read transaction: all its queries see one state.

        Raises:
            StorageError: The file cannot be read.
        """
        with self._connection() as database:
            database.execute("BEGIN")
            try:
                yield database
            finally:
                if database.in_transaction:
                    database.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside the one write transaction: committed and on disk after the block, or not at all.

        Raises:
            StorageError: The file cannot be written; nothing of the block was stored.
        """
        with self._writing, self._connection() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk rolls back by itself
                    database.execute("ROLLBACK")
                raise

    def version(self) -> int:
        """A number that grows when any process wrote, this one included. 0 without a file.

        Files' times would not do: they stand still for milliseconds, and the log is written over in place.

        Raises:
            StorageError: The file cannot be read.
        """
        if not self.exists():
            return 0
        with self._lock, _explained(self.path):
            # SQLite tells a connection of others' writes only; this one never writes.
            known = self._watching is not None
            self._watching = self._watching or self._open()
            (now,) = self._watching.execute("PRAGMA data_version").fetchone()
            number, before = self._seen
            self._seen = (number + (not known or now != before), now)
            return self._seen[0]

    def close(self) -> None:
        """Let go of the file; it is opened again on need."""
        with self._lock:
            idle, self._idle = self._idle, []
            if self._watching is not None:
                idle.append(self._watching)
                self._watching = None
        for database in idle:
            with suppress(sqlite3.Error):
                database.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with _explained(self.path):
            with self._lock:
                database = self._idle.pop() if self._idle else None
            database = database or self._open()
            kept = False
            try:
                yield database
                kept = not isinstance(database, _Frozen)
            finally:
                with self._lock:
                    kept = kept and len(self._idle) < _IDLE
                    if kept:
                        self._idle.append(database)
                if not kept:
                    database.close()

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.exists():
                self.path.touch(mode=0o600)
        except OSError as error:
            if not self.exists():
                raise StorageError(
                    f"collections cannot be kept in {str(self.path.parent)!r} ({error.strerror}); nothing was stored: "
                    "make the folder writable, or give another with --data-dir"
                ) from error
        self._check_header()
        database = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            checked_version(database, str(self.path))  # before anything is written: it may be another program's
            _prepare(database)
            migrate(database, str(self.path))
        except sqlite3.OperationalError as error:
            database.close()
            if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                raise
            return self._open_read_only()
        except BaseException:
            database.close()
            raise
        return database

    def _check_header(self) -> None:
        """Refuse a short file that is none of SQLite's, which SQLite would take for an empty one and write over."""
        with suppress(PermissionError), self.path.open("rb") as file:  # SQLite says what may not be read
            start = file.read(len(_HEADER))
            if not _HEADER.startswith(start):
                raise StorageError(f"{str(self.path)!r}: {_REASONS[sqlite3.SQLITE_NOTADB]}")

    def _open_read_only(self) -> sqlite3.Connection:
        """For a folder that may only be read.

        Where nobody who may write has it open, no log lies beside the file and none can be made: SQLite then has to be
        told that nothing changes. With a log it must not be told so, since it would read past what that holds.
        """
        log = self.path.with_name(self.path.name + "-wal")
        frozen = not (log.exists() and log.stat().st_size)
        uri = f"{self.path.absolute().as_uri()}?mode=ro{'&immutable=1' if frozen else ''}"
        kind = _Frozen if frozen else sqlite3.Connection
        database = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, factory=kind)
        try:
            migrate(database, str(self.path))
        except BaseException:
            database.close()
            raise
        return database


class _Frozen(sqlite3.Connection):
    """Reads a file as it is now. For one use: who may write can do so at any time."""


def _prepare(database: sqlite3.Connection) -> None:
    database.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")  # of a file that is being made
    _begin_log(database)
    database.execute("PRAGMA synchronous = FULL")  # acknowledged means safe from a power cut, too
    database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES:d}")
    database.execute("PRAGMA cache_size = -32000")


def _begin_log(database: sqlite3.Connection) -> None:
    """Write-ahead logging, which stays with the file. SQLite does not wait when several processes begin it at once."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error is Python's own."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return int(code) & 0xFF


_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; make room and send the call again",
    sqlite3.SQLITE_IOERR: "the disk is full or faulty; check it and send the call again",
    sqlite3.SQLITE_READONLY: "it may only be read; make the folder writable, or give another with --data-dir",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; make the folder writable, or give another with --data-dir",
    sqlite3.SQLITE_PERM: "permission is denied; make the folder writable, or give another with --data-dir",
    sqlite3.SQLITE_BUSY: "another process has been writing for half a minute; send the call again",
    sqlite3.SQLITE_LOCKED: "another process has been writing for half a minute; send the call again",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup, or move it away and index again",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file; move it away or give another --data-dir",
}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors as ``StorageError``, with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        reason = _REASONS.get(_code(error))
        if reason is None:
            raise
        raise StorageError(
            f"the collections in {str(path)!r} are not available: {reason}. What was acknowledged before is kept"
        ) from error
