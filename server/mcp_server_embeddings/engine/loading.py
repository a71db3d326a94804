"""From settings to an encoder: which engine serves."""

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.agreement import kept_agreement, measure_agreement
from mcp_server_embeddings.engine.artifact import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    ConversionError,
    converted,
    refusal,
    settings_digest,
)
from mcp_server_embeddings.engine.encoder import Agreement, Encoder
from mcp_server_embeddings.engine.identity import weight_files
from mcp_server_embeddings.engine.locate import LocatedModel, locate, verify_weights
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.native.files import ModelFiles, UnsupportedModelError, read_model
from mcp_server_embeddings.engine.native.static import StaticEncoder
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.errors import ConfigurationError

_log = logging.getLogger(__name__)

_MOST_STREAMS = 4
"""Without --threads a desktop's other programs keep the rest of its cores."""


def load_encoder(settings: Settings, note: Callable[[str], None]) -> Encoder:
    """Find the model and load it in the fastest way there is for it.

    Its graph is built from its files. A model with parts that are not built here is converted once through
    sentence-transformers, and one that does not convert is served by sentence-transformers.

    Args:
        settings: What the user chose.
        note: Told what is happening.

    Raises:
        OperatorError: The model is missing, damaged, or not available with these settings.
    """
    files = read_model(locate(settings.model))
    if settings.engine == "reference" or not settings.device.startswith("cpu"):
        return _reference(files.located, settings)
    if files.static and settings.precision != "exact":
        raise ConfigurationError(f"{files.located.name!r} only averages token vectors; use --precision exact")
    note("loading the model")
    try:
        if settings.precision != "int8":  # its weights are compressed once and kept
            return _native(files, settings)
    except UnsupportedModelError as error:
        _log.info("the graph of %r is not built from its files: %s", files.located.name, error)
    try:
        return _converted(files.located, settings, note)
    except ConversionError as error:
        if settings.engine == "compiled" or settings.precision != "exact":
            raise
        _log.warning("%s; serving with sentence-transformers instead", error)
        return _reference(files.located, settings)


def _reference(model: LocatedModel, settings: Settings) -> Encoder:
    if settings.precision != "exact":
        raise ConfigurationError(
            f"precision {settings.precision!r} is for the compiled engine on the CPU; leave out --engine and "
            "--device, or use --precision exact"
        )
    return ReferenceEncoder(model, settings.device, settings.threads or 1)


def _native(files: ModelFiles, settings: Settings) -> Encoder:
    """Serve a model whose graph is built from its files.

    Raises:
        UnsupportedModelError: It has a part that is not built here.
    """
    mapped = MappedFiles(weight_files(files.located.folder))
    if files.static:
        verify_weights(files.located)
        return StaticEncoder(files, mapped)
    # The runtime and hashing both leave the interpreter's lock, so the hash costs no time on a second core.
    with ThreadPoolExecutor(1) as pool:
        verified = pool.submit(verify_weights, files.located)
        encoder = _compiled(files, mapped, settings)
        verified.result()
    mapped.raise_if_changed()
    return encoder


def _compiled(files: ModelFiles, mapped: MappedFiles, settings: Settings) -> Encoder:
    # Imported here: it loads the runtime, which the other engines do without.
    from mcp_server_embeddings.engine.compiled import CompiledEncoder
    from mcp_server_embeddings.engine.native.sentence import native_model
    from mcp_server_embeddings.engine.runtime import cpu_can_bf16, runtime_key

    if settings.precision == "bf16" and not cpu_can_bf16():
        raise ConversionError("this processor has no bf16; use --precision exact or int8")
    model = native_model(files)

    def encoder(precision: Precision, streams: int, agreement: Agreement | None = None) -> CompiledEncoder:
        graph, identity, tokenizer = model.graph, model.identity, model.tokenizer_json
        return CompiledEncoder(
            graph, identity, tokenizer, mapped, precision=precision, agreement=agreement, streams=streams
        )

    if settings.precision == "exact":
        return encoder("exact", settings.threads or _streams())
    key = hashlib.sha256(f"{model.identity.digest} {settings_digest(files.located.folder)} {runtime_key()}".encode())
    path = settings.cache_dir / "agreement" / f"{key.hexdigest()[:16]}-{settings.precision}.json"
    agreement = kept_agreement(path, lambda: measure_agreement(encoder(settings.precision, 1), encoder("exact", 1)))
    reason = refusal(settings.precision, agreement)
    if reason:
        raise ConversionError(reason)
    return encoder(settings.precision, settings.threads or _streams(), agreement)


def _converted(model: LocatedModel, settings: Settings, note: Callable[[str], None]) -> Encoder:
    artifact = converted(model, settings.precision, settings.cache_dir / "compiled", note)
    from mcp_server_embeddings.engine.compiled import CompiledEncoder

    return CompiledEncoder(
        str(artifact.folder / GRAPH_FILE),
        artifact.manifest.identity,
        (artifact.folder / TOKENIZER_FILE).read_text(encoding="utf-8"),
        artifact.mapped,
        precision=artifact.manifest.precision,
        agreement=artifact.manifest.agreement,
        streams=settings.threads or _streams(),
    )


def _streams() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_STREAMS, available)
