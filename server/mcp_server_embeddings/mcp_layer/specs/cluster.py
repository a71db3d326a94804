"""The tool ``cluster``."""

from collections.abc import Callable

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, StoredTexts, Texts, Top
from mcp_server_embeddings.mcp_layer.rendering import counted, more, naming, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.corpus import opened
from mcp_server_embeddings.tools.results import Cluster, ClusterResult


class ClusterArguments(Arguments):
    """Arguments of ``cluster``."""

    texts: Texts | None = Field(default=None, description="texts to group", json_schema_extra=BOUNDS)
    collection: StoredTexts = None
    clusters: int | None = Field(default=None, description="how many; absent: chosen", json_schema_extra={"minimum": 1})
    top: Top = None


def _run(context: ToolContext, given: ClusterArguments) -> ClusterResult:
    collection = opened(context.embedder, context.store, given.collection)
    return cluster(context.embedder, given.texts, collection=collection, clusters=given.clusters, top=given.top)


def _text(result: ClusterResult, given: ClusterArguments) -> str:
    """One line a cluster, then the outliers."""
    name = naming(result.recalled, given.texts)
    found = len(result.clusters) + result.more
    lines = [f"{counted(found, 'cluster')} of {counted(result.usage.texts, 'text')} ({result.model}):"]
    lines += [_line(entry, name, name if given.texts is None else str) for entry in result.clusters]
    lines += more(result.more, "clusters")
    if result.outlier_count:
        shown = ", ".join(name(position) for position in result.outliers)
        lines.append(f"{counted(result.outlier_count, 'outlier')}: {shown}.")
        lines += more(result.outlier_count - len(result.outliers), "outliers")
    return "\n".join([*lines, used(result.usage)])


def _line(entry: Cluster, name: Callable[[int], str], short: Callable[[int], str]) -> str:
    hidden = entry.size - len(entry.members)
    members = ", ".join(map(short, entry.members)) + (f" and {hidden:,} more (top=)" if hidden else "")
    cohesion = f"{entry.cohesion:.4f} (percentile {entry.percentile:g}, {entry.band})"
    return (
        f"{entry.id}: {', '.join(entry.terms) or 'no terms'}; {counted(entry.size, 'text')}, cohesion {cohesion}, "
        f"e.g. {name(entry.exemplar)}; members {members}"
    )


TOOL = ToolSpec(
    name="cluster",
    title="Group texts by theme",
    description=(
        "Groups texts by theme. Use it to see what a list is about: feedback, tickets, search results. Not for kinds "
        "you can name: use classify; not for repeats: use deduplicate. Returns clusters with size, members by "
        "position, exemplar (the most typical text), terms and cohesion, and outliers that fit none. Name a theme "
        "from its exemplar and terms."
    ),
    arguments=ClusterArguments,
    result=ClusterResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
