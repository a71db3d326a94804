"""The text of an answer of ``status``."""

from pydantic_core import to_json

from mcp_server_embeddings.mcp_layer.rendering import Sent, count
from mcp_server_embeddings.tools.results import Status


def text(result: Status, _: Sent) -> str:
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
            f"queue: {count(queue.calls_waiting, 'call')} and {count(queue.pieces_waiting, 'text')} waiting; "
            f"done: {count(queue.pieces_done, 'text')} in {count(queue.batches_done, 'batch', 'batches')}"
        ),
        (
            f"limits of a call: {limits.texts:,} texts, {limits.characters:,} characters, "
            f"{limits.answer_bytes:,} bytes of answer"
        ),
    ]
    return "\n".join(lines)
