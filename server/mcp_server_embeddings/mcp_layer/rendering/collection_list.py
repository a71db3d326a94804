"""The text of an answer of ``collection_list``."""

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, left_out
from mcp_server_embeddings.tools.collection_results import CollectionInfo, CollectionListResult


def text(result: CollectionListResult, _: Sent) -> str:
    """Return one line for each collection."""
    total = len(result.collections) + result.more
    lines = [f"{count(total, 'collection')} ({result.model or 'the model is not loaded'}){':' if total else '.'}"]
    return "\n".join([*lines, *map(_line, result.collections), *left_out(result.more)])


def _line(info: CollectionInfo) -> str:
    reindex = f"; of another model, {info.model}: mcp-server-embeddings reindex {info.name}"
    other = reindex if info.usable is False else ""
    return (
        f"{info.name}: {count(info.size, 'document')}, {count(info.chunks, 'chunk')}, {info.bytes / 1e6:.1f} MB, "
        f"updated {info.updated}{other}"
    )
