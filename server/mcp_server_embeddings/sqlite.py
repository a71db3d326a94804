"""Open SQLite files: the vector cache and the collections.

``private.create_database`` creates them, accessible to their owner only.
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
"""SQLite allows 32,766 parameters per query, old builds 999."""


class ClosingConnection(sqlite3.Connection):
    """Close the connection when it is garbage-collected: since Python 3.13, ``sqlite3`` warns about one left open."""

    def __del__(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it could not be opened
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
    """Open an existing file for reading and writing, with write-ahead logging and no implicit transactions.

    Args:
        path: The database file.
        factory: The connection class; several threads may use the connection, one at a time.
        busy_seconds: How long a write waits for another process to finish writing.
        synchronous: ``FULL`` makes every commit survive a power cut.
        check: Called before anything is written: the file may belong to another program.
        prepare: Called last, to create or migrate the tables.

    Raises:
        sqlite3.DatabaseError: The file cannot be opened or written, or is not an SQLite file.
    """
    _refuse_single_byte(path)
    # Never "mode=rwc": only create_database creates files.
    database = connect(path, "mode=rw", factory, busy_seconds)
    try:
        check(database)
        _enable_wal(database, busy_seconds)
        database.execute(f"PRAGMA synchronous = {synchronous}")
        prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def connect(path: Path, options: str, factory: type[C], busy_seconds: float = 0) -> C:
    """Connect with SQLite URI options, such as ``mode=ro``.

    ``Path.as_uri`` would put the server of a Windows share into the URI's host part, which SQLite refuses.
    """
    absolute = path.absolute().as_posix()
    uri = f"file://{'' if absolute.startswith('/') else '/'}{quote(os.fsencode(absolute))}?{options}"
    return sqlite3.connect(
        uri, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False, factory=factory
    )


def _refuse_single_byte(path: Path) -> None:
    """Refuse a one-byte file, which SQLite takes for empty and would overwrite; it refuses other short files itself."""
    with suppress(OSError):  # SQLite reports the reason when it opens the file
        if path.stat().st_size == 1:
            error = sqlite3.DatabaseError("file is not a database")
            error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
            raise error


def _enable_wal(database: sqlite3.Connection, busy_seconds: float) -> None:
    """Enable write-ahead logging, stored in the file. SQLite does not wait when several processes enable it at once."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a write transaction: commit it afterwards, or roll it back if the block fails."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has already rolled back on a full disk
            database.execute("ROLLBACK")
        raise


def error_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 if Python itself raised the error."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def query_batches(values: Sequence[object]) -> Iterator[tuple[str, list[object]]]:
    """Yield values in batches for queries with ``IN (...)``: the placeholders of a batch, and its values.

    Example:
        >>> list(query_batches([1, 2]))
        [('?, ?', [1, 2])]
    """
    for start in range(0, len(values), _VALUES_PER_QUERY):
        batch = list(values[start : start + _VALUES_PER_QUERY])
        yield ", ".join("?" * len(batch)), batch
