"""The protocol server: handlers over the registry."""

from importlib import metadata

from mcp.server import CacheHint, Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    TextResourceContents,
)

from mcp_server_embeddings.config import DISTRIBUTION, nearest
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.surface.calls import CallRunner
from mcp_server_embeddings.surface.registry import served_tools
from mcp_server_embeddings.surface.resources import RESOURCES

INSTRUCTIONS = (
    "Compares texts by meaning with an embedding model on this machine; no text leaves it. Send whole lists in "
    "one call (up to 2,000 texts) rather than one text a call. Answers name texts by their position in your "
    "lists. Judge closeness by band (unrelated, weak, related, close, same), not by raw score. The first call "
    "may take some seconds while the model loads."
)

_HOUR = CacheHint(ttl_ms=3_600_000, scope="public")

Context = ServerRequestContext[object, object]


def build_server(engine: Engine) -> Server[object]:
    """The server for one engine, with the tools its settings ask for.

    Raises:
        ConfigurationError: The settings name an unknown tool.
    """
    tools = served_tools(engine.settings)
    listed_tools = ListToolsResult(tools=[tool.listed() for tool in tools.values()])
    listed_resources = ListResourcesResult(resources=[resource.listed for resource in RESOURCES.values()])
    runner = CallRunner(engine)

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return listed_tools

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name!r}; {nearest(params.name, tools)}")
        return await runner.run(tool, params.arguments or {}, context.protocol_version, context.session.report_progress)

    async def list_resources(_: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
        return listed_resources

    async def read_resource(_: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        uri = str(params.uri)
        resource = RESOURCES.get(uri)
        if resource is None:
            raise MCPError(INVALID_PARAMS, f"there is no resource {uri!r}; {nearest(uri, RESOURCES)}", {"uri": uri})
        contents = TextResourceContents(uri=uri, mime_type=resource.listed.mime_type, text=resource.text())
        return ReadResourceResult(contents=[contents])

    return Server(
        DISTRIBUTION,
        version=metadata.version(DISTRIBUTION),
        title="Embeddings",
        description="Text embeddings and similarity on the user's own machine",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": _HOUR, "resources/list": _HOUR, "resources/read": _HOUR},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )
