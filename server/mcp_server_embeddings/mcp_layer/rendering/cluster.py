"""The text of an answer of ``cluster``."""

from collections.abc import Callable

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, excerpts, left_out, usage_line
from mcp_server_embeddings.tools.results import Cluster, ClusterResult


def text(result: ClusterResult, sent: Sent) -> str:
    """One line a cluster, then the outliers."""
    name = excerpts(result.recalled, sent["texts"])
    found = len(result.clusters) + result.more
    lines = [f"{count(found, 'cluster')} of {count(result.usage.texts, 'text')} ({result.model}):"]
    lines += [_line(entry, name, name if sent["texts"] is None else str) for entry in result.clusters]
    lines += left_out(result.more, "clusters")
    if result.outlier_count:
        shown = ", ".join(name(position) for position in result.outliers)
        lines.append(f"{count(result.outlier_count, 'outlier')}: {shown}.")
        lines += left_out(result.outlier_count - len(result.outliers), "outliers")
    return "\n".join([*lines, usage_line(result.usage)])


def _line(entry: Cluster, name: Callable[[int], str], short: Callable[[int], str]) -> str:
    hidden = entry.size - len(entry.members)
    members = ", ".join(map(short, entry.members)) + (f" and {hidden:,} more (top=)" if hidden else "")
    cohesion = f"{entry.cohesion:.4f} (percentile {entry.percentile:g}, {entry.band})"
    return (
        f"{entry.id}: {', '.join(entry.terms) or 'no terms'}; {count(entry.size, 'text')}, cohesion {cohesion}, "
        f"e.g. {name(entry.exemplar)}; members {members}"
    )
