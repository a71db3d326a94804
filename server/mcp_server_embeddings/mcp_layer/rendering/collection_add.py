"""The text of an answer of ``collection_add``."""

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, usage_line
from mcp_server_embeddings.tools.collection_results import CollectionAddResult


def text(result: CollectionAddResult, _: Sent) -> str:
    """Return what was stored, and what was skipped and why."""
    lines = [
        (
            f"Collection {result.collection}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} "
            f"unchanged, {result.removed:,} removed; it has {count(result.size, 'document')} in "
            f"{count(result.chunks, 'chunk')} ({result.model})."
        )
    ]
    if result.skipped_count:
        lines.append(f"Skipped {count(result.skipped_count, 'file')}:")
        lines += [f"{skipped.path}: {skipped.why}" for skipped in result.skipped]
        rest = result.skipped_count - len(result.skipped)
        lines += [f"{rest:,} more."] if rest else []
    if result.ignored:
        lines.append(f"{result.ignored:,} hidden or ignored by .gitignore.")
    return "\n".join([*lines, usage_line(result.usage)])
