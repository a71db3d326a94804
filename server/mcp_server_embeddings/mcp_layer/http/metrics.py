"""Metrics for Prometheus, and one log line per request: names, counts and times, never a text."""

import logging
import time
from collections.abc import Iterator
from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.http.limits import ProcessLoad
from mcp_server_embeddings.tools.declaration import declared_tools

_log = logging.getLogger(__name__)

_PATHS = frozenset({"/mcp", "/v1/embeddings", "/v1/rerank", "/v1/models", "/healthz", "/readyz", "/metrics"})
"""Paths that are counted by name; any other that a client requests is counted as ``other``."""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25)
"""Upper bounds of the histogram's buckets; a call takes at most slightly over 25 s."""

_PREFIX = "mcp_embeddings"


class Metrics:
    """The metrics of a process.

    Args:
        engine: The engine, whose queue and model are read at each scrape.
        load: The load of the process, read at each scrape.
    """

    def __init__(self, engine: Engine, load: ProcessLoad) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            f"{_PREFIX}_requests", "Requests answered", ["name", "path", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "From a request to the end of its answer, without streams",
            ["path"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.calls = Counter(
            f"{_PREFIX}_tool_calls", "Calls of tools", ["name", "tool", "outcome"], registry=self._registry
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_StateCollector(engine, load))

    async def page(self, _: Request) -> Response:
        """Return all metrics in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class _StateCollector(Collector):
    """Metrics whose current value is read at each scrape."""

    def __init__(self, engine: Engine, load: ProcessLoad) -> None:
        self._engine = engine
        self._load = load

    def collect(self) -> Iterator[Metric]:
        status = self._engine.status()
        gauges = {
            "requests_in_progress": ("Requests in progress, without streams", self._load.requests),
            "streams_open": ("Streams of events that are open", self._load.streams),
            "connections_open": ("Connections that are open", self._load.connections()),
            "queue_calls": ("Calls that wait for inference", status.queue.calls_waiting),
            "queue_inputs": ("Texts and windows that wait for inference", status.queue.pieces_waiting),
            "model_ready": ("Whether the model is in memory", float(status.state == "ready")),
        }
        for name, (description, value) in gauges.items():
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", description, value)
        counters = {
            "batches": ("Batches encoded since the model was loaded", status.queue.batches_done),
            "inputs": ("Texts and windows encoded since the model was loaded", status.queue.pieces_done),
        }
        for name, (description, value) in counters.items():
            yield CounterMetricFamily(f"{_PREFIX}_{name}", description, value)


class RequestMetrics:
    """Middleware that counts and logs requests.

    Args:
        app: The application that answers them.
        metrics: The metrics in which they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0
        path = scope["path"] if scope["path"] in _PATHS else "other"

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            self._record(scope, path, status, time.monotonic() - started)

    def _record(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        name = scope["tenant"].name if "tenant" in scope else ""
        self._metrics.requests.labels(name, path, str(status or "none")).inc()
        if not scope.get("is_stream"):
            self._metrics.seconds.labels(path).observe(seconds)
        _log.info("%s: %s in %.0f ms, %s", path, status or "no answer", 1000 * seconds, name or "-")


class CallMetrics:
    """SDK middleware that counts tool calls.

    Args:
        name: Name of the tenant.
        metrics: The metrics in which they are counted.
    """

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._metrics = metrics

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Handle a message."""
        if ctx.method != "tools/call":
            return await call_next(ctx)
        requested = ctx.params.get("name") if ctx.params else None
        tool, outcome = (requested if requested in declared_tools() else "unknown"), "error"
        try:
            result = await call_next(ctx)
            if isinstance(result, dict) and not result.get("isError"):
                outcome = "ok"
            return result
        finally:
            self._metrics.calls.labels(self._name, tool, outcome).inc()
