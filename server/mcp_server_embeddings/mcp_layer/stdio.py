"""The stdio transport. The table in docs/architecture.md says why the SDK's is not used.

Reading and writing each have a thread of their own, separate from anyio's shared worker threads, so that neither a busy
server nor a slow client blocks the event loop.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import NoReturn, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream
from mcp.server import Server
from mcp_types import JSONRPCMessage

from mcp_server_embeddings.mcp_layer.backpressure import Flow, Incoming
from mcp_server_embeddings.mcp_layer.messages import MAX_LINE_BYTES, decode, line_too_long
from mcp_server_embeddings.mcp_layer.server import initialization_options
from mcp_server_embeddings.relay.parent_process import wait_for_parent_exit
from mcp_server_embeddings.relay.wire import Wire

_log = logging.getLogger(__name__)

L = TypeVar("L")
"""Type of the object that the server's lifespan yields."""

_DEADLINE_SECONDS = 0.2
"""The process exits at most this long after shutdown began, even if something is stuck."""

_LAST_ANSWERS_SECONDS = 0.2
"""How long tool calls may take to be answered after EOF: a client may pipe its requests in."""

_DISCARD_BYTES = 1_000_000
"""Bytes of an overlong line that are discarded at a time."""


def serve(server: Server[L], wire: Wire, *, after_first_answer: Callable[[], None]) -> int:
    """Serve one client until EOF, the exit of the parent process, or a signal.

    Args:
        server: The protocol server.
        wire: The descriptors of the client's pipes.
        after_first_answer: Called once, after the first message has been written: the handshake is over.

    Returns:
        The exit status: 0 after EOF or the exit of the parent process, 128 plus the number of a signal.
    """
    return anyio.run(_serve, server, wire, after_first_answer)


def leave(status: int) -> NoReturn:
    """Exit the process without tearing down the model runtime, which would take seconds."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


async def _serve(server: Server[L], wire: Wire, after_first_answer: Callable[[], None]) -> int:
    shutdown = _Shutdown(anyio.CancelScope())
    with shutdown.scope:
        async with anyio.create_task_group() as tasks, _streams(wire, after_first_answer, shutdown) as streams:
            if sys.platform != "win32":
                tasks.start_soon(shutdown.on_signals)
            token = anyio.lowlevel.current_token()
            threading.Thread(target=shutdown.on_parent_exit, args=(token,), daemon=True).start()
            await server.run(*streams, initialization_options(server))
            shutdown.begin(0)
    return shutdown.status


class _Shutdown:
    """Shutdown state: the first reason decides the exit status, and a deadline exits the process if it is stuck."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.status = 0
        self._deadline_started = False

    def start_deadline(self, status: int = 0) -> None:
        """Start the deadline after which the process exits, even if something is stuck."""
        if self._deadline_started:
            return
        self._deadline_started, self.status = True, status
        deadline = threading.Timer(_DEADLINE_SECONDS, leave, args=(status,))
        deadline.daemon = True
        deadline.start()

    def begin(self, status: int) -> None:
        """Stop serving."""
        self.start_deadline(status)
        self.scope.cancel()

    async def on_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for signum in signals:
                self.begin(128 + signum)

    def on_parent_exit(self, token: anyio.lowlevel.EventLoopToken) -> None:
        if wait_for_parent_exit():
            anyio.from_thread.run_sync(self.begin, 0, token=token)


@asynccontextmanager
async def _streams(
    wire: Wire, after_first_answer: Callable[[], None], shutdown: _Shutdown
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], Flow]]:
    """Yield the two streams that the SDK's server reads from and writes to."""
    to_server, from_client = anyio.create_memory_object_stream[Incoming](0)
    flow = Flow(to_server)
    arguments = (wire, flow, anyio.lowlevel.current_token(), shutdown)
    threading.Thread(target=_read, args=arguments, name="stdin", daemon=True).start()
    async with anyio.create_task_group() as tasks, to_server, from_client:
        tasks.start_soon(_write, wire, flow, after_first_answer, shutdown)
        tasks.start_soon(flow.forward)
        yield from_client, flow
        tasks.cancel_scope.cancel()


async def _write(wire: Wire, flow: Flow, after_first_answer: Callable[[], None], shutdown: _Shutdown) -> None:
    limiter = anyio.CapacityLimiter(1)
    first = True
    while True:
        line = await flow.next_line()
        try:
            await anyio.to_thread.run_sync(_write_all, wire, line, limiter=limiter, abandon_on_cancel=True)
        except OSError:  # the client closed its end
            shutdown.begin(0)
            return
        flow.mark_written()
        if first:
            first = False
            after_first_answer()


def _write_all(wire: Wire, line: bytes) -> None:
    remaining = memoryview(line)
    while remaining:
        remaining = remaining[wire.writer.write(remaining) :]


def _read(wire: Wire, flow: Flow, token: anyio.lowlevel.EventLoopToken, shutdown: _Shutdown) -> None:
    """Pass each message to the event loop until EOF; runs on a thread."""
    try:
        for message, size in _messages(wire):
            while not (queued := anyio.from_thread.run(flow.put, message, size, token=token)):
                if wire.hung_up():
                    break
            if not queued:
                break
            del message  # do not keep it in memory until the next one arrives
        anyio.from_thread.run(flow.finish, _LAST_ANSWERS_SECONDS, token=token)
        anyio.from_thread.run_sync(shutdown.start_deadline, token=token)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, RuntimeError):
        _log.debug("the server stopped reading")


def _messages(wire: Wire) -> Iterator[tuple[JSONRPCMessage, int]]:
    """Yield each message, or the error response to a malformed line, with the line's size in bytes, until EOF."""
    while line := wire.reader.readline(MAX_LINE_BYTES + 1):
        size = len(line)
        if size > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = wire.reader.readline(_DISCARD_BYTES)
            yield line_too_long(), 0
        elif line.strip():
            message = decode(line)
            del line  # keep neither line nor message in memory until the next one arrives
            if message is not None:
                yield message, size
            del message
