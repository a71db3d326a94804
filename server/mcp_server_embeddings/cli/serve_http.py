"""``mcp-server-embeddings serve --transport http``: serve many clients."""

from typing import NoReturn

from mcp_server_embeddings.cli.process import prepare, quick_imports
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.mcp_layer.stdio import leave


def run(settings: Settings) -> NoReturn:
    """Serve until a signal ends the process; does not return, see ``leave``.

    Raises:
        ConfigurationError: The settings cannot be used for HTTP, or the address is in use.
    """
    prepare(settings)
    with quick_imports():
        from mcp_server_embeddings.mcp_layer.http.serving import serve
    leave(serve(settings))
