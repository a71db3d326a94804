"""Local embeddings, semantic search and text comparison, on the user's own machine.

The Python API is the functions behind the MCP tools; see ``__all__``. Names are loaded on first use, so
importing the package costs nothing.
"""

TYPE_CHECKING = False
"""Type checkers treat this name as true; importing ``typing`` for it would make a relay larger."""

if TYPE_CHECKING:
    from mcp_server_embeddings.config import Settings
    from mcp_server_embeddings.engine.embedder import Embedder
    from mcp_server_embeddings.engine.engine import Engine
    from mcp_server_embeddings.errors import EmbeddingsError
    from mcp_server_embeddings.reading.selecting import Reader
    from mcp_server_embeddings.store import open_store
    from mcp_server_embeddings.store.protocol import CollectionStore
    from mcp_server_embeddings.tools.align import align
    from mcp_server_embeddings.tools.classify import classify
    from mcp_server_embeddings.tools.cluster import cluster
    from mcp_server_embeddings.tools.collection_add import collection_add
    from mcp_server_embeddings.tools.collection_remove import collection_remove
    from mcp_server_embeddings.tools.condense import condense
    from mcp_server_embeddings.tools.deduplicate import deduplicate
    from mcp_server_embeddings.tools.embed import embed
    from mcp_server_embeddings.tools.example_arguments import Example, ExampleTable
    from mcp_server_embeddings.tools.read import read
    from mcp_server_embeddings.tools.search import search
    from mcp_server_embeddings.tools.similarity import similarity
    from mcp_server_embeddings.tools.sources import Sources
    from mcp_server_embeddings.tools.status import status

__all__ = [
    "CollectionStore",
    "Embedder",
    "EmbeddingsError",
    "Engine",
    "Example",
    "ExampleTable",
    "Reader",
    "Settings",
    "Sources",
    "align",
    "classify",
    "cluster",
    "collection_add",
    "collection_remove",
    "condense",
    "deduplicate",
    "embed",
    "open_store",
    "read",
    "search",
    "similarity",
    "status",
]

_MODULES = {
    "CollectionStore": "store.protocol",
    "Embedder": "engine.embedder",
    "EmbeddingsError": "errors",
    "Engine": "engine.engine",
    "Example": "tools.example_arguments",
    "ExampleTable": "tools.example_arguments",
    "Reader": "reading.selecting",
    "Settings": "config",
    "Sources": "tools.sources",
    "open_store": "store",
}
"""The module of each exported name, except tools, whose modules have the same name as the tool."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = _MODULES.get(name, f"tools.{name}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
