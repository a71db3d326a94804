"""A sense of meaning for agents: embeddings and similarity on the user's own machine.

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
    from mcp_server_embeddings.tools.embed import embed
    from mcp_server_embeddings.tools.similarity import similarity
    from mcp_server_embeddings.tools.status import status

__all__ = ["Embedder", "EmbeddingsError", "Engine", "Settings", "embed", "similarity", "status"]

_HOME = {
    "Embedder": "engine.embedder",
    "EmbeddingsError": "errors",
    "Engine": "engine.engine",
    "Settings": "config",
    "embed": "tools.embed",
    "similarity": "tools.similarity",
    "status": "tools.status",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
