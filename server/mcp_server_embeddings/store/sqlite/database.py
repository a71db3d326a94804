"""Connections to the SQLite file: many readers, one writer at a time, none to a file that is no longer there."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.private import reserve_database
from mcp_server_embeddings.sqlite import transaction
from mcp_server_embeddings.store.sqlite.connection import (
    BUSY_SECONDS,
    Connection,
    Inode,
    Place,
    inode,
    open_collections,
    remove_sidecars,
    sidecar_inodes,
    translated_errors,
)
from mcp_server_embeddings.store.sqlite.schema import check_unchanged

_IDLE = 4
"""Maximum number of idle connections kept open."""


class Database:
    """One SQLite file with write-ahead logging: readers never wait, and committed writes survive a crash.

    Only SQLite opens the file (see ``private``). If it was moved, removed or replaced meanwhile, the file that is at
    the path now is opened, and a write to the earlier one is not acknowledged.

    Thread-safe. Opened on first use.

    Args:
        path: The file; its folder is created on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._version_lock = threading.Lock()
        self._idle: list[Connection] = []
        self._version_connection: Connection | None = None
        self._last_version = (0, 0)
        self._main: Inode = None
        self._log: Inode = None
        self._open_count = 0
        self._generation = 0
        reserve_database(path)

    def exists(self) -> bool:
        """Tell whether anything was ever stored. Reading without a file finds no collections and creates none.

        Raises:
            StorageError: The folder cannot be accessed.
        """
        try:
            return self.path.exists()
        except OSError as error:
            raise StorageError(
                f"the collections in {str(self.path)!r} are not available ({error.strerror}); nothing was changed: "
                "make the folder readable, or give another with --data-dir"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection inside one read transaction: all its queries see one state.

        Raises:
            StorageError: The file cannot be read.
        """
        with self._connection(create=False) as database:
            database.execute("BEGIN")
            try:
                check_unchanged(database, str(self.path))
                yield database
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")  # COMMIT would fail again after a query met a damaged page

    @contextmanager
    def writing(self, wait_seconds: float = BUSY_SECONDS) -> Iterator[Connection]:
        """Yield a connection inside the only write transaction: committed and on disk after the block, or rolled back.

        Args:
            wait_seconds: How long to wait for another process to finish writing.

        Raises:
            StorageError: The file cannot be written, or was moved meanwhile; the file that is at the path now contains
                nothing of the block.
        """
        with self._write_lock, self._connection(create=True) as database:
            database.execute(f"PRAGMA busy_timeout = {1_000 * wait_seconds:.0f}")
            with transaction(database):
                database.execute(f"PRAGMA busy_timeout = {1_000 * BUSY_SECONDS:.0f}")
                check_unchanged(database, str(self.path))
                self._check_place(database)  # waiting for the lock takes up to half a minute
                yield database
            self._check_place(database)

    def version(self) -> int:
        """Return a number that grows when any process writes, including this one; 0 without a file.

        The time of a file would not do: it stays the same for milliseconds, and the log is overwritten in place.

        Raises:
            StorageError: The file cannot be read.
        """
        if not self.exists():
            return 0
        with self._version_lock, translated_errors(self.path):
            if self._version_connection is not None and self._version_connection.place() == "moved":
                moved, self._version_connection = self._version_connection, None
                self._close_moved(moved)
            # SQLite shows a connection the writes of others only; this one never writes.
            reused = self._version_connection is not None
            self._version_connection = self._version_connection or self._connect(create=False)
            (now,) = self._version_connection.execute("PRAGMA data_version").fetchone()
            number, before = self._last_version
            self._last_version = (number + (not reused or now != before), now)
            return self._last_version[0]

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        with self._version_lock, self._lock:
            connections, self._idle = self._idle, []
            if self._version_connection is not None:
                connections.append(self._version_connection)
                self._version_connection = None
        for database in connections:
            self._close(database)

    @contextmanager
    def _connection(self, *, create: bool) -> Iterator[Connection]:
        with translated_errors(self.path):
            database = self._idle_connection() or self._connect(create=create)
            usable = False
            try:
                yield database
                usable = True
            except (sqlite3.Error, StorageError):
                raise
            except BaseException:
                usable = True  # an error of the block, not of the connection
                raise
            finally:
                self._release(database, usable=usable)

    def _idle_connection(self) -> Connection | None:
        """Return an idle connection to the file at the path; None if there is none."""
        while True:
            with self._lock:
                database = self._idle.pop() if self._idle else None
            place = database.place() if database is not None else "here"
            if database is None or place == "here":
                return database
            if place == "moved":
                self._close_moved(database)
            else:
                self._release(database, usable=True)  # closing it might write an old state over a newer one
                raise self._place_error(place)

    def _release(self, database: Connection, *, usable: bool) -> None:
        with self._lock:
            kept = usable and database.reusable and not database.in_transaction and len(self._idle) < _IDLE
            if kept:
                self._idle.append(database)
        if not kept:
            self._close(database)

    def _check_place(self, database: Connection) -> None:
        """Raise an error if the files of a connection are no longer those at the path."""
        place = database.place()
        if place != "here":
            raise self._place_error(place)

    def _place_error(self, place: Place) -> StorageError:
        if place == "moved":
            return StorageError(
                f"{str(self.path)!r} was moved, removed or replaced while it was in use; nothing was stored in the one "
                "that is there now: send the call again"
            )
        return StorageError(
            f"files beside {str(self.path)!r} (-wal, -shm) were moved, removed or replaced while it was in use, so "
            "nothing can be stored safely: end every program that uses it, then start again"
        )

    def _connect(self, *, create: bool) -> Connection:
        with self._lock:
            replaced = self._open_count and self._main != inode(self.path)
            if replaced and self._log and self._log == sidecar_inodes(self.path)[0]:
                raise self._place_error("moved")  # other threads still use the log of the earlier file
        database = open_collections(self.path, create=create)
        with self._lock:
            # While a connection is open, no other file can have its inode. Connections that are not reusable keep the
            # generation too: they are opened for each use, and all vectors would be read each time.
            continuous = self._open_count > 0 or not database.reusable
            if database.main != self._main or not continuous:
                self._generation += 1
            self._main, self._log = database.main, database.log
            self._open_count += 1
            database.generation = self._generation
        return database

    def _close(self, database: Connection) -> None:
        with self._lock:
            self._open_count -= 1
        with suppress(sqlite3.Error):
            database.close()

    def _close_moved(self, database: Connection) -> None:
        """Close a connection whose file was moved or removed.

        If its log was left behind, SQLite would take it for the log of the file that is there now, and damage that
        file. So the content of the log is first written to the file it belongs to.

        Raises:
            StorageError: Another process uses that log.
        """
        if database.log is not None and database.log == sidecar_inodes(self.path)[0]:
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                self._release(database, usable=True)
                raise self._place_error("moved")
            remove_sidecars(self.path, database)
        self._close(database)
