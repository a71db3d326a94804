"""One connection to PostgreSQL, and the meaning of its errors."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg
from pgvector.psycopg import register_vector
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.string import StrDumper

from mcp_server_embeddings.config import NO_ADDRESS
from mcp_server_embeddings.errors import CollectionError, ConfigurationError, ConnectionLostError, StorageError

RawConnection = psycopg.Connection[TupleRow]

_OPTIONS = {"connect_timeout": "5", "tcp_user_timeout": "20000", "application_name": "mcp-server-embeddings"}
"""Defaults that the address may override: a vanished server is noticed within seconds."""

_LOST = (
    psycopg.errors.AdminShutdown,
    psycopg.errors.CrashShutdown,
    psycopg.errors.CannotConnectNow,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,  # the server is a standby now
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
)
"""After these errors nothing of the transaction is stored, and another attempt may succeed."""

_REASONS: tuple[tuple[type[psycopg.Error], str], ...] = (
    (psycopg.errors.DiskFull, "its disk is full; make room and send the call again"),
    (psycopg.errors.LockNotAvailable, "another process has been using them for half a minute; send the call again"),
    (psycopg.errors.QueryCanceled, "the server cancelled the query (statement_timeout?); send the call again"),
    (psycopg.errors.InsufficientPrivilege, "the role may not do this; grant it the schema, or give another role"),
    (psycopg.errors.ProgramLimitExceeded, "an id, a path or a metadata name is longer than 2,600 bytes; shorten it"),
    (psycopg.errors.OutOfMemory, "the server is out of memory; send the call again"),
)


ADD_PGVECTOR_SCHEMA = (
    "SELECT set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''), "
    "quote_ident(nspname)), false) "
    "FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'"
)
"""Adds the schema of pgvector to the search path: some databases keep extensions in a separate schema."""


class _StrDumper(StrDumper):
    """Leaves out NUL characters, which PostgreSQL does not have."""

    def dump(self, obj: str) -> bytes | bytearray | memoryview | None:
        return super().dump(obj.replace("\0", ""))


class Connection:
    """A connection inside a transaction, for queries with ``?`` as the placeholder for values.

    Attributes:
        raw: The connection of psycopg.
        writing: Whether the transaction may write.
    """

    __slots__ = ("raw", "writing")

    def __init__(self, raw: RawConnection, *, writing: bool) -> None:
        self.raw = raw
        self.writing = writing

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[TupleRow]:
        """Run one statement."""
        return self.raw.execute(_psycopg_sql(sql), parameters or None, binary=True)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each row of values, without waiting between them."""
        self.raw.cursor().executemany(_psycopg_sql(sql), parameters)

    def conditions_in(self, values: Sequence[object]) -> Iterator[tuple[str, Sequence[object]]]:
        """Yield one condition, with an array: many placeholders take longer to parse and to plan."""
        if values:
            yield "= ANY(?)", (list(values),)


@lru_cache(1_000)
def _psycopg_sql(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


def check_address(url: str) -> None:
    """Refuse an address that libpq would refuse, without its message, which may contain the password.

    Raises:
        ConfigurationError: The address is malformed.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        raise ConfigurationError(NO_ADDRESS) from None


def connection_options(url: str) -> dict[str, Any]:
    """Return the options of connections that the address does not set."""
    given = conninfo_to_dict(url)
    return {"autocommit": True, **{name: value for name, value in _OPTIONS.items() if name not in given}}


def prepare(connection: RawConnection) -> None:
    """Set up a connection for vectors, and to leave out NUL characters of texts."""
    connection.adapters.register_dumper(str, _StrDumper)
    connection.execute(ADD_PGVECTOR_SCHEMA)
    register_vector(connection)


def is_lost(error: psycopg.Error, connection: RawConnection) -> bool:
    """Tell whether another attempt may succeed: the connection broke, or another transaction had precedence."""
    return connection.closed or connection.broken or isinstance(error, _LOST)


def unreachable_error(error: psycopg.Error) -> StorageError:
    """Return the error that explains why there is no connection; this message of libpq contains no password."""
    words = " ".join((error.diag.message_primary or str(error)).split())
    return StorageError(
        f"the collections in PostgreSQL cannot be reached: {words}. What was acknowledged before is kept; check "
        "--store and the server, then send the call again"
    )


@contextmanager
def translated_errors(connection: RawConnection) -> Iterator[None]:
    """Raise PostgreSQL's errors as our own, with instructions.

    The original messages are left out: they repeat stored texts.
    """
    try:
        yield
    except psycopg.errors.UndefinedTable:
        raise CollectionError("the collection was removed or replaced meanwhile; send the call again") from None
    except psycopg.Error as error:
        if is_lost(error, connection):
            raise ConnectionLostError(
                "the connection to PostgreSQL was lost, and nothing of this call was stored: send it again"
            ) from None
        reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), None)
        reason = reason or f"it answered {type(error).__name__} ({error.sqlstate}); its log says more"
        raise StorageError(
            f"the collections in PostgreSQL are not available: {reason}. What was acknowledged before is kept"
        ) from None
