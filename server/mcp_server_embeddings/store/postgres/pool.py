"""Pools of connections, one for each address, which all stores of this process share."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from weakref import WeakValueDictionary

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.postgres.connection import (
    RawConnection,
    connection_options,
    prepare,
    translated_errors,
    unreachable_error,
)

PATIENCE_SECONDS = 15.0
"""How long a transaction waits for a server that restarts or is being replaced by its standby."""

_CONNECTIONS = 16
"""Maximum connections of a process; PostgreSQL accepts 100 in all by default."""

_IDLE_SECONDS = 300.0
"""Time after which an unused connection is closed."""


class Pool:
    """Connections to one address; thread-safe.

    Args:
        url: The address in the syntax of libpq, whose environment variables and files supply missing parts.
    """

    _pools: ClassVar["WeakValueDictionary[str, Pool]"] = WeakValueDictionary()
    _pools_lock = threading.Lock()

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connections: ConnectionPool[RawConnection] | None = None

    @classmethod
    def of(cls, url: str) -> "Pool":
        """Return the shared pool of an address."""
        with cls._pools_lock:
            return cls._pools.setdefault(url, cls(url))

    def take(self) -> tuple[RawConnection, ConnectionPool[RawConnection]]:
        """Take a connection, and return it with the pool to put it back into.

        Raises:
            StorageError: No connection is available.
        """
        pool = self._open_pool()
        try:
            return pool.getconn(PATIENCE_SECONDS), pool
        except PoolTimeout:
            with self.direct():  # raises the reason, if it is the server
                pass
            raise StorageError(
                f"all {_CONNECTIONS} connections to PostgreSQL have been in use for {PATIENCE_SECONDS:.0f} seconds; "
                "send the call again"
            ) from None

    @contextmanager
    def direct(self) -> Iterator[RawConnection]:
        """Yield a connection outside the pool, which is closed after the block.

        Raises:
            StorageError: No connection is available.
        """
        try:
            connection = psycopg.connect(self._url, **connection_options(self._url))
        except psycopg.OperationalError as error:
            raise unreachable_error(error) from None
        with connection, translated_errors(connection):
            yield connection

    def close(self) -> None:
        """Close the connections that are not in use, and the others after use."""
        with self._lock:
            connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()

    def __del__(self) -> None:
        self.close()

    def _open_pool(self) -> ConnectionPool[RawConnection]:
        with self._lock:
            if self._connections is None:
                # It logs every lost connection; our calls raise an error or retry.
                logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
                self._connections = ConnectionPool(
                    self._url,
                    kwargs=connection_options(self._url),
                    min_size=0,
                    max_size=_CONNECTIONS,
                    open=True,
                    configure=prepare,
                    max_idle=_IDLE_SECONDS,
                    reconnect_timeout=PATIENCE_SECONDS,
                )
            return self._connections
