"""``mcp-server-embeddings``: serve over stdio."""

import gc
import logging
import os
import sys

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.surface.wire import claim_wire


def run(settings: Settings) -> int:
    """Serve one client until it goes away; does not return, see ``leave``."""
    wire = claim_wire()
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Below warning the SDK and the HTTP stack log what passes through them; texts must never be in a log.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    for name in ("mcp", "httpx2", "httpcore2", "sentence_transformers", "transformers"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    if not settings.download:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # Numpy's own threads: starting them costs a tenth of the handshake, and on a busy machine two take three
    # times as long as one (docs/architecture.md).
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imported here: the descriptors are claimed before anything that could print is loaded.
    from mcp_server_embeddings.engine.engine import Engine
    from mcp_server_embeddings.surface.server import build_server
    from mcp_server_embeddings.surface.stdio import leave, serve

    engine = Engine(settings)
    server = build_server(engine)
    gc.freeze()
    gc.enable()
    leave(serve(server, wire, after_first_answer=engine.start))
