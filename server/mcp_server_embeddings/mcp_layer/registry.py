"""Every tool, and which of them the user wants served."""

from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.specs import (
    align,
    classify,
    cluster,
    collection_add,
    collection_list,
    collection_remove,
    collection_search,
    condense,
    deduplicate,
    embed,
    rank,
    similarity,
    status,
)
from mcp_server_embeddings.mcp_layer.tool_spec import AnyToolSpec

TOOLS: tuple[AnyToolSpec, ...] = (
    embed.TOOL,
    similarity.TOOL,
    rank.TOOL,
    classify.TOOL,
    cluster.TOOL,
    deduplicate.TOOL,
    align.TOOL,
    condense.TOOL,
    collection_add.TOOL,
    collection_search.TOOL,
    collection_list.TOOL,
    collection_remove.TOOL,
    status.TOOL,
)
"""Every tool, in the order of ``tools/list``."""

TOOL_SETS = {
    "core": ("embed", "similarity", "rank", "status"),
    "collections": tuple(tool.name for tool in TOOLS if tool.name.startswith("collection_")),
    "all": tuple(tool.name for tool in TOOLS),
}
"""Names that stand for several tools in ``--tools`` and ``--exclude-tools``."""


def served_tools(settings: Settings) -> dict[str, AnyToolSpec]:
    """The tools the user wants served, by name, in order.

    Raises:
        ConfigurationError: A name is unknown, or no tool is left.
    """
    wanted = _named("tools", settings.tools or ("all",)) - _named("exclude-tools", settings.exclude_tools)
    if not wanted:
        raise ConfigurationError("exclude-tools leaves no tool to serve; exclude fewer")
    return {tool.name: tool for tool in TOOLS if tool.name in wanted}


def _named(option: str, names: tuple[str, ...]) -> set[str]:
    known = TOOL_SETS | {tool.name: (tool.name,) for tool in TOOLS}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{option}: there is no tool or set {name!r}; {nearest(name, known)}")
    return {tool for name in names for tool in known[name]}
