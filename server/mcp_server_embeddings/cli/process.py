"""What a process does before it works, whatever its command."""

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server_embeddings.config import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def prepare(settings: Settings, log: logging.Handler | None = None) -> None:
    """Send logs to standard error without any text in them, and keep libraries off the network.

    Args:
        settings: The user's.
        log: Where logs go instead.
    """
    handlers = [logging.StreamHandler() if log is None else log]
    logging.basicConfig(handlers=handlers, level=settings.log_level.upper(), format=LOG_FORMAT)
    # Below warning the SDK and the HTTP stack log what passes through them; texts must never be in a log.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    for name in ("mcp", "httpx2", "httpcore2", "sentence_transformers", "transformers"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    if not settings.download:
        os.environ["HF_HUB_OFFLINE"] = "1"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import in the block what serves, after what takes descriptors and before the first message.

    Without the collector, as in ``__main__``: it would find nothing and cost a quarter of the handshake. Numpy gets no
    threads of its own: starting them costs a tenth of it, and on a busy machine two take three times as long as one
    (docs/architecture.md).
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()
    yield
    gc.freeze()
    gc.enable()
