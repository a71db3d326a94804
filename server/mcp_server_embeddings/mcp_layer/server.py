"""The protocol server: its handlers for tools, resources and prompts."""

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from mcp.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    CompletionArgument,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    PromptMessage,
    PromptReference,
    ReadResourceRequestParams,
    ReadResourceResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)

from mcp_server_embeddings.config import Settings, nearest
from mcp_server_embeddings.errors import EmbeddingsError, InputError
from mcp_server_embeddings.mcp_layer import apps, collection_resources
from mcp_server_embeddings.mcp_layer.background import WAIT_SECONDS
from mcp_server_embeddings.mcp_layer.calls import CallRunner, Service, check_answer_size
from mcp_server_embeddings.mcp_layer.collection_resources import ROOT
from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier, Context
from mcp_server_embeddings.mcp_layer.prompts import ServedPrompt, served_prompts
from mcp_server_embeddings.mcp_layer.registry import published, served_tools
from mcp_server_embeddings.mcp_layer.resources import HOUR, RESOURCES
from mcp_server_embeddings.program import DISTRIBUTION, SUMMARY, VERSION
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.coercion import MAX_QUOTED
from mcp_server_embeddings.tools.declaration import ToolContext

INSTRUCTIONS = (
    "Works on texts by meaning, with a model on this machine; no text leaves it. Do not retype texts: "
    "pass source, the name of a collection or a path in a folder that may be read: a file, a folder, a glob, or a "
    "table's column as tickets.csv#message (CSV, TSV, JSONL, Parquet, XLSX), or its lines as list.txt#lines. ids "
    "and where choose among its items. Answers use the caller's own ids: id column, path, row number from 1, "
    "position of a sent text from 0; pass them on as ids. Answers are short, doubtful cases first; save_as writes "
    "every row to a file, tag keeps results as metadata. Judge closeness by band (unrelated, weak, related, close, "
    "same). Vectors hardly see numbers and negations: read differs. status lists collections and folders. The first "
    "call may take some seconds while the model loads."
)

T = TypeVar("T")


def instructions(settings: Settings) -> str:
    """Return the instructions for a client's model; above all, they say where texts are sent."""
    if not settings.engine_url:
        return INSTRUCTIONS
    where = f"with a model at {settings.engine_url}, to which they are sent"
    return INSTRUCTIONS.replace("with a model on this machine; no text leaves it", where)


def build_server(
    service: Service, store: CollectionStore, settings: Settings, wait_seconds: float = WAIT_SECONDS
) -> Server[ChangeNotifier]:
    """Return the server of one session, or of several sessions with the same settings and collections.

    Args:
        service: The state shared with other sessions.
        store: The collections.
        settings: Settings of the session; the engine may have been started with different ones.
        wait_seconds: A call that takes longer is answered with its progress and continues in the background.

    Raises:
        ConfigurationError: The settings name an unknown tool.
    """
    tools = served_tools(settings)
    prompts = _Prompts(served_prompts(tools))
    runner = CallRunner(service, store, settings, wait_seconds)

    @functools.cache  # computed on the first request, since the schemas take a twentieth of the handshake
    def listed_tools(pages: bool) -> ListToolsResult:
        listed = [published(tool) for tool in tools.values()]
        return ListToolsResult(tools=[apps.with_page(tool) for tool in listed] if pages else listed)

    async def list_tools(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        return listed_tools(apps.shows_pages(context))

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(
                INVALID_PARAMS, f"there is no tool {params.name[:MAX_QUOTED]!r}; {nearest(params.name, tools)}"
            )
        return await runner.run(
            tool,
            params.arguments or {},
            context.protocol_version,
            context.session.report_progress,
            pages=apps.shows_pages(context),
        )

    resources = _Resources(runner, store)

    async def complete(context: Context, params: CompleteRequestParams) -> CompleteResult:
        if isinstance(params.ref, PromptReference):
            values = prompts.completions(params.ref.name, params.argument)
        else:
            values = await resources.completions(context, params.argument)
        return CompleteResult(completion=Completion(values=values, total=len(values), has_more=False))

    return Server(
        DISTRIBUTION,
        version=VERSION,
        title="Embeddings",
        description=SUMMARY if settings.engine_url else f"{SUMMARY}, with a model on the user's own machine",
        instructions=instructions(settings),
        cache_hints={"tools/list": HOUR, "prompts/list": HOUR},
        lifespan=resources.lifespan,
        # No parameter is also sent as a header. Without this, the SDK lists the tools at every call over HTTP to check.
        get_tool_input_schema=lambda _: None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=resources.list_all,
        on_list_resource_templates=resources.templates,
        on_read_resource=resources.read,
        on_subscribe_resource=resources.subscribe,
        on_unsubscribe_resource=resources.unsubscribe,
        on_subscriptions_listen=resources.listen,
        on_list_prompts=prompts.list_all,
        on_get_prompt=prompts.get,
        on_completion=complete,
    )


def initialization_options(server: Server[T]) -> InitializationOptions:
    """Return the options for a persistent connection, which announce notifications about changed collections."""
    return server.create_initialization_options(NotificationOptions(resources_changed=True))


class _Resources:
    """The handlers of resource requests."""

    def __init__(self, runner: CallRunner, store: CollectionStore) -> None:
        self._runner = runner
        self._store = store

    @asynccontextmanager
    async def lifespan(self, _: Server[ChangeNotifier]) -> AsyncIterator[ChangeNotifier]:
        """Yield the notifier of a connection (stdio) or of the application (HTTP)."""
        notifier = ChangeNotifier(self._store)
        try:
            async with notifier.polling():
                yield notifier
        finally:
            self._runner.close()

    async def list_all(self, context: Context, _: PaginatedRequestParams | None) -> ListResourcesResult:
        stored = await self._read_store(context, lambda call: collection_resources.list_resources(call.store), ROOT)
        pages = apps.list_pages() if apps.shows_pages(context) else []
        return ListResourcesResult(resources=[*(resource.entry for resource in RESOURCES.values()), *stored, *pages])

    async def templates(self, _: Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        return ListResourceTemplatesResult(resource_templates=collection_resources.TEMPLATES)

    async def read(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        uri = str(params.uri)
        if uri == ROOT or uri.startswith(f"{ROOT}/"):
            return await self._read_store(context, lambda call: _read_collection_resource(call.store, uri), uri)
        if (page := apps.read_page(uri)) is not None:
            return page
        resource = RESOURCES.get(uri)
        if resource is None:
            known = [*RESOURCES, ROOT]
            raise MCPError(
                INVALID_PARAMS, f"there is no resource {uri[:MAX_QUOTED]!r}; {nearest(uri, known)}", {"uri": uri}
            )
        text = await self._runner.read(resource.text, context.protocol_version)
        contents = TextResourceContents(uri=uri, mime_type=resource.entry.mime_type, text=text)
        cache_hint = resource.cache_hint
        return ReadResourceResult(contents=[contents], ttl_ms=cache_hint.ttl_ms, cache_scope=cache_hint.scope)

    async def subscribe(self, context: Context, params: SubscribeRequestParams) -> EmptyResult:
        await context.lifespan_context.subscribe(context, str(params.uri))
        return EmptyResult()

    async def unsubscribe(self, context: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        context.lifespan_context.unsubscribe(context, str(params.uri))
        return EmptyResult()

    async def listen(self, context: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        return await context.lifespan_context.listen(context, params)

    async def completions(self, context: Context, argument: CompletionArgument) -> list[str]:
        if argument.name != "name":
            return []
        return await self._runner.read(
            lambda call: collection_resources.complete_names(call.store, argument.value), context.protocol_version
        )

    async def _read_store(self, context: Context, function: Callable[[ToolContext], T], uri: str) -> T:
        """Read from the store, and notify the client of later changes."""
        await context.lifespan_context.watch_list(context)
        try:
            return await self._runner.read(function, context.protocol_version)
        except EmbeddingsError as error:
            raise MCPError(INVALID_PARAMS, str(error), {"uri": uri}) from None


def _read_collection_resource(store: CollectionStore, uri: str) -> ReadResourceResult:
    """Return the content of a collection's resource, unless it is too large."""
    text, mime_type = collection_resources.read(store, uri)
    answer = ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=mime_type, text=text)])
    check_answer_size(answer, "read a part of it: find passages with search, and read them with the tool read")
    return answer


class _Prompts:
    """The handlers of prompt requests."""

    def __init__(self, prompts: Mapping[str, ServedPrompt]) -> None:
        self._prompts = prompts

    async def list_all(self, _: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
        return ListPromptsResult(prompts=[prompt.entry for prompt in self._prompts.values()])

    async def get(self, _: Context, params: GetPromptRequestParams) -> GetPromptResult:
        prompt = self._find(params.name)
        try:
            content = TextContent(type="text", text=prompt.message(params.arguments or {}))
        except InputError as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None
        message = PromptMessage(role="user", content=content)
        return GetPromptResult(description=prompt.entry.description, messages=[message])

    def completions(self, name: str, argument: CompletionArgument) -> list[str]:
        return self._find(name).completions(argument.name, argument.value)

    def _find(self, name: str) -> ServedPrompt:
        if name not in self._prompts:
            raise MCPError(INVALID_PARAMS, f"there is no prompt {name[:MAX_QUOTED]!r}; {nearest(name, self._prompts)}")
        return self._prompts[name]
