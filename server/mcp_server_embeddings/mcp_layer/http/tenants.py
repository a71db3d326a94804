"""Whose requests are served: each tenant has collections, folders and a protocol server of its own."""

from dataclasses import dataclass

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier
from mcp_server_embeddings.mcp_layer.server import build_server
from mcp_server_embeddings.store import open_store

_MAX_SESSIONS = 256
"""Sessions of a tenant, where sessions are kept."""

_SESSION_SECONDS = 600.0
"""After these without a request a session ends."""

LOCAL = "local"
"""The one tenant of a server without tokens."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One for whom the server works.

    Attributes:
        name: In logs and metrics.
        settings: With its own folders.
        server: Answers its messages.
        sessions: Carries them over HTTP.
    """

    name: str
    settings: Settings
    server: Server[ChangeNotifier]
    sessions: StreamableHTTPSessionManager


def tenant(name: str, settings: Settings, service: Service) -> Tenant:
    """Return a tenant with the collections of the settings' data folder."""
    server = build_server(service, open_store(settings), settings)
    sessions = StreamableHTTPSessionManager(
        server,
        json_response=not settings.stateful,
        stateless=not settings.stateful,
        session_idle_timeout=_SESSION_SECONDS,
        max_sessions=_MAX_SESSIONS,
    )
    return Tenant(name, settings, server, sessions)
