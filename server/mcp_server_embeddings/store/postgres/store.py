"""All collections of a schema of a PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server_embeddings.store.postgres.collection import PostgresCollection
from mcp_server_embeddings.store.postgres.connection import Connection, check_address
from mcp_server_embeddings.store.postgres.database import Database
from mcp_server_embeddings.store.postgres.fulltext import create_words
from mcp_server_embeddings.store.postgres.nearest import create_vectors
from mcp_server_embeddings.store.postgres.pool import Pool
from mcp_server_embeddings.store.postgres.retries import retrying
from mcp_server_embeddings.store.postgres.writing import remove_collection
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.store.sql.store import SqlStore


@retrying(CollectionStore)
class PostgresStore(SqlStore[Connection]):
    """Collections in one schema of a database, which is created on the first write.

    Args:
        url: The address in the syntax of libpq, whose environment variables and files supply missing parts.
        schema: Name of the schema.

    Raises:
        ConfigurationError: The address is malformed.
    """

    retryable = True

    def __init__(self, url: str, schema: str) -> None:
        check_address(url)
        super().__init__(Database(Pool.of(url), schema))

    @contextmanager
    def _writing_catalog(self) -> Iterator[Connection]:
        with self._database.writing() as database:
            database.execute("LOCK TABLE collections IN SHARE ROW EXCLUSIVE MODE")
            yield database

    def _open_record(self, record: CollectionRecord) -> Collection:
        return PostgresCollection(self._database, record)

    def _create_tables(self, database: Connection, collection: int, dimensions: int) -> None:
        create_words(database, collection)
        create_vectors(database, collection, dimensions)

    def _remove_collection(self, database: Connection, collection: int) -> None:
        remove_collection(database, collection)
