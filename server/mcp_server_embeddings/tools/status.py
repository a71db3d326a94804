"""What the server is doing and with what."""

from importlib import metadata

from mcp_server_embeddings.config import DISTRIBUTION
from mcp_server_embeddings.engine.engine import Embedder
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.tools.results import Limits, ModelInfo, Queue, ServerInfo, Status, Usage
from mcp_server_embeddings.tools.texts import MAX_CHARACTERS, MAX_TEXTS

ANSWER_BYTES = 4_000_000
"""An answer over this is refused: TypeScript clients drop a stdio connection at 10 MiB, and an answer is on
the wire twice, as text and as structured content."""


def status(embedder: Embedder, *, protocol: str | None = None) -> Status:
    """A snapshot of server, model and queue. Never waits, also while the model loads.

    Args:
        embedder: The engine.
        protocol: The protocol revision spoken with the caller, where there is one.
    """
    now = embedder.status()
    return Status(
        model=now.identity.short if now.identity else now.model,
        usage=Usage(texts=0, tokens=0, windowed=[], truncated=[]),
        server=ServerInfo(name=DISTRIBUTION, version=metadata.version(DISTRIBUTION)),
        protocol=protocol,
        state=now.state,
        detail=now.detail,
        identity=_model_info(now.identity) if now.identity else None,
        engine=now.engine,
        precision="exact",
        device=now.device,
        threads=embedder.engine.settings.threads,
        calibrated=now.calibrated,
        limits=Limits(texts=MAX_TEXTS, characters=MAX_CHARACTERS, answer_bytes=ANSWER_BYTES),
        queue=Queue(
            calls_waiting=now.queue.calls_waiting,
            pieces_waiting=now.queue.pieces_waiting,
            batches_done=now.queue.batches,
            pieces_done=now.queue.pieces,
        ),
    )


def _model_info(identity: ModelIdentity) -> ModelInfo:
    return ModelInfo(
        name=identity.name,
        sha256=identity.sha256,
        pooling=identity.pooling,
        dimensions=identity.dimensions,
        max_tokens=identity.max_tokens,
        normalised=identity.normalised,
        query_prompt=identity.prompts.query,
        document_prompt=identity.prompts.document,
        shorter_dimensions=list(identity.matryoshka),
    )
