"""Collections: texts, their chunks and vectors, stored for all of a user's processes."""

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import digest
from mcp_server_embeddings.store.sqlite.fulltext import WordIndex
from mcp_server_embeddings.store.sqlite.store import SqliteStore

__all__ = ["WordIndex", "open_store"]

_SCHEMA = "mcp_server_embeddings"
"""The schema of a database that collections are in, and how those of others begin."""


def open_store(settings: Settings, owner: str = "") -> CollectionStore:
    """Return the store of the settings: of the data folder, or of a database. Nothing is opened before its first use.

    Args:
        settings: Name the folder or the database.
        owner: Whose collections: in a database each has a schema; by default those of the users without a token.

    Raises:
        ConfigurationError: What a database needs is not installed.

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
    """Return the name of a schema: at most 63 bytes."""
    name = f"{_SCHEMA}_{owner}" if owner else _SCHEMA
    return name if len(name) < 64 else f"{name[:46]}_{digest(owner).hex()[:16]}"
