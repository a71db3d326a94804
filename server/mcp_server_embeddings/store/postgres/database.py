"""Transactions in one schema of a PostgreSQL database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

import psycopg
from psycopg_pool import ConnectionPool

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.postgres.connection import (
    Connection,
    RawConnection,
    is_lost,
    translated_errors,
    unreachable_error,
)
from mcp_server_embeddings.store.postgres.pool import PATIENCE_SECONDS, Pool
from mcp_server_embeddings.store.postgres.schema import VERSION, migrate, read_version, search_path

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_WRITE = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '30s'; "
    # Acknowledged means on disk, regardless of the server's default.
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)

_PRUNE_WRITES = (
    "DELETE FROM writes WHERE write IN "
    "(SELECT write FROM writes WHERE at < now() - interval '1 hour' LIMIT 100 FOR UPDATE SKIP LOCKED)"
)

_PLANNER_SETTINGS = (
    "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"
)
"""A generic plan, for any vector and any limit, would not use the vector index. Compiling a query, or starting workers
for it, takes longer than running most of ours; concurrent searches use the other cores."""


class Database:
    """One schema of a database; thread-safe.

    Args:
        pool: The source of connections.
        schema: Name of the schema, which is created on the first write.
    """

    def __init__(self, pool: Pool, schema: str) -> None:
        self._pool = pool
        self._schema = schema
        self._usable = False
        self._settings = f"{search_path(schema)}; {_PLANNER_SETTINGS}"
        self._last_version: tuple[int, object] = (0, None)

    def exists(self) -> bool:
        """Tell whether anything was ever stored; a schema of an older version is migrated.

        Raises:
            StorageError: The server cannot be reached, or a newer program wrote the schema.
        """
        if not self._usable:
            with self._pool.direct() as connection:
                version = read_version(connection, self._schema)
                if 0 < version < VERSION:
                    migrate(connection, self._schema)
            self._usable = version > 0
        return self._usable

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection inside one read transaction: all its queries see one state.

        Raises:
            StorageError: The server cannot be reached, or the connection was lost.
        """
        with self._transaction(f"{_READ}; {self._settings}") as connection:
            yield Connection(connection, writing=False)
            with suppress(psycopg.Error):  # everything has been read
                connection.execute("COMMIT")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection inside a write transaction: committed and durable after the block, or rolled back.

        Raises:
            StorageError: The server cannot be reached or written, or the connection was lost.
        """
        if not self.exists():
            with self._pool.direct() as connection:
                migrate(connection, self._schema)
            self._usable = True
        write = uuid4()
        with self._transaction(f"{_WRITE}; {self._settings}; INSERT INTO writes VALUES ('{write}')") as connection:
            yield Connection(connection, writing=True)
            connection.execute(_PRUNE_WRITES)
            try:
                connection.execute("COMMIT")
            except psycopg.Error:
                # If the connection was lost during COMMIT, the transaction may be stored nevertheless.
                if not (connection.closed or connection.broken) or not self._is_stored(write):
                    raise

    def _is_stored(self, write: UUID) -> bool:
        """Tell whether a transaction was committed although its connection was lost before the answer came.

        Raises:
            StorageError: No server can answer.
        """
        try:
            # The lock waits for all writes in progress: this one may still be, even without its client.
            with self._transaction(f"{_WRITE}; {self._settings}; LOCK TABLE writes IN SHARE MODE") as connection:
                return bool(connection.execute("SELECT 1 FROM writes WHERE write = %s", (write,)).fetchone())
        except StorageError as error:
            raise StorageError(
                f"the connection to PostgreSQL was lost while storing, and whether it was stored is unknown: {error}; "
                "the same call is safe: nothing is stored twice"
            ) from None

    def version(self) -> int:
        """Return a number that grows when any process writes, or may have written unnoticed; 0 without a schema.

        Raises:
            StorageError: The server cannot be reached.
        """
        if not self.exists():
            return 0
        with self.reading() as database:
            # Keys and revisions only grow, so no two states have the same three numbers.
            state = database.execute("SELECT count(*), max(row), sum(revision) FROM collections").fetchone()
        number, before = self._last_version
        if state != before:
            self._last_version = (number + 1, state)
        return self._last_version[0]

    def close(self) -> None:
        """Close the connections; they are opened again when needed."""
        self._pool.close()
        self._usable = False
        self._last_version = (self._last_version[0], None)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[RawConnection]:
        connection, pool = self._begin_transaction(begin)
        try:
            with translated_errors(connection):
                yield connection
        finally:
            with suppress(psycopg.Error):
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.execute("ROLLBACK")
            pool.putconn(connection)

    def _begin_transaction(self, begin: str) -> tuple[RawConnection, ConnectionPool[RawConnection]]:
        """Begin a transaction and return its connection; connections that died meanwhile are skipped."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection, pool = self._pool.take()
            try:
                connection.execute(begin.encode())
            except psycopg.Error as error:
                lost = is_lost(error, connection)
                if lost:
                    connection.close()
                pool.putconn(connection)
                if not lost or time.monotonic() > deadline:
                    raise unreachable_error(error) from None
            else:
                return connection, pool
