"""Collections: texts, their chunks and vectors, stored for all of a user's processes."""

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import digest
from mcp_server_embeddings.store.sqlite.fulltext import WordIndex
from mcp_server_embeddings.store.sqlite.store import SqliteStore

__all__ = ["WordIndex", "open_store"]

_SCHEMA = "mcp_server_embeddings"
"""Database schema of the collections; the schemas of named owners start with it."""


def open_store(settings: Settings, owner: str = "") -> CollectionStore:
    """Return the store that the settings name, a data folder or a database. Nothing is opened before its first use.

    Args:
        settings: Settings that name the folder or the database.
        owner: Owner of the collections, each with a schema in a database; by default, the users without a token.

    Raises:
        ConfigurationError: A package that the database needs is not installed.

    Example:
        >>> open_store(Settings(data_dir=Path("data"))).list()
        []
    """
    return _postgres(settings.store, owner) if settings.store else SqliteStore(settings.data_dir)


def _postgres(url: str, owner: str) -> CollectionStore:
    try:
        from mcp_server_embeddings.store.postgres.store import PostgresStore
    except ImportError as error:
        raise ConfigurationError(
            f"--store needs {error.name}, which is not installed: pip install 'mcp-server-embeddings[postgres]'"
        ) from error
    return PostgresStore(url, _schema(owner))


def _schema(owner: str) -> str:
    """Return the schema name of an owner, within PostgreSQL's limit of 63 bytes."""
    name = f"{_SCHEMA}_{owner}" if owner else _SCHEMA
    return name if len(name) < 64 else f"{name[:46]}_{digest(owner).hex()[:16]}"
