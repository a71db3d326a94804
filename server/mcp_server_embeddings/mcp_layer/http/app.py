"""The HTTP application: the endpoints for tenants, and health checks and metrics for the operator."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http import openai_api
from mcp_server_embeddings.mcp_layer.http.addresses import HostCheck, allowed_names
from mcp_server_embeddings.mcp_layer.http.disconnects import cancel_on_disconnect
from mcp_server_embeddings.mcp_layer.http.limits import MAX_BODY_BYTES, Admission, ProcessLoad, is_stream
from mcp_server_embeddings.mcp_layer.http.metrics import CallMetrics, Metrics, RequestMetrics
from mcp_server_embeddings.mcp_layer.http.spans import TextFreeSpans
from mcp_server_embeddings.mcp_layer.http.tenants import LOCAL, Tenant, local_tenant, token_tenants
from mcp_server_embeddings.mcp_layer.http.tokens import METRICS, Entry, TokenVerifier, read_tokens


def build_app(settings: Settings, service: Service, load: ProcessLoad) -> Starlette:
    """Return the application.

    Args:
        settings: Settings of the process.
        service: The state that all tenants share.
        load: Counts of what is being served.

    Raises:
        ConfigurationError: The settings or the file of tokens are invalid.
    """
    entries = None if settings.tokens is None else read_tokens(settings.tokens)
    tenants = local_tenant(settings, service) if entries is None else token_tenants(entries, settings, service)
    metrics, probes = Metrics(service.engine, load), _Probes(service.engine, load)
    for tenant in tenants.values():
        _add_server_middleware(tenant, metrics)
    host_check = Middleware(HostCheck, settings=allowed_names(settings))
    middleware = [
        host_check,
        *_authentication(entries),
        Middleware(TenantMiddleware, tenants=tenants),
        Middleware(Admission, load=load),
        Middleware(RequestBodyLimitMiddleware, max_body_size=MAX_BODY_BYTES),
    ]
    routes = [
        Route("/healthz", probes.alive),
        Route("/readyz", probes.ready),
        Route("/metrics", metrics.page, middleware=[host_check, *_authentication(entries, METRICS)]),
        Mount("", routes=_tenant_routes(settings, service), middleware=middleware),
    ]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for tenant in tenants.values():
                await stack.enter_async_context(tenant.sessions.run())
            yield
        service.close()

    return Starlette(routes=routes, middleware=[Middleware(RequestMetrics, metrics=metrics)], lifespan=lifespan)


def _tenant_routes(settings: Settings, service: Service) -> list[BaseRoute]:
    """Return the routes for tenants, all behind tokens, limits and metrics.

    Their requests have the tenant in ``request.scope["tenant"]``.
    """
    methods = ["GET", "POST", "DELETE"] if settings.stateful else ["POST"]
    return [Route("/mcp", _McpEndpoint(), methods=methods), *openai_api.routes(service)]


def _authentication(entries: Mapping[str, Entry] | None, *scopes: str) -> list[Middleware]:
    """Return the middleware that refuses requests without a token of these scopes (401, 403)."""
    if entries is None:
        return []
    return [
        Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(TokenVerifier(entries))),
        Middleware(RequireAuthMiddleware, required_scopes=list(scopes)),
    ]


def _add_server_middleware(tenant: Tenant, metrics: Metrics) -> None:
    """Count the tool calls of a tenant, and remove the texts that it sends from spans."""
    server = tenant.server
    (spans,) = server.middleware
    server.middleware[:] = [TextFreeSpans(spans, server), CallMetrics(tenant.name, metrics)]


@dataclass(frozen=True, slots=True)
class _Probes:
    """Health checks for a supervisor, which need no token and accept any ``Host``, since they reveal nothing else."""

    engine: Engine
    load: ProcessLoad

    async def alive(self, _: Request) -> PlainTextResponse:
        """Answer, which shows that the process is alive."""
        return PlainTextResponse("ok\n")

    async def ready(self, _: Request) -> PlainTextResponse:
        """Return whether requests should be sent here: after the model has been loaded, until the process drains.

        A model that was unloaded when idle counts as ready, since the next call loads it again.
        """
        state = "draining" if self.load.draining else self.engine.state()
        return PlainTextResponse(f"{state}\n", 200 if state in ("ready", "idle") else 503)


class TenantMiddleware:
    """Middleware that puts the tenant of a request into its scope.

    Args:
        app: The application that serves the request.
        tenants: The tenants, by name.
    """

    def __init__(self, app: ASGIApp, tenants: Mapping[str, Tenant]) -> None:
        self._app = app
        self._tenants = tenants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        user = scope.get("user")
        scope["tenant"] = self._tenants[LOCAL if user is None else user.username]
        await self._app(scope, receive, send)


class _McpEndpoint:
    """Passes requests to the SDK."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant: Tenant = scope["tenant"]
        serve: ASGIApp = tenant.sessions.handle_request
        if _cancels_on_disconnect(scope):
            serve = cancel_on_disconnect(serve)
        await serve(scope, receive, send)


def _cancels_on_disconnect(scope: Scope) -> bool:
    """Return whether closing the connection cancels a request.

    It does in stateless protocol versions, and must not in those with the initialize handshake. The SDK itself watches
    the connections of streams.
    """
    version = Headers(scope=scope).get(MCP_PROTOCOL_VERSION_HEADER)
    return version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS and not is_stream(scope)
