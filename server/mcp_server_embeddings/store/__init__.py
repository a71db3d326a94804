"""Collections: texts, their chunks and vectors, stored for all of a user's processes."""

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.sqlite.fulltext import WordIndex
from mcp_server_embeddings.store.sqlite.store import SqliteStore

__all__ = ["WordIndex", "open_store"]


def open_store(settings: Settings) -> CollectionStore:
    """Return the store of the settings' data folder. Nothing is opened before its first use.

    Example:
        >>> open_store(Settings(data_dir=Path("data"))).list()
        []
    """
    return SqliteStore(settings.data_dir)
