"""The HTTP application: the MCP endpoint, and what watches over it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.addresses import HostCheck, allowed_names
from mcp_server_embeddings.mcp_layer.http.tenants import LOCAL, Tenant, local_tenant, tenants_of
from mcp_server_embeddings.mcp_layer.http.tokens import Verifier, read_tokens


def build_app(settings: Settings, service: Service) -> Starlette:
    """Return the application.

    Raises:
        ConfigurationError: The settings do not allow it.
    """
    guards = [Middleware(HostCheck, settings=allowed_names(settings))]
    if settings.tokens is None:
        tenants = local_tenant(settings, service)
    else:
        entries = read_tokens(settings.tokens)
        tenants = tenants_of(entries, settings, service)
        backend = BearerAuthBackend(Verifier(entries))
        guards += [Middleware(AuthenticationMiddleware, backend=backend), Middleware(RequireAuthMiddleware, [])]
    guards.append(Middleware(Identified, tenants=tenants))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for each in tenants.values():
                await stack.enter_async_context(each.sessions.run())
            yield
        service.close()

    return Starlette(routes=[Mount("", routes=_routes(settings), middleware=guards)], lifespan=lifespan)


def _routes(settings: Settings) -> list[BaseRoute]:
    """Return the routes of tenants."""
    methods = ["GET", "POST", "DELETE"] if settings.stateful else ["POST"]
    return [Route("/mcp", _serve_mcp_app, methods=methods)]


class Identified:
    """Puts the tenant whose request it is into the scope.

    Args:
        app: Serves it.
        tenants: By name.
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
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant: Tenant = scope["tenant"]
        await tenant.sessions.handle_request(scope, receive, send)


_serve_mcp_app = _McpEndpoint()
