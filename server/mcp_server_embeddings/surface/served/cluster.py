"""The tool ``cluster``."""

from pydantic import Field

from mcp_server_embeddings.surface.arguments import BOUNDS, Arguments, Texts, Top
from mcp_server_embeddings.surface.served_tool import Caller, ServedTool
from mcp_server_embeddings.surface.words import counted, more, named, used
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.results import Cluster, Clustered


class ClusterArguments(Arguments):
    """Arguments of ``cluster``."""

    texts: Texts = Field(description="texts to group", json_schema_extra=BOUNDS)
    clusters: int | None = Field(default=None, description="how many; absent: chosen", json_schema_extra={"minimum": 1})
    top: Top = None


def _run(caller: Caller, given: ClusterArguments) -> Clustered:
    return cluster(caller.embedder, given.texts, clusters=given.clusters, top=given.top)


def _text(result: Clustered, given: ClusterArguments) -> str:
    """One line a cluster, then the outliers."""
    found = len(result.clusters) + result.more
    lines = [f"{counted(found, 'cluster')} of {counted(result.usage.texts, 'text')} ({result.model}):"]
    lines += [_line(entry, given) for entry in result.clusters]
    lines += more(result.more, "clusters")
    if result.outlier_count:
        shown = ", ".join(named(position, given.texts) for position in result.outliers)
        lines.append(f"{counted(result.outlier_count, 'outlier')}: {shown}.")
        lines += more(result.outlier_count - len(result.outliers), "outliers")
    return "\n".join([*lines, used(result.usage)])


def _line(entry: Cluster, given: ClusterArguments) -> str:
    hidden = entry.size - len(entry.members)
    members = ", ".join(map(str, entry.members)) + (f" and {hidden:,} more (top=)" if hidden else "")
    cohesion = f"{entry.cohesion:.4f} (percentile {entry.percentile:g}, {entry.band})"
    return (
        f"{entry.id}: {', '.join(entry.terms) or 'no terms'}; {counted(entry.size, 'text')}, cohesion {cohesion}, "
        f"e.g. {named(entry.exemplar, given.texts)}; members {members}"
    )


TOOL = ServedTool(
    name="cluster",
    title="Group texts by theme",
    description=(
        "Groups texts by theme. Use it to see what a list is about: feedback, tickets, search results. Not for kinds "
        "you can name: use classify; not for repeats: use deduplicate. Returns clusters with size, members by "
        "position, exemplar (the most typical text), terms and cohesion, and outliers that fit none. Name a theme "
        "from its exemplar and terms."
    ),
    arguments=ClusterArguments,
    result=Clustered,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
