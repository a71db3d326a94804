"""Call tools through an in-memory client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import Client
from mcp.server import Server
from mcp_types import CallToolResult, TextContent

from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier
from mcp_server_embeddings.mcp_layer.server import build_server
from mcp_server_embeddings.store import open_store

Arguments = dict[str, Any]

PATIENCE = 600.0
"""Seconds that a call may take before its answer says that the work goes on in the background.

So long that this happens in no test, even on a busy machine.
"""


def server(engine: Engine, wait_seconds: float = PATIENCE) -> Server[ChangeNotifier]:
    return build_server(Service(engine), open_store(engine.settings), engine.settings, wait_seconds)


@asynccontextmanager
async def client(engine: Engine) -> AsyncIterator[Client]:
    async with Client(server(engine)) as connected:
        yield connected


def run_with(engine: Engine, work: Callable[[Client], Awaitable[CallToolResult]]) -> CallToolResult:
    """Connect a new client, do some work with it, and return the result."""

    async def main() -> CallToolResult:
        async with client(engine) as connected:
            return await work(connected)

    return anyio.run(main)


def call(engine: Engine, tool: str, arguments: Arguments) -> CallToolResult:
    """Call a tool through a new client."""

    async def work(connected: Client) -> CallToolResult:
        return await connected.call_tool(tool, arguments)

    return run_with(engine, work)


def structured(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result
    assert result.structured_content is not None
    content: dict[str, Any] = result.structured_content
    return content


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def error(result: CallToolResult) -> str:
    assert result.is_error, result
    assert result.structured_content is None
    return text(result)
