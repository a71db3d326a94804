"""Open SQLite files: the cache of vectors and the collections.

``private.create_database`` makes them, for their owner only.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

_RETRY_SECONDS = 0.005

_VALUES_PER_QUERY = 500
"""SQLite allows 32,766 parameters, old builds 999."""


class ClosingConnection(sqlite3.Connection):
    """Closes itself when it is forgotten: from Python 3.13 on, SQLite's module warns of one that is left open."""

    def __del__(self) -> None:
        self.close()


C = TypeVar("C", bound=ClosingConnection)


def open_database(
    path: Path,
    factory: type[C],
    *,
    busy_seconds: float,
    synchronous: Literal["NORMAL", "FULL"],
    check: Callable[[C], object],
    prepare: Callable[[C], object],
) -> C:
    """Open an existing file for reading and writing, in write-ahead logging and without implicit transactions.

    Args:
        path: The file.
        factory: The class of the connection, which may be used by several threads in turn.
        busy_seconds: How long a write waits for another process's.
        synchronous: ``FULL`` makes every commit safe from a power cut.
        check: Called before anything is written: the file may be another program's.
        prepare: Called last, to make or migrate the tables.

    Raises:
        sqlite3.DatabaseError: It cannot be opened or written, or it is not an SQLite file.
    """
    _refuse_single_byte(path)
    # Never "mode=rwc": a file is made by create_database only.
    database = connect(path, "mode=rw", factory, busy_seconds)
    try:
        check(database)
        _begin_log(database, busy_seconds)
        database.execute(f"PRAGMA synchronous = {synchronous}")
        prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def connect(path: Path, options: str, factory: type[C], busy_seconds: float = 0) -> C:
    """Connect with options of SQLite's URIs, such as ``mode=ro``.

    ``Path.as_uri`` would make the server of a Windows share a host, which SQLite refuses.
    """
    whole = path.absolute().as_posix()
    uri = f"file://{'' if whole.startswith('/') else '/'}{quote(os.fsencode(whole))}?{options}"
    return sqlite3.connect(
        uri, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False, factory=factory
    )


def _refuse_single_byte(path: Path) -> None:
    """SQLite takes a file of one byte for an empty one and would write over it; it refuses other short files itself."""
    with suppress(OSError):  # SQLite says why
        if path.stat().st_size == 1:
            error = sqlite3.DatabaseError("file is not a database")
            error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
            raise error


def _begin_log(database: sqlite3.Connection, busy_seconds: float) -> None:
    """Write-ahead logging, which stays with the file. SQLite does not wait when several processes begin it at once."""
    end = time.monotonic() + busy_seconds
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Return the one write transaction: committed after the block, or rolled back where it fails."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk rolls back by itself
            database.execute("ROLLBACK")
        raise


def error_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error is Python's own."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def query_batches(values: Sequence[object]) -> Iterator[tuple[str, list[object]]]:
    """Values for queries with ``IN (...)``: the marks that stand for some of them, and these.

    Example:
        >>> list(query_batches([1, 2]))
        [('?, ?', [1, 2])]
    """
    for start in range(0, len(values), _VALUES_PER_QUERY):
        batch = list(values[start : start + _VALUES_PER_QUERY])
        yield ", ".join("?" * len(batch)), batch
