"""What the server is doing and with what."""

from dataclasses import asdict
from importlib import metadata

from mcp_server_embeddings.config import DISTRIBUTION
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.results import Limits, ServerInfo, Status, Usage
from mcp_server_embeddings.tools.texts import MAX_CHARACTERS, MAX_TEXTS

ANSWER_BYTES = 4_000_000
"""Upper bound of an answer: TypeScript clients drop a stdio connection at 10 MiB, and an answer is on the wire
twice, as text and as structured content."""


@tool(
    title="Server status",
    description=(
        "Tells which model serves, whether it is still loading, and the limits of a call. Use it when a call "
        "failed or is slow, or to learn the model's token limit. Not needed before other calls: they wait for the "
        "model themselves. Returns state, model identity, device, limits and queue; never waits."
    ),
    too_large="report this as a defect",
    core=True,
)
def status(engine: Engine, *, protocol: str | None = None) -> Status:
    """Take a snapshot of server, model and queue. Never waits, even while the model loads.

    Args:
        engine: The engine that serves.
        protocol: The protocol revision spoken with the caller, if there is one.

    Example:
        >>> status(engine).state
        'ready'
    """
    return Status.model_validate(
        {
            **asdict(engine.status()),
            "usage": Usage.counted(),
            "server": ServerInfo(name=DISTRIBUTION, version=metadata.version(DISTRIBUTION)),
            "protocol": protocol,
            "limits": Limits(texts=MAX_TEXTS, characters=MAX_CHARACTERS, answer_bytes=ANSWER_BYTES),
        }
    )
