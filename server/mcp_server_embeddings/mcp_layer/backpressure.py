"""Flow control between client and server.

A client may send requests without reading answers. Requests are served until their cost reaches the budget, then held;
once the held messages reach the same cost, standard input is not read until the client reads answers. Everything here
runs on the event loop.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Self

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from mcp_server_embeddings.mcp_layer.messages import encode, error_response
from mcp_server_embeddings.relay.relay import LISTS_SECONDS

BUDGET = 32_000_000
"""Bytes allowed for requests being served plus answers waiting to be read, and the same again for held messages."""

MAX_ANSWER_BYTES = 5_000_000
"""Limit of any answer's line. Tools and resources have a lower limit with specific advice; this one is for answers that
repeat the request, such as a prompt. Some clients drop the connection on a line over 10 MiB."""

_REQUEST_OVERHEAD = 64_000
"""Bytes that a request costs besides its line while it is served: its task, and an answer like ``tools/list``."""

_MESSAGE_OVERHEAD = 2_000
"""Bytes that a message costs besides its line, while it is held or while its line waits to be read."""

_PUT_TIMEOUT_SECONDS = 0.05
"""How long ``Flow.put`` waits for room before the reading thread checks whether the client hung up."""

Incoming = SessionMessage | Exception
"""Item type of the SDK's input stream; this transport answers malformed lines itself and never passes an exception."""


class Flow:
    """Queues of messages between the transport and the SDK, which uses it as its write stream."""

    def __init__(self, to_server: MemoryObjectSendStream[Incoming]) -> None:
        self._to_server = to_server
        self._held: deque[tuple[JSONRPCMessage, int]] = deque()
        self._held_cost = 0
        # Cost and shortness of each request being served, by id; a list, since a client may reuse an id.
        self._served: dict[RequestId, list[tuple[int, bool]]] = {}
        self._served_cost = 0
        self._short_requests = 0  # requests that are held or being served and call no tool
        self._lines: deque[bytes] = deque()
        self._unread_cost = 0
        self._changed = anyio.Event()

    async def put(self, message: JSONRPCMessage, size: int) -> bool:
        """Queue the message of a line of ``size`` bytes, or the error that answers a malformed line.

        A cancellation is not queued: it overtakes held messages, and removes its request if that is still held.

        Returns:
            False if the held messages exceed the budget and the message was not queued.
        """
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            if not self._drop(cancelled_request_id_from_params(message.params)):
                await self._to_server.send(SessionMessage(message))
            return True
        with anyio.move_on_after(_PUT_TIMEOUT_SECONDS) as timeout:
            await self._wait_until(lambda: self._held_cost < BUDGET)
        if timeout.cancelled_caught:
            return False
        self._held.append((message, size + _MESSAGE_OVERHEAD))
        self._held_cost += size + _MESSAGE_OVERHEAD
        self._short_requests += _is_short(message)
        self._notify()
        return True

    async def forward(self) -> None:
        """Pass held messages to the SDK in order as the budget allows, until the SDK stops reading."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await self._wait_until(lambda: len(self._held) > 0 and self._served_cost + self._unread_cost < BUDGET)
                message, cost = self._held.popleft()
                self._held_cost -= cost
                self._notify()
                if isinstance(message, JSONRPCError):  # the answer to a malformed line
                    self._append(message)
                else:
                    await self._to_server.send(self._for_server(message, cost))

    async def finish(self, seconds: float) -> None:
        """Wait for answers in progress, at most ``seconds`` for those of tools, then close the stream to the SDK."""
        with anyio.move_on_after(LISTS_SECONDS):
            await self._wait_until(lambda: not self._short_requests or self._unread_cost >= BUDGET)
        with anyio.move_on_after(seconds):
            await self._wait_until(lambda: not (self._held or self._served or self._lines))
        await self._to_server.aclose()

    async def next_line(self) -> bytes:
        """Return the next line for the client; repeated calls return the same line until ``mark_written`` is called."""
        await self._wait_until(lambda: len(self._lines) > 0)
        return self._lines[0]

    def mark_written(self) -> None:
        """Remove the line that ``next_line`` returned, which the client has received."""
        self._unread_cost -= len(self._lines.popleft()) + _MESSAGE_OVERHEAD
        self._notify()

    async def send(self, item: SessionMessage, /) -> None:
        """Queue a message from the SDK. Answers never wait, so cancelling cannot lose one."""
        message = item.message
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            if message.id is not None:
                await self._release(message.id)
        else:
            await self._wait_until(lambda: self._unread_cost < BUDGET)
        self._append(message)

    def send_notice(self, line: bytes) -> None:
        """Queue a line that is not a JSON-RPC message; drop it if the unread lines exceed the budget."""
        if self._unread_cost < BUDGET:
            self._append_line(line)

    async def aclose(self) -> None:
        """Wait until every line has been written."""
        await self._wait_until(lambda: not self._lines)

    async def __aenter__(self) -> Self:
        """Return self."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait until every line has been written."""
        await self.aclose()

    def _for_server(self, message: JSONRPCMessage, cost: int) -> SessionMessage:
        if not isinstance(message, JSONRPCRequest):
            return SessionMessage(message)
        self._served.setdefault(message.id, []).append((cost + _REQUEST_OVERHEAD, _is_short(message)))
        self._served_cost += cost + _REQUEST_OVERHEAD
        release = partial(self._release, message.id)
        return SessionMessage(message, ServerMessageMetadata(on_request_unanswered=release))

    def _append(self, message: JSONRPCMessage) -> None:
        line = encode(message)
        if len(line) > MAX_ANSWER_BYTES and isinstance(message, JSONRPCResponse | JSONRPCError):
            reason = (
                f"the answer would be {len(line):,} bytes, at most {MAX_ANSWER_BYTES:,} are sent; ask for less at once"
            )
            line = encode(error_response(INVALID_REQUEST, reason, message.id))
        self._append_line(line)

    def _append_line(self, line: bytes) -> None:
        self._lines.append(line)
        self._unread_cost += len(line) + _MESSAGE_OVERHEAD
        self._notify()

    async def _release(self, request_id: RequestId) -> None:
        """Release the cost of a request that has been answered or cancelled."""
        costs = self._served.get(request_id)
        if costs is None:
            return
        cost, short = costs.pop()
        self._served_cost -= cost
        self._short_requests -= short
        if not costs:
            del self._served[request_id]
        self._notify()

    def _drop(self, request_id: RequestId | None) -> bool:
        """Remove a held request; return whether it was found."""
        if request_id is None:
            return False
        coerced_id = coerce_request_id(request_id)
        for entry in self._held:
            message, cost = entry
            if isinstance(message, JSONRPCRequest) and coerce_request_id(message.id) == coerced_id:
                self._held.remove(entry)
                self._held_cost -= cost
                self._short_requests -= _is_short(message)
                self._notify()
                return True
        return False

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _is_short(message: JSONRPCMessage) -> bool:
    return isinstance(message, JSONRPCRequest) and message.method != "tools/call"
