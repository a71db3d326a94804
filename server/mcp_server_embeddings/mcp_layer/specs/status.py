"""The tool ``status``."""

from pydantic_core import to_json

from mcp_server_embeddings.mcp_layer.arguments import Arguments
from mcp_server_embeddings.mcp_layer.rendering import counted
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.results import Status
from mcp_server_embeddings.tools.status import status


class StatusArguments(Arguments):
    """``status`` takes no arguments."""


def _run(context: ToolContext, _: StatusArguments) -> Status:
    return status(context.engine, protocol=context.protocol)


def _text(result: Status, _: StatusArguments) -> str:
    """A short report."""
    lines = [
        f"{result.server.name} {result.server.version}: {result.state}"
        + (f" ({result.detail})" if result.detail else ""),
        (
            f"model {result.model}, engine {result.engine or 'not loaded'}, precision {result.precision}, "
            f"device {result.device}, streams {result.streams}, protocol {result.protocol or 'none'}"
        ),
    ]
    if result.identity is not None:
        lines.append(f"identity {to_json(result.identity).decode()}")
    if result.agreement is not None:
        lines.append(f"agreement with sentence-transformers {to_json(result.agreement).decode()}")
    if result.cache is not None:
        lines.append(f"cache {to_json(result.cache).decode()}")
    queue, limits = result.queue, result.limits
    lines += [
        f"percentiles and bands {'ready' if result.calibrated else 'not yet measured'}",
        (
            f"queue: {counted(queue.calls_waiting, 'call')} and {counted(queue.pieces_waiting, 'text')} waiting; "
            f"done: {counted(queue.pieces_done, 'text')} in {counted(queue.batches_done, 'batch', 'batches')}"
        ),
        (
            f"limits of a call: {limits.texts:,} texts, {limits.characters:,} characters, "
            f"{limits.answer_bytes:,} bytes of answer"
        ),
    ]
    return "\n".join(lines)


TOOL = ToolSpec(
    name="status",
    title="Server status",
    description=(
        "Tells which model serves, whether it is still loading, and the limits of a call. Use it when a call "
        "failed or is slow, or to learn the model's token limit. Not needed before other calls: they wait for the "
        "model themselves. Returns state, model identity, device, limits and queue; never waits."
    ),
    arguments=StatusArguments,
    result=Status,
    run=_run,
    text=_text,
    too_large="report this as a defect",
)
