"""Limits on what is served at once, for each tenant and for the process; refusals say when to retry.

A request is admitted or refused before its body is read, so a refusal costs almost nothing.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 8_000_000
"""Limit of a request's body (413): two million characters of four bytes, the most that a call may send."""

MAX_BODIES_BYTES = 64_000_000
"""Limit of the bodies of all requests in progress (503); a parsed body takes several times its size."""

MAX_REQUESTS = 256
"""Limit of requests in progress (503): the number of threads for calls."""

MAX_STREAMS = 1_000
"""Limit of open streams (503). They only wait, so they cost nothing but memory."""

MAX_CONNECTIONS = 2_000
"""Limit of open connections (503); beyond it, a request is refused and its connection closed."""

TENANT_STREAMS = 64
"""Limit of open streams of a tenant with a token (429)."""

_BUSY_SECONDS = 1
"""``Retry-After`` in seconds when the server or the tenant is busy."""

_ENDING_SECONDS = 5
"""``Retry-After`` in seconds when the process is ending and another may take its place."""


class RequestRate:
    """A token bucket that holds the requests of one minute and is refilled continuously.

    Args:
        per_minute: Requests allowed per minute.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._tokens = float(per_minute)
        self._refilled = time.monotonic()

    def take(self) -> float:
        """Take one request from the bucket; return 0, or the seconds until one is available."""
        now, per_second = time.monotonic(), self._per_minute / 60
        self._tokens = min(self._per_minute, self._tokens + (now - self._refilled) * per_second)
        self._refilled = now
        if self._tokens < 1:
            return (1 - self._tokens) / per_second
        self._tokens -= 1
        return 0


@dataclass(slots=True)
class Load:
    """Counts of what is being served.

    Attributes:
        requests: Number of requests in progress, without streams.
        streams: Number of open streams.
        body_bytes: Size of the bodies of the requests in progress.
    """

    requests: int = 0
    streams: int = 0
    body_bytes: int = 0

    @contextmanager
    def serving(self, size: int, *, stream: bool) -> Iterator[None]:
        """Count a request while the block runs."""
        self.requests += not stream
        self.streams += stream
        self.body_bytes += size
        try:
            yield
        finally:
            self.requests -= not stream
            self.streams -= stream
            self.body_bytes -= size


@dataclass(slots=True)
class ProcessLoad(Load):
    """Counts of what the process is serving.

    Attributes:
        draining: Whether the process ends once it has answered the requests in progress.
        connections: Returns the number of open connections.
        open_streams: Cancel scopes of the open streams.
    """

    draining: bool = False
    connections: Callable[[], int] = lambda: 0
    open_streams: set[anyio.CancelScope] = field(default_factory=set)

    def drain(self) -> None:
        """Admit no more requests, and end the streams."""
        self.draining = True
        for stream in tuple(self.open_streams):
            stream.cancel()


@dataclass(frozen=True, slots=True)
class TenantLimits:
    """Limits and current load of one tenant.

    Attributes:
        requests: Maximum number of requests at a time.
        streams: Maximum number of streams at a time.
        rate: The rate limit; None for no limit.
        load: Counts of what is being served for the tenant.
    """

    requests: int = MAX_REQUESTS
    streams: int = MAX_STREAMS
    rate: RequestRate | None = None
    load: Load = field(default_factory=Load)

    def refusal(self, *, stream: bool) -> JSONResponse | None:
        """Return the answer to a request that exceeds a limit; None if the request is admitted."""
        if stream and self.load.streams >= self.streams:
            return _refusal(429, f"this token has {self.streams} streams open, its limit; close one")
        if not stream and self.load.requests >= self.requests:
            return _refusal(429, f"this token has {self.requests} requests in progress, its limit")
        seconds = self.rate.take() if self.rate else 0
        return _refusal(429, "this token has reached its limit of requests per minute", seconds) if seconds else None


class Admission:
    """Middleware that refuses requests over the limits with 429 or 503 and ``Retry-After``.

    Args:
        app: The application that serves admitted requests.
        load: Load of the process.
    """

    def __init__(self, app: ASGIApp, load: ProcessLoad) -> None:
        self._app = app
        self._load = load

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse a request."""
        limits: TenantLimits = scope["tenant"].limits
        size, stream = _declared_size(scope), is_stream(scope)
        scope["is_stream"] = stream
        refusal = self._refusal(size, stream=stream) or limits.refusal(stream=stream)
        if refusal:
            await refusal(scope, receive, send)
            return
        with limits.load.serving(size, stream=stream), self._load.serving(size, stream=stream):
            if stream:
                await self._serve_stream(scope, receive, send)
            else:
                await self._app(scope, receive, _with_retry_after(send))

    def _refusal(self, size: int, *, stream: bool) -> JSONResponse | None:
        load = self._load
        if load.draining:
            return _refusal(503, "this process is ending; send the request to another", _ENDING_SECONDS, close=True)
        if load.connections() > MAX_CONNECTIONS:
            return _refusal(503, f"over {MAX_CONNECTIONS:,} connections are open", close=True)
        if load.body_bytes + size > MAX_BODIES_BYTES:
            return _refusal(503, "the bodies of the requests in progress have reached the memory limit")
        if (load.streams >= MAX_STREAMS) if stream else (load.requests >= MAX_REQUESTS):
            return _refusal(503, "the server is busy")
        return None

    async def _serve_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.CancelScope() as stream:
            self._load.open_streams.add(stream)
            try:
                await self._app(scope, receive, send)
            finally:
                self._load.open_streams.discard(stream)
        if stream.cancelled_caught:
            with suppress(RuntimeError):  # the answer had not been started
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def is_stream(scope: Scope) -> bool:
    """Return whether an MCP request opens a stream of events that stays open."""
    return scope["method"] == "GET" or Headers(scope=scope).get("mcp-method") == "subscriptions/listen"


def _declared_size(scope: Scope) -> int:
    """Return an upper bound of the body's size in bytes, before it is read."""
    headers = Headers(scope=scope)
    declared = headers.get("content-length", "")
    if declared.isdecimal():
        return min(int(declared), MAX_BODY_BYTES)
    return MAX_BODY_BYTES if "transfer-encoding" in headers else 0


def _refusal(status: int, reason: str, seconds: float = _BUSY_SECONDS, *, close: bool = False) -> JSONResponse:
    """Return an answer in the format that the SDK uses for a missing token."""
    error = "rate_limited" if status == 429 else "unavailable"
    headers = {"Retry-After": str(math.ceil(seconds)), **({"Connection": "close"} if close else {})}
    return JSONResponse({"error": error, "error_description": reason}, status, headers)


def _with_retry_after(send: Send) -> Send:
    """Add ``Retry-After`` to the SDK's 503 answers, which lack it."""

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 503:
            MutableHeaders(scope=message).setdefault("Retry-After", str(_BUSY_SECONDS))
        await send(message)

    return send_with_header
