"""The SDK's OpenTelemetry spans, without texts that clients sent."""

from dataclasses import replace
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware
from mcp.shared.exceptions import MCPError

from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier
from mcp_server_embeddings.mcp_layer.prompts import served_prompts
from mcp_server_embeddings.tools.declaration import declared_tools


class TextFreeSpans:
    """Wraps the SDK's middleware for spans, and shows it only names that the server defines and no error messages.

    Error messages repeat what a client sent, and the names and ids that a client chooses may contain any text. Spans
    are recorded only if the operator has set up the OpenTelemetry SDK.

    Args:
        spans: The SDK's middleware.
        server: The server, which knows its methods.
    """

    def __init__(self, spans: ServerMiddleware[ChangeNotifier], server: Server[ChangeNotifier]) -> None:
        self._spans = spans
        self._server = server
        self._names = {*declared_tools(), *served_prompts(declared_tools())}

    async def __call__(self, ctx: ServerRequestContext[ChangeNotifier, Any], call_next: CallNext) -> HandlerResult:
        """Handle a message."""
        name = ctx.params.get("name") if ctx.params else None
        params = {"name": name} if name in self._names else {}
        redacted = replace(ctx, params=params, request_id=None, method=self._method(ctx.method))
        raised: list[Exception] = []

        async def handle(_: object) -> HandlerResult:
            try:
                return await call_next(ctx)
            except MCPError as error:
                raised.append(error)
                raise MCPError(error.error.code, "") from None
            except Exception as error:  # noqa: BLE001 - re-raised below
                raised.append(error)
                raise RuntimeError(type(error).__name__) from None

        try:
            return await self._spans(redacted, handle)
        except (MCPError, RuntimeError):
            if raised:
                raise raised[0] from None
            raise

    def _method(self, method: str) -> str:
        known = self._server.get_request_handler(method) or method in ("initialize", "notifications/initialized")
        return method if known else "unknown"
