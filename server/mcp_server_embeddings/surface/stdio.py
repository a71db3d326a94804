"""The stdio transport: the SDK's faults listed in docs/architecture.md, mended.

Reading and writing have a thread each, apart from anyio's shared worker threads, so neither a busy server
nor a slow client stops the event loop.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import NoReturn

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import NotificationOptions, Server
from mcp.shared.message import SessionMessage
from mcp_types import INVALID_REQUEST, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse, RequestId

from mcp_server_embeddings.surface.messages import MAX_LINE_BYTES, decoded, encoded, refusal
from mcp_server_embeddings.surface.parent import wait_for_parent_exit
from mcp_server_embeddings.surface.wire import Wire

_log = logging.getLogger(__name__)

_DEADLINE_SECONDS = 0.4
"""The process is gone this long after the end was announced, whatever is stuck."""

_LAST_ANSWERS_SECONDS = 0.2
"""What answers in progress may take after the client closed its end: it may have piped its requests in."""

Incoming = SessionMessage | Exception
"""What the SDK reads; this transport answers malformed lines itself and never passes an exception on."""


def serve(server: Server[object], wire: Wire, *, after_first_answer: Callable[[], None]) -> int:
    """Serve one client until it goes away or a signal arrives.

    Args:
        server: The protocol server.
        wire: Where the client is.
        after_first_answer: Called once, when the first message is on the wire: the handshake is over.

    Returns:
        The process's exit status: 0 when the client or the parent process went away, 128 plus its number
        after a signal.
    """
    return anyio.run(_serve, server, wire, after_first_answer)


def leave(status: int) -> NoReturn:
    """End the process now, without the seconds that tearing down a loaded model runtime takes."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


async def _serve(server: Server[object], wire: Wire, after_first_answer: Callable[[], None]) -> int:
    ending = _Ending(anyio.CancelScope())
    with ending.scope:
        async with anyio.create_task_group() as tasks, _streams(wire, after_first_answer, ending) as streams:
            if sys.platform != "win32":
                tasks.start_soon(ending.on_signals)
            token = anyio.lowlevel.current_token()
            threading.Thread(target=ending.on_parent_exit, args=(token,), daemon=True).start()
            await server.run(
                *streams, server.create_initialization_options(NotificationOptions(resources_changed=True))
            )
            ending.begin(0)
    return ending.status


class _Unanswered:
    """The requests that were read and not yet answered."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ids: set[RequestId] = set()

    def read(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCRequest):
            with self._changed:
                self._ids.add(message.id)

    def written(self, message: JSONRPCMessage) -> None:
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            with self._changed:
                self._ids.discard(message.id or 0)
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._ids, seconds)


class _Ending:
    """The one way out: the first reason decides the status, and a deadline holds whatever is stuck."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.scope = scope
        self.status = 0
        self._announced = False

    def announce(self, status: int = 0) -> None:
        """Start the deadline: the process is gone when it passes, whatever is stuck."""
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
        wait_for_parent_exit()
        anyio.from_thread.run_sync(self.begin, 0, token=token)


@asynccontextmanager
async def _streams(
    wire: Wire, after_first_answer: Callable[[], None], ending: _Ending
) -> AsyncIterator[tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]]:
    """The pair of streams that the SDK's server speaks on."""
    to_server, from_client = anyio.create_memory_object_stream[Incoming](0)
    to_client, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    unanswered = _Unanswered()
    reading = (wire, to_server, to_client.clone(), anyio.lowlevel.current_token(), unanswered, ending)
    threading.Thread(target=_read, args=reading, name="stdin", daemon=True).start()
    async with anyio.create_task_group() as tasks, to_server, from_client, to_client:
        tasks.start_soon(_write, wire, from_server, after_first_answer, unanswered, ending)
        yield from_client, to_client
        tasks.cancel_scope.cancel()


async def _write(
    wire: Wire,
    messages: MemoryObjectReceiveStream[SessionMessage],
    after_first_answer: Callable[[], None],
    unanswered: _Unanswered,
    ending: _Ending,
) -> None:
    turn = anyio.CapacityLimiter(1)
    first = True
    async with messages:
        async for message in messages:
            line = encoded(message.message)
            try:
                await anyio.to_thread.run_sync(_write_all, wire, line, limiter=turn, abandon_on_cancel=True)
            except OSError:  # the client closed its end
                ending.begin(0)
                return
            unanswered.written(message.message)
            if first:
                first = False
                after_first_answer()


def _write_all(wire: Wire, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[wire.writer.write(rest) :]


def _read(
    wire: Wire,
    to_server: MemoryObjectSendStream[Incoming],
    to_client: MemoryObjectSendStream[SessionMessage],
    token: anyio.lowlevel.EventLoopToken,
    unanswered: _Unanswered,
    ending: _Ending,
) -> None:
    """On a thread: hand each message to the event loop, and wait until it is taken."""
    try:
        for message in _messages(wire):
            unanswered.read(message)
            target = to_client if isinstance(message, JSONRPCError) else to_server
            anyio.from_thread.run(target.send, SessionMessage(message), token=token)
        anyio.from_thread.run_sync(ending.announce, token=token)
        unanswered.wait(_LAST_ANSWERS_SECONDS)
        anyio.from_thread.run(to_server.aclose, token=token)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, RuntimeError):
        _log.debug("the server stopped reading")


def _messages(wire: Wire) -> Iterator[JSONRPCMessage]:
    """The messages on the wire until its end; for a line that is none, the error to answer it with."""
    while line := wire.reader.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = wire.reader.readline(MAX_LINE_BYTES)
            yield refusal(INVALID_REQUEST, f"a line is over {MAX_LINE_BYTES:,} bytes; send less at once", None)
        elif line.strip():
            yield decoded(line)
