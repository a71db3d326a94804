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

_SKIPPED = 1_000_000
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
    ending = _Ending(anyio.CancelScope())
    with ending.scope:
        async with anyio.create_task_group() as tasks, _streams(wire, after_first_answer, ending) as streams:
            if sys.platform != "win32":
                tasks.start_soon(ending.on_signals)
            token = anyio.lowlevel.current_token()
            threading.Thread(target=ending.on_parent_exit, args=(token,), daemon=True).start()
            await server.run(*streams, initialization_options(server))
            ending.begin(0)
    return ending.status


class _Ending:
    """Shutdown state: the first reason decides the exit status, and a deadline exits the process if it is stuck."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.status = 0
        self._announced = False

    def announce(self, status: int = 0) -> None:
        """Start the deadline after which the process exits, even if something is stuck."""
        if self._announced:
            return
        self._announced, self.status = True, status
        deadline = threading.Timer(_DEADLINE_SECONDS, leave, args=(status,))
        deadline.daemon = True
        deadline.start()

    def begin(self, status: int) -> None:
        """Stop serving."""
        self.announce(status)
        self.scope.cancel()

    async def on_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            async for number in received:
                self.begin(128 + number)

    def on_parent_exit(self, token: anyio.lowlevel.EventLoopToken) -> None:
        if wait_for_parent_exit():
            anyio.from_thread.run_sync(self.begin, 0, token=token)


@asynccontextmanager
async def _streams(
    wire: Wire, after_first_answer: Callable[[], None], ending: _Ending
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], Flow]]:
    """Yield the two streams that the SDK's server reads from and writes to."""
    to_server, from_client = anyio.create_memory_object_stream[Incoming](0)
    flow = Flow(to_server)
    reading = (wire, flow, anyio.lowlevel.current_token(), ending)
    threading.Thread(target=_read, args=reading, name="stdin", daemon=True).start()
    async with anyio.create_task_group() as tasks, to_server, from_client:
        tasks.start_soon(_write, wire, flow, after_first_answer, ending)
        tasks.start_soon(flow.forward)
        yield from_client, flow
        tasks.cancel_scope.cancel()


async def _write(wire: Wire, flow: Flow, after_first_answer: Callable[[], None], ending: _Ending) -> None:
    turn = anyio.CapacityLimiter(1)
    first = True
    while True:
        line = await flow.next_line()
        try:
            await anyio.to_thread.run_sync(_write_all, wire, line, limiter=turn, abandon_on_cancel=True)
        except OSError:  # the client closed its end
            ending.begin(0)
            return
        flow.written()
        if first:
            first = False
            after_first_answer()


def _write_all(wire: Wire, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[wire.writer.write(rest) :]


def _read(wire: Wire, flow: Flow, token: anyio.lowlevel.EventLoopToken, ending: _Ending) -> None:
    """Pass each message to the event loop until EOF; runs on a thread."""
    try:
        for message, size in _messages(wire):
            while not (taken := anyio.from_thread.run(flow.put, message, size, token=token)):
                if wire.hung_up():
                    break
            if not taken:
                break
            del message  # do not keep it in memory until the next one arrives
        anyio.from_thread.run(flow.finish, _LAST_ANSWERS_SECONDS, token=token)
        anyio.from_thread.run_sync(ending.announce, token=token)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, RuntimeError):
        _log.debug("the server stopped reading")


def _messages(wire: Wire) -> Iterator[tuple[JSONRPCMessage, int]]:
    """Yield each message, or the error response to a malformed line, with the line's size in bytes, until EOF."""
    while line := wire.reader.readline(MAX_LINE_BYTES + 1):
        size = len(line)
        if size > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = wire.reader.readline(_SKIPPED)
            yield line_too_long(), 0
        elif line.strip():
            message = decode(line)
            del line  # keep neither line nor message in memory until the next one arrives
            if message is not None:
                yield message, size
            del message
