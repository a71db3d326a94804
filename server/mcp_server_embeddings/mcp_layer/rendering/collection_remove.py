"""The text of an answer of ``collection_remove``."""

from mcp_server_embeddings.mcp_layer.rendering import Sent, count
from mcp_server_embeddings.tools.collection_results import CollectionRemoveResult
from mcp_server_embeddings.tools.texts import snippet


def text(result: CollectionRemoveResult, sent: Sent) -> str:
    """Return what was removed, and what was not there."""
    removed = count(result.removed, "document")
    if sent["ids"] is None:
        return f"Collection {result.collection} removed with {removed}."
    lines = [f"{removed} removed from {result.collection}; {result.size:,} left."]
    if result.missing:
        lines.append("Not there: " + ", ".join(snippet(key) for key in result.missing) + ".")
    return "\n".join(lines)
