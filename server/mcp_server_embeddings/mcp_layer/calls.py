"""Run tool calls and read resources on worker threads; the one place where errors become tool errors."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import TypeVar

import anyio
import pydantic_core
from mcp_types import CallToolResult, Result, TextContent

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import AnswerTooLargeError, EmbeddingsError
from mcp_server_embeddings.mcp_layer.apps import add_page_data
from mcp_server_embeddings.mcp_layer.arguments import canonical_names, parse
from mcp_server_embeddings.mcp_layer.background import WAIT_SECONDS, BackgroundCalls, call_key
from mcp_server_embeddings.mcp_layer.fair_threads import FairThreads
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.declaration import Tool, ToolContext
from mcp_server_embeddings.tools.freshness import Freshness
from mcp_server_embeddings.tools.results import Running
from mcp_server_embeddings.tools.status import ANSWER_BYTES

_log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 1.0
"""A call reports progress once it takes longer than this, and then at this interval."""

_HEARTBEAT = 1e-3
"""Progress must grow with every report; while no text finishes, it grows by this much per second."""

CONCURRENT_CALLS = 64
"""Further calls of a session wait for a thread. Most threads sleep on the inference queue. The thread of a cancelled
call becomes free only when its work has stopped, so a client cannot start more threads by cancelling calls."""

_MAX_THREADS = 256
"""Further calls of all sessions wait for a thread."""

_SESSION_LARGE_CALLS = 2
"""Large calls of a session at a time: one computes while the texts of the other are encoded."""

_MAX_LARGE_CALLS = 3
"""Large calls of all sessions at a time. Each holds text-by-text matrices: 2,000 texts take up to 130 MB."""

_LARGE_CALL_TEXTS = 500
"""A call with more texts is large. A string counts as one text per hundred characters, since it may hold a list."""

_LOW_MEMORY_TOOLS = frozenset({"search", "read", "collection_add"})
"""Tools that need little memory, regardless of the number of items in a source."""

T = TypeVar("T")

Report = Callable[[float, float | None, str | None], Awaitable[None]]
"""Sends a progress notification; called with progress, total and message."""


class Service:
    """State that all sessions of a process share: the engine, and the worker threads of calls.

    Args:
        engine: The engine.
        process: Returns a description of this process, for ``status``.
    """

    def __init__(self, engine: Engine, process: Callable[[], str] = lambda: "") -> None:
        self.engine = engine
        self.process = process
        self.threads = FairThreads(_MAX_THREADS, CONCURRENT_CALLS, "call")
        self.large_calls = FairThreads(_MAX_LARGE_CALLS, _SESSION_LARGE_CALLS, "large call")
        self.freshness = Freshness()

    def close(self) -> None:
        """Stop updating collections in the background."""
        self.freshness.close()


class CallRunner:
    """Runs the tool calls of one session.

    Args:
        service: The state shared with other sessions.
        store: The collections.
        settings: Settings of the session.
        wait_seconds: A call that takes longer is answered with its progress and continues in the background.
    """

    def __init__(
        self, service: Service, store: CollectionStore, settings: Settings, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._service = service
        self._store = store
        self._settings = settings
        self._background = BackgroundCalls[CallToolResult](wait_seconds, session=self)

    async def run(
        self, tool: Tool, raw: Mapping[str, object], protocol: str, report: Report, *, pages: bool = False
    ) -> CallToolResult:
        """Answer one call.

        On cancellation, inference stops at the next batch and no answer is returned.

        Args:
            tool: The tool.
            raw: Its arguments as the client sent them.
            protocol: The revision of MCP.
            report: Reports progress to the client.
            pages: Whether the client shows pages (``apps.py``).
        """
        key = call_key(tool.name, raw, protocol)
        call = self._background.call(key)
        threads = self._service.large_calls if _is_large(tool, raw) else self._service.threads

        def start(call: Call) -> Future[CallToolResult]:
            return threads.submit(self, self._run, tool, raw, self._context(call, protocol), pages)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_report_progress, call, report)
            answer = await self._background.wait(key, call, start)
            tasks.cancel_scope.cancel()
        return _running_result(call) if answer is None else answer

    async def read(self, function: Callable[[ToolContext], T], protocol: str) -> T:
        """Read a resource on a worker thread, since it may wait for the model or the disk."""
        call = Call(self)
        context = self._context(call, protocol)
        try:
            return await asyncio.wrap_future(self._service.threads.submit(self, function, context))
        finally:
            call.cancel()

    def close(self) -> None:
        """Stop the session's background calls."""
        self._background.close()

    def _context(self, call: Call, protocol: str) -> ToolContext:
        service = self._service
        embedder = service.engine.embedder(call)
        return ToolContext(
            service.engine, embedder, self._store, protocol, self._settings, service.process(), service.freshness
        )

    def _run(self, tool: Tool, raw: Mapping[str, object], context: ToolContext, pages: bool) -> CallToolResult:
        try:
            answer = _call_tool(tool, raw, context)
            return add_page_data(answer, tool, raw, context) if pages else answer
        except EmbeddingsError as error:
            return _error_result(str(error))
        # The outermost edge: the text of a crash stays in the log. A panic in a Rust library is not an Exception.
        except BaseException:  # noqa: BLE001
            _log.exception("the tool %s crashed", tool.name)
            return _error_result(
                f"{tool.name} failed inside the server; its log on standard error says why. "
                "Nothing was lost: the same call can be tried again"
            )


def _is_large(tool: Tool, raw: Mapping[str, object]) -> bool:
    names = canonical_names(raw, tool.arguments.model_fields)
    if tool.name not in _LOW_MEMORY_TOOLS and any(name.endswith("source") for name in names):
        return True
    texts = sum(len(value) for value in raw.values() if isinstance(value, list))
    characters = sum(len(value) for value in raw.values() if isinstance(value, str))
    return texts + characters // 100 > _LARGE_CALL_TEXTS


def _call_tool(tool: Tool, raw: Mapping[str, object], context: ToolContext) -> CallToolResult:
    arguments = parse(tool.arguments, raw)
    result = tool.call(context, arguments)
    compact = result.compact()
    text = pydantic_core.to_json(compact).decode()
    answer = CallToolResult(content=[TextContent(type="text", text=text)], structured_content=compact)
    check_answer_size(answer, tool.too_large)
    return answer


def check_answer_size(answer: Result, advice: str) -> None:
    """Refuse an answer whose encoded form has too many bytes.

    Raises:
        AnswerTooLargeError: The answer is too large; the message ends with ``advice``.
    """
    size = len(pydantic_core.to_json(answer, by_alias=True, exclude_none=True))
    if size > ANSWER_BYTES:
        raise AnswerTooLargeError(f"the answer would be {size:,} bytes, at most {ANSWER_BYTES:,} are sent; {advice}")


def _running_result(call: Call) -> CallToolResult:
    """Return the answer to a call that continues in the background."""
    result = Running(
        done=call.done,
        total=call.total,
        notes=[f"{call.stage or 'working'}; it goes on: send the same call again to wait for more"],
    )
    return CallToolResult(
        content=[TextContent(type="text", text=result.model_dump_json())], structured_content=result.model_dump()
    )


def _error_result(reason: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=reason)], is_error=True)


async def _report_progress(call: Call, report: Report) -> None:
    """Report that the call is alive; some clients extend their deadline on progress."""
    started = time.monotonic()
    while True:
        await anyio.sleep(_PROGRESS_SECONDS)
        heartbeat = min(_HEARTBEAT * (time.monotonic() - started), 0.999)
        total = float(call.total) if call.total else None
        message = call.stage or f"{call.done} of {call.total} texts and windows encoded"
        await report(call.done + heartbeat, total, message)
