"""Preparations that processes of all commands have in common."""

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server_embeddings.config import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def prepare(settings: Settings, log: logging.Handler | None = None) -> None:
    """Configure logging so that it contains no texts, and keep libraries off the network.

    Args:
        settings: The user's settings.
        log: The handler for logs; standard error by default.
    """
    handlers = [logging.StreamHandler() if log is None else log]
    logging.basicConfig(handlers=handlers, level=settings.log_level.upper(), format=LOG_FORMAT)
    # Below the level warning, the SDK and the HTTP stack log message contents; texts must never be in a log.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    for name in ("mcp", "httpx2", "httpcore2", "sentence_transformers", "transformers"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    if not settings.download:
        os.environ["HF_HUB_OFFLINE"] = "1"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Speed up imports in the block: those of a server, after it has claimed descriptors and before the first message.

    Garbage collection is disabled, as in ``__main__``: it would find nothing and take a quarter of the handshake. NumPy
    starts no threads: starting them takes a tenth of the handshake, and on a busy machine two threads need three times
    as long as one (docs/architecture.md).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    yield
    gc.freeze()
    gc.enable()
