"""``mcp-server-embeddings serve --transport http``: serve many clients."""

import gc
import os
from typing import NoReturn

from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.mcp_layer.stdio import leave


def run(settings: Settings) -> NoReturn:
    """Serve until a signal ends the process; does not return, see ``leave``.

    Raises:
        ConfigurationError: The settings do not allow it, or the address is taken.
    """
    prepare(settings)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as cli/serve.py
    gc.disable()
    from mcp_server_embeddings.mcp_layer.http.serving import serve

    gc.freeze()
    gc.enable()
    leave(serve(settings))
