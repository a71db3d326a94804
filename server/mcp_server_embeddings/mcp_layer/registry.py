"""The declared tools that the settings select, and their entries in ``tools/list``."""

from collections.abc import Mapping

import mcp_types

from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.schemas import input_schema, output_schema
from mcp_server_embeddings.tools.declaration import Tool, declared_tools


def served_tools(settings: Settings) -> Mapping[str, Tool]:
    """Return the tools that the settings select, by name, in the order of declaration.

    Raises:
        ConfigurationError: A name is unknown, or no tool is left.
    """
    selected = _selected("tools", settings.tools or ("all",)) - _selected("exclude-tools", settings.exclude_tools)
    if not selected:
        raise ConfigurationError("exclude-tools leaves no tool to serve; exclude fewer")
    return {name: tool for name, tool in declared_tools().items() if name in selected}


def published(tool: Tool) -> mcp_types.Tool:
    """Return a tool's entry in ``tools/list``."""
    read_only = tool.effect == "reads"
    return mcp_types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=input_schema(tool.arguments),
        output_schema=output_schema(tool.result),
        annotations=mcp_types.ToolAnnotations(
            read_only_hint=read_only,
            destructive_hint=None if read_only else tool.effect == "destroys",
            idempotent_hint=None if read_only else True,
            open_world_hint=False,
        ),
    )


def _selected(option: str, names: tuple[str, ...]) -> set[str]:
    """Return the tools that an option selects by their own names or by the name of a set of tools."""
    tools = declared_tools()
    known = {
        "core": [name for name, tool in tools.items() if tool.core],
        "collections": [name for name in tools if name.startswith("collection_")],
        "all": list(tools),
        **{name: [name] for name in tools},
    }
    for name in names:
        if name not in known:
            raise ConfigurationError(f"{option}: there is no tool or set {name!r}; {nearest(name, known)}")
    return {tool for name in names for tool in known[name]}
