"""Load the encoders of this package: compiled graphs and sentence-transformers."""

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.agreement import measure_agreement
from mcp_server_embeddings.engine.artifact import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    ConversionError,
    load_or_convert,
    refusal,
    settings_digest,
)
from mcp_server_embeddings.engine.encoder import Agreement, Encoder, LoadedEncoder
from mcp_server_embeddings.engine.locate import LocatedModel, locate, verify_weights
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.measured import cached_measurement
from mcp_server_embeddings.engine.native.files import ModelFiles, UnsupportedModelError, read_model
from mcp_server_embeddings.engine.native.static import StaticEncoder
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.errors import ConfigurationError

_log = logging.getLogger(__name__)

_MAX_STREAMS = 4
"""Maximum without --threads, so that other programs have the remaining cores."""


def load_compiled(settings: Settings, progress: Callable[[str], None], *, or_reference: bool = False) -> LoadedEncoder:
    """Load a graph built from the model's files, or else one converted once through sentence-transformers.

    Args:
        settings: The user's settings. On devices other than the CPU, sentence-transformers serves the model.
        progress: Called with each stage.
        or_reference: Let sentence-transformers serve a model that cannot be converted.

    Raises:
        OperatorError: The model is missing, corrupt, or not available with these settings.
    """
    files = read_model(locate(settings.model))
    if not settings.device.startswith("cpu"):
        return _load_reference(files.located, settings)
    if files.static and settings.precision != "exact":
        raise ConfigurationError(f"{files.located.name!r} only averages token vectors; use --precision exact")
    progress("loading the model")
    try:
        if settings.precision != "int8":  # int8 weights are compressed once and stored
            return _load_native(files, settings)
    except UnsupportedModelError as error:
        _log.info("the graph of %r is not built from its files: %s", files.located.name, error)
    try:
        return _load_converted(files.located, settings, progress)
    except ConversionError as error:
        if not or_reference or settings.precision != "exact":
            raise
        _log.warning("%s; serving with sentence-transformers instead", error)
        return _load_reference(files.located, settings)


def load_reference(settings: Settings, _: Callable[[str], None]) -> LoadedEncoder:
    """Load the model with sentence-transformers."""
    return _load_reference(read_model(locate(settings.model)).located, settings)


def _load_reference(model: LocatedModel, settings: Settings) -> LoadedEncoder:
    if settings.precision != "exact":
        raise ConfigurationError(
            f"precision {settings.precision!r} is for the compiled engine on the CPU; leave out --engine and "
            "--device, or use --precision exact"
        )
    encoder = ReferenceEncoder(model, settings.device, settings.threads or 1)
    return _with_tokenizer(encoder, encoder.tokenizer_json)


def _load_native(files: ModelFiles, settings: Settings) -> LoadedEncoder:
    """Load a model whose graph is built from its files.

    Raises:
        UnsupportedModelError: The native engine does not support a part of the model.
    """
    mapped = files.located.mapped_files()
    if files.static:
        verify_weights(files.located)
        static = StaticEncoder(files, mapped)
        return _with_tokenizer(static, static.tokenizer_json)
    # The runtime and hashing both release the GIL, so with a second core hashing takes no additional time.
    with ThreadPoolExecutor(1) as pool:
        verified = pool.submit(verify_weights, files.located)
        loaded = _compile(files, mapped, settings)
        verified.result()
    mapped.raise_if_changed()
    return loaded


def _compile(files: ModelFiles, mapped: MappedFiles, settings: Settings) -> LoadedEncoder:
    # Imported here because they load the runtime, which the other engines do not need.
    from mcp_server_embeddings.engine.compiled import CompiledEncoder
    from mcp_server_embeddings.engine.native.sentence import native_model
    from mcp_server_embeddings.engine.runtime import cpu_can_bf16, runtime_key

    if settings.precision == "bf16" and not cpu_can_bf16():
        raise ConversionError("this processor has no bf16; use --precision exact or int8")
    model = native_model(files)

    def compiled(precision: Precision, streams: int, agreement: Agreement | None = None) -> LoadedEncoder:
        encoder = CompiledEncoder(
            model.graph, model.identity, mapped, precision=precision, agreement=agreement, streams=streams
        )
        model.tensors.release()
        return _with_tokenizer(encoder, model.tokenizer_json)

    def measure() -> Agreement:
        exact = compiled("exact", 1)
        return measure_agreement(compiled(settings.precision, 1).encoder, exact.encoder, exact.counter)

    if settings.precision == "exact":
        return compiled("exact", streams_for(settings))
    key = hashlib.sha256(f"{model.identity.digest} {settings_digest(files.located.folder)} {runtime_key()}".encode())
    path = settings.cache_dir / "agreement" / f"{key.hexdigest()[:16]}-{settings.precision}.json"
    agreement = cached_measurement(path, Agreement, measure)
    reason = refusal(settings.precision, agreement)
    if reason:
        raise ConversionError(reason)
    return compiled(settings.precision, streams_for(settings), agreement)


def _load_converted(model: LocatedModel, settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    artifact = load_or_convert(model, settings.precision, settings.cache_dir / "compiled", progress)
    from mcp_server_embeddings.engine.compiled import CompiledEncoder

    encoder = CompiledEncoder(
        str(artifact.folder / GRAPH_FILE),
        artifact.manifest.identity,
        artifact.mapped,
        precision=artifact.manifest.precision,
        agreement=artifact.manifest.agreement,
        streams=streams_for(settings),
    )
    return _with_tokenizer(encoder, (artifact.folder / TOKENIZER_FILE).read_text(encoding="utf-8"))


def _with_tokenizer(encoder: Encoder, tokenizer_json: str) -> LoadedEncoder:
    identity = encoder.identity
    return LoadedEncoder(encoder, TextTokenizer(tokenizer_json, identity.prompts, identity.max_tokens))


def streams_for(settings: Settings) -> int:
    """Return the number of batches that run at once."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.threads or min(_MAX_STREAMS, available)
