"""The protocol server: handlers over the registry."""

import functools
from collections.abc import Mapping
from importlib import metadata

from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    PromptMessage,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    TextContent,
    TextResourceContents,
)

from mcp_server_embeddings.config import DISTRIBUTION, nearest
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.surface.calls import CallRunner
from mcp_server_embeddings.surface.prompts import ServedPrompt, served_prompts
from mcp_server_embeddings.surface.registry import served_tools
from mcp_server_embeddings.surface.resources import HOUR, RESOURCES

INSTRUCTIONS = (
    "Tells what texts mean to each other, with an embedding model on this machine; no text leaves it. Send whole lists "
    "in one call (up to 2,000 texts) rather than one text a call. Answers name texts by their position in your lists, "
    "so one tool's answer is the next one's input. Judge closeness by band (unrelated, weak, related, close, same), "
    "not by raw score; embeddings://guide says how. Answers are short and say what they left out; top= asks for more. "
    "The first call may take some seconds while the model loads."
)

Context = ServerRequestContext[object, object]


def build_server(engine: Engine) -> Server[object]:
    """The server for one engine, with the tools its settings ask for.

    Raises:
        ConfigurationError: The settings name an unknown tool.
    """
    tools = served_tools(engine.settings)
    prompts = _Prompts(served_prompts(tools))
    runner = CallRunner(engine)

    @functools.cache  # made when it is asked for: the schemas cost a twentieth of the handshake
    def listed_tools() -> ListToolsResult:
        return ListToolsResult(tools=[tool.listed() for tool in tools.values()])

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return listed_tools()

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"there is no tool {params.name!r}; {nearest(params.name, tools)}")
        return await runner.run(tool, params.arguments or {}, context.protocol_version, context.session.report_progress)

    async def read_resource(context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        uri = str(params.uri)
        resource = RESOURCES.get(uri)
        if resource is None:
            raise MCPError(INVALID_PARAMS, f"there is no resource {uri!r}; {nearest(uri, RESOURCES)}", {"uri": uri})
        text = await runner.read(resource, context.protocol_version)
        contents = TextResourceContents(uri=uri, mime_type=resource.listed.mime_type, text=text)
        fresh = resource.fresh
        return ReadResourceResult(contents=[contents], ttl_ms=fresh.ttl_ms, cache_scope=fresh.scope)

    return Server(
        DISTRIBUTION,
        version=metadata.version(DISTRIBUTION),
        title="Embeddings",
        description="A sense of meaning for agents, on the user's own machine",
        instructions=INSTRUCTIONS,
        cache_hints={"tools/list": HOUR, "resources/list": HOUR, "prompts/list": HOUR},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=_list_resources,
        on_read_resource=read_resource,
        on_list_prompts=prompts.listed,
        on_get_prompt=prompts.filled,
        on_completion=prompts.completed,
    )


async def _list_resources(_: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
    return ListResourcesResult(resources=[resource.listed for resource in RESOURCES.values()])


class _Prompts:
    """The handlers of everything about prompts."""

    def __init__(self, prompts: Mapping[str, ServedPrompt]) -> None:
        self._prompts = prompts

    async def listed(self, _: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=[prompt.listed for prompt in self._prompts.values()])

    async def filled(self, _: Context, params: GetPromptRequestParams) -> GetPromptResult:
        prompt = self._named(params.name)
        try:
            content = TextContent(type="text", text=prompt.message(params.arguments or {}))
        except InputError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None
        message = PromptMessage(role="user", content=content)
        return GetPromptResult(description=prompt.listed.description, messages=[message])

    async def completed(self, _: Context, params: CompleteRequestParams) -> CompleteResult:
        """Only prompts have arguments to complete."""
        values: list[str] = []
        if isinstance(params.ref, PromptReference):
            values = self._named(params.ref.name).completions(params.argument.name, params.argument.value)
        return CompleteResult(completion=Completion(values=values, total=len(values), has_more=False))

    def _named(self, name: str) -> ServedPrompt:
        if name not in self._prompts:
            raise MCPError(INVALID_PARAMS, f"there is no prompt {name!r}; {nearest(name, self._prompts)}")
        return self._prompts[name]
