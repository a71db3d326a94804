"""What the server is doing and with what."""

from dataclasses import asdict
from importlib import metadata

from mcp_server_embeddings.config import DISTRIBUTION
from mcp_server_embeddings.engine.encoder import Agreement
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.tools.results import (
    AgreementInfo,
    Cache,
    Limits,
    ModelInfo,
    Queue,
    ServerInfo,
    Status,
    Usage,
)
from mcp_server_embeddings.tools.texts import MAX_CHARACTERS, MAX_TEXTS

ANSWER_BYTES = 4_000_000
"""An answer over this is refused: TypeScript clients drop a stdio connection at 10 MiB, and an answer is on
the wire twice, as text and as structured content."""


def status(engine: Engine, *, protocol: str | None = None) -> Status:
    """A snapshot of server, model and queue. Never waits, also while the model loads.

    Args:
        engine: What serves.
        protocol: The protocol revision spoken with the caller, where there is one.
    """
    now = engine.status()
    return Status(
        model=now.identity.short if now.identity else now.model,
        usage=Usage.counted(),
        server=ServerInfo(name=DISTRIBUTION, version=metadata.version(DISTRIBUTION)),
        protocol=protocol,
        state=now.state,
        detail=now.detail,
        identity=_model_info(now.identity) if now.identity else None,
        engine=now.engine,
        precision=now.precision,
        agreement=_agreement(now.agreement) if now.agreement else None,
        device=now.device,
        streams=now.streams,
        calibrated=now.calibrated,
        limits=Limits(texts=MAX_TEXTS, characters=MAX_CHARACTERS, answer_bytes=ANSWER_BYTES),
        queue=Queue(
            calls_waiting=now.queue.calls_waiting,
            pieces_waiting=now.queue.pieces_waiting,
            batches_done=now.queue.batches,
            pieces_done=now.queue.pieces,
        ),
        cache=Cache(**asdict(now.cache)) if now.cache else None,
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


def _agreement(agreement: Agreement) -> AgreementInfo:
    return AgreementInfo(
        minimum_cosine=round(agreement.minimum_cosine, 6),
        mean_cosine=round(agreement.mean_cosine, 6),
        top1_kept=round(agreement.top1_kept, 4),
    )
