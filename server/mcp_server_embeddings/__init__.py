"""A sense of meaning for agents: embeddings and what follows from them, on the user's own machine.

The Python API is the functions behind the MCP tools; see ``__all__``. Names are loaded on first use, so
importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_server_embeddings.config import Settings
    from mcp_server_embeddings.engine.embedder import Embedder
    from mcp_server_embeddings.engine.engine import Engine
    from mcp_server_embeddings.errors import EmbeddingsError
    from mcp_server_embeddings.reading.selecting import Reader
    from mcp_server_embeddings.store.store import Store
    from mcp_server_embeddings.tools.align import align
    from mcp_server_embeddings.tools.classify import Example, classify
    from mcp_server_embeddings.tools.cluster import cluster
    from mcp_server_embeddings.tools.collection_add import collection_add
    from mcp_server_embeddings.tools.collection_list import collection_list
    from mcp_server_embeddings.tools.collection_remove import collection_remove
    from mcp_server_embeddings.tools.collection_search import collection_search
    from mcp_server_embeddings.tools.condense import condense
    from mcp_server_embeddings.tools.deduplicate import deduplicate
    from mcp_server_embeddings.tools.embed import embed
    from mcp_server_embeddings.tools.rank import rank
    from mcp_server_embeddings.tools.similarity import similarity
    from mcp_server_embeddings.tools.status import status

__all__ = [
    "Embedder",
    "EmbeddingsError",
    "Engine",
    "Example",
    "Reader",
    "Settings",
    "Store",
    "align",
    "classify",
    "cluster",
    "collection_add",
    "collection_list",
    "collection_remove",
    "collection_search",
    "condense",
    "deduplicate",
    "embed",
    "rank",
    "similarity",
    "status",
]

_HOME = {
    "Embedder": "engine.embedder",
    "EmbeddingsError": "errors",
    "Engine": "engine.engine",
    "Example": "tools.classify",
    "Reader": "reading.selecting",
    "Settings": "config",
    "Store": "store.store",
    "align": "tools.align",
    "classify": "tools.classify",
    "cluster": "tools.cluster",
    "collection_add": "tools.collection_add",
    "collection_list": "tools.collection_list",
    "collection_remove": "tools.collection_remove",
    "collection_search": "tools.collection_search",
    "condense": "tools.condense",
    "deduplicate": "tools.deduplicate",
    "embed": "tools.embed",
    "rank": "tools.rank",
    "similarity": "tools.similarity",
    "status": "tools.status",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
