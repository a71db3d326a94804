"""From settings to an encoder: which engine serves."""

import logging
import os
from collections.abc import Callable

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.artifact import ConversionError, converted
from mcp_server_embeddings.engine.encoder import Encoder
from mcp_server_embeddings.engine.locate import LocatedModel, locate
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.errors import ConfigurationError

_log = logging.getLogger(__name__)

_MOST_STREAMS = 4
"""Without --threads a desktop's other programs keep the rest of its cores."""


def load_encoder(settings: Settings, note: Callable[[str], None]) -> Encoder:
    """Find the model and load it; convert it first if that was never done.

    Args:
        settings: What the user chose.
        note: Told what is happening.

    Raises:
        OperatorError: The model is missing, damaged, or not to be had as the settings ask.
    """
    model = locate(settings.model)
    if settings.engine == "reference" or not settings.device.startswith("cpu"):
        if settings.precision != "exact":
            raise ConfigurationError(
                f"precision {settings.precision!r} is for the compiled engine on the CPU; leave out --engine and "
                "--device, or use --precision exact"
            )
        return ReferenceEncoder(model, settings.device, settings.threads or 1)
    try:
        return _compiled(model, settings, note)
    except ConversionError as error:
        if settings.engine == "compiled" or settings.precision != "exact":
            raise
        _log.warning("%s; serving with sentence-transformers instead", error)
        return ReferenceEncoder(model, settings.device, settings.threads or 1)


def _compiled(model: LocatedModel, settings: Settings, note: Callable[[str], None]) -> Encoder:
    artifact = converted(model, settings.precision, settings.data_dir / "compiled", note)
    note("loading the model")
    # Imported here: it loads the runtime, which the reference engine does without.
    from mcp_server_embeddings.engine.compiled import CompiledEncoder

    return CompiledEncoder(artifact.folder, artifact.manifest, settings.threads or _streams())


def _streams() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_STREAMS, available)
