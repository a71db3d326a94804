"""``mcp-server-embeddings``: serve over stdio."""

import argparse
import gc
import os

from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.mcp_layer.wire import claim_wire


def run(settings: Settings, _: argparse.Namespace) -> int:
    """Serve one client until it goes away; does not return, see ``leave``."""
    wire = claim_wire()
    prepare(settings)
    # Numpy's own threads: starting them costs a tenth of the handshake, and on a busy machine two take three
    # times as long as one (docs/architecture.md).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imported here: the descriptors are claimed before anything that could print is loaded. Without the collector,
    # as in __main__: it would find nothing and cost a quarter of the handshake.
    gc.disable()
    from mcp_server_embeddings.engine.engine import Engine
    from mcp_server_embeddings.mcp_layer.calls import Service
    from mcp_server_embeddings.mcp_layer.server import build_server
    from mcp_server_embeddings.mcp_layer.stdio import leave, serve
    from mcp_server_embeddings.store import open_store

    engine = Engine(settings)
    server = build_server(Service(engine), open_store(settings), settings)
    gc.freeze()
    gc.enable()
    leave(serve(server, wire, after_first_answer=engine.start))
