"""OpenTelemetry spans of the SDK, without what clients wrote."""

from dataclasses import replace
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware
from mcp.shared.exceptions import MCPError

from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier
from mcp_server_embeddings.mcp_layer.prompts import served_prompts
from mcp_server_embeddings.tools.declaration import declared_tools


class TextFreeSpans:
    """The SDK's middleware for spans, shown only the names that the server itself gave, and no message of an error.

    The messages of errors repeat what a client sent, and its own names and ids may be anything. Spans are recorded
    only where the operator has set up the OpenTelemetry SDK.

    Args:
        spans: The SDK's middleware.
        server: Knows its methods.
    """

    def __init__(self, spans: ServerMiddleware[ChangeNotifier], server: Server[ChangeNotifier]) -> None:
        self._spans = spans
        self._server = server
        self._names = {*declared_tools(), *served_prompts(declared_tools())}

    async def __call__(self, ctx: ServerRequestContext[ChangeNotifier, Any], call_next: CallNext) -> HandlerResult:
        """Handle a message."""
        name = ctx.params.get("name") if ctx.params else None
        params = {"name": name} if name in self._names else {}
        shown = replace(ctx, params=params, request_id=None, method=self._method(ctx.method))
        raised: list[Exception] = []

        async def handle(_: object) -> HandlerResult:
            try:
                return await call_next(ctx)
            except MCPError as error:
                raised.append(error)
                raise MCPError(error.error.code, "") from None
            except Exception as error:  # noqa: BLE001 - raised again below
                raised.append(error)
                raise RuntimeError(type(error).__name__) from None

        try:
            return await self._spans(shown, handle)
        except (MCPError, RuntimeError):
            if raised:
                raise raised[0] from None
            raise

    def _method(self, method: str) -> str:
        known = self._server.get_request_handler(method) or method in ("initialize", "notifications/initialized")
        return method if known else "unknown"
