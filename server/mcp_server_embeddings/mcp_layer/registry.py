"""The declared tools that the settings select, and their entries in ``tools/list``."""

from collections.abc import Mapping

import mcp_types

from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.schemas import input_schema, output_schema
from mcp_server_embeddings.tools.declaration import Tool, declared_tools


def tool_sets() -> dict[str, tuple[str, ...]]:
    """Return the names that select several tools in ``--tools`` and ``--exclude-tools``, with their tools."""
    tools = declared_tools()
    return {
        "core": tuple(name for name, tool in tools.items() if tool.core),
        "collections": tuple(name for name in tools if name.startswith("collection_")),
        "all": tuple(tools),
    }


def served_tools(settings: Settings) -> Mapping[str, Tool]:
    """Return the tools that the settings select, by name, in the order of declaration.

    Raises:
        ConfigurationError: A name is unknown, or no tool is left.
    """
    wanted = _named("tools", settings.tools or ("all",)) - _named("exclude-tools", settings.exclude_tools)
    if not wanted:
        raise ConfigurationError("exclude-tools leaves no tool to serve; exclude fewer")
    return {name: tool for name, tool in declared_tools().items() if name in wanted}


def published(tool: Tool) -> mcp_types.Tool:
    """Return a tool's entry in ``tools/list``."""
    reads = tool.effect == "reads"
    return mcp_types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.arguments),
        output_schema=output_schema(tool.result),
        annotations=mcp_types.ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=None if reads else tool.effect == "destroys",
            idempotent_hint=None if reads else True,
            open_world_hint=False,
        ),
    )


def _named(option: str, names: tuple[str, ...]) -> set[str]:
    known = tool_sets() | {name: (name,) for name in declared_tools()}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{option}: there is no tool or set {name!r}; {nearest(name, known)}")
    return {tool for name in names for tool in known[name]}
