"""The text of an answer of ``embed``."""

import json

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, usage_line
from mcp_server_embeddings.tools.results import EmbedResult


def text(result: EmbedResult, _: Sent) -> str:
    """Say where the vectors are, and give them when they were asked for inline."""
    head = (
        f"{count(result.usage.texts, 'vector')} of {result.dimensions} dimensions ({result.encoding}, {result.model})"
    )
    last = [*_saved(result), usage_line(result.usage)]
    if result.file is not None:
        shape = " x ".join(map(str, result.file.shape))
        head += f" in the file {result.file.path} (NumPy .npy, {shape}, {result.file.dtype})."
        return "\n".join([head, *last])
    return "\n".join([f"{head}:", *(_vector(vector) for vector in result.vectors or []), *last])


def _saved(result: EmbedResult) -> list[str]:
    if result.saved is None:
        return []
    saved = result.saved
    counts = f"{saved.added:,} added, {saved.updated:,} updated, {saved.unchanged:,} unchanged"
    return [f"Collection {saved.collection}: {counts}."]


def _vector(vector: list[float] | str) -> str:
    return vector if isinstance(vector, str) else json.dumps(vector, separators=(",", ":"))
