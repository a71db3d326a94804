"""One connection to the database: opened, prepared, and bound to the files that were at its path at that time."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.private import create_database
from mcp_server_embeddings.sqlite import ClosingConnection, connect, error_code, open_database, query_batches
from mcp_server_embeddings.store.sqlite.schema import PAGE_BYTES, migrate, read_version

BUSY_SECONDS = 30.0
"""How long a write waits for another process to finish writing. Writes are short: nothing is encoded inside one."""

_WAL_BYTES = 64_000_000
"""The write-ahead log is truncated to this size after a checkpoint."""

_ATTEMPTS = 5
"""Attempts to open a file that is being replaced."""

Inode = tuple[int, int] | None
"""Device and inode number of a file; None if there is none."""

Place = Literal["here", "moved", "torn"]
"""``here``: the open files are those at the path. ``moved``: another database is there, or none. ``torn``: only its log
or index is another one."""


class Connection(ClosingConnection):
    """A connection that knows which files it has open.

    Attributes:
        path: Path of the database.
        sidecar_paths: Paths of its log and index.
        main: Inode of the database file.
        log: Inode of its write-ahead log.
        index: Inode of the log's index, which processes share.
        reusable: False for a connection that treats the file as immutable: another process may write at any time.
        generation: Equal for connections between which the file cannot have been replaced; see ``Database``.
    """

    path = Path()
    sidecar_paths = (Path(), Path())
    main: Inode = None
    log: Inode = None
    index: Inode = None
    reusable = True
    generation = 0

    def conditions_in(self, values: Sequence[object]) -> Iterator[tuple[str, Sequence[object]]]:
        """Yield a condition for each batch of values, because the number of parameters is limited."""
        return ((f"IN ({marks})", batch) for marks, batch in query_batches(values))

    def place(self) -> Place:
        """Compare the open files with those at the path. ``stat`` opens nothing, so it releases no locks."""
        if self.main != inode(self.path):
            return "moved"
        log, index = map(inode, self.sidecar_paths)
        intact = self.log in (None, log) and self.index in (None, index)
        return "here" if intact else "torn"


def inode(path: Path) -> Inode:
    """Return the identity of the file at a path."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def sidecar_inodes(path: Path) -> tuple[Inode, Inode]:
    """Return the identities of the log and index of the database at a path."""
    log, index = _sidecar_paths(path)
    return inode(log), inode(index)


def remove_sidecars(path: Path, owner: Connection) -> None:
    """Remove the log and index at a path if they belong to a connection whose database is no longer there."""
    for sidecar, own in zip(_sidecar_paths(path), (owner.log, owner.index), strict=True):
        if own is not None and own == inode(sidecar):
            sidecar.unlink(missing_ok=True)


def _sidecar_paths(path: Path) -> tuple[Path, Path]:
    """Return the paths of the log and index; for a symbolic link, they are next to its target."""
    target = os.path.realpath(path)
    return Path(f"{target}-wal"), Path(f"{target}-shm")


def open_collections(path: Path, *, create: bool) -> Connection:
    """Open the file, read-only if it cannot be written, and migrate it to this program's version.

    Args:
        path: The file.
        create: Create the file and its folder if missing.

    Raises:
        StorageError: The file cannot be opened or created, belongs to another program, or has a newer version.
        sqlite3.DatabaseError: SQLite cannot use it; see ``translated_errors``.
    """
    if create:
        _create(path)
    for _ in range(_ATTEMPTS):
        before = inode(path)
        database = _open(path)
        database.path, database.sidecar_paths, database.main = path, _sidecar_paths(path), inode(path)
        database.log, database.index = sidecar_inodes(path)
        if database.main == before:
            return database
        database.close()
    raise StorageError(f"{str(path)!r} is being moved or replaced; nothing was changed: send the call again")


def _create(path: Path) -> None:
    try:
        create_database(path)
    except OSError as error:
        raise StorageError(
            f"collections cannot be kept in {str(path.parent)!r} ({error.strerror}); nothing was stored: "
            "make the folder writable, or give another with --data-dir"
        ) from error


def _open(path: Path) -> Connection:
    try:
        return open_database(
            path,
            Connection,
            busy_seconds=BUSY_SECONDS,
            synchronous="FULL",  # acknowledged writes survive a power cut, too
            check=lambda database: _check(database, path),
            prepare=lambda database: _prepare(database, path),
        )
    except sqlite3.OperationalError as error:
        if error_code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        return _open_read_only(path)


def _check(database: Connection, path: Path) -> None:
    read_version(database, str(path))
    database.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")  # takes effect only in a new file


def _prepare(database: Connection, path: Path) -> None:
    database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES:d}")
    database.execute("PRAGMA cache_size = -32000")
    migrate(database, str(path))


def _open_read_only(path: Path) -> Connection:
    """Open the file in a read-only folder.

    If no process that can write has it open, there is no log, and none can be created: SQLite then needs the option
    ``immutable``. With a log this option would be wrong, since SQLite would ignore the content of the log.
    """
    log = path.with_name(path.name + "-wal")
    immutable = not (log.exists() and log.stat().st_size)
    database = connect(path, "mode=ro&immutable=1" if immutable else "mode=ro", Connection)
    database.reusable = not immutable
    try:
        migrate(database, str(path))
    except BaseException:
        database.close()
        raise
    return database


_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full; make room and send the call again",
    sqlite3.SQLITE_IOERR: "the disk is full or faulty; check it and send the call again",
    sqlite3.SQLITE_READONLY: "it may only be read; make the folder writable, or give another with --data-dir",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; make the folder writable, or give another with --data-dir",
    sqlite3.SQLITE_PERM: "permission is denied; make the folder writable, or give another with --data-dir",
    sqlite3.SQLITE_BUSY: "another process has been writing for half a minute; send the call again",
    sqlite3.SQLITE_LOCKED: "another process has been writing for half a minute; send the call again",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup, or `mcp-server-embeddings export NAME FILE "
    "--salvage` what can be read, move it away and import that",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite file; move it away or give another --data-dir",
}

_OTHER = (
    "it is damaged, or another program changed its tables or texts; restore it from a backup, or move it away and "
    "index again"
)


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as ``StorageError``, with instructions.

    The original message is left out of the chain: the one about damaged UTF-8 repeats the stored text.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        reason = _REASONS.get(error_code(error))
        if reason is None and type(error) is not sqlite3.OperationalError:
            raise  # a bug in this program; the message contains no stored text
        raise StorageError(
            f"the collections in {str(path)!r} are not available: {reason or _OTHER}. What was acknowledged before "
            "is kept"
        ) from None
