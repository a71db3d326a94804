"""The listening address, and the host names that requests may use.

A web page can reach a server on the user's machine through a host name that resolves to it (DNS rebinding). So only
requests to known host names, and from pages of the same host names, are answered.
"""

import ipaddress
import socket
from collections.abc import Iterator

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class HostCheck:
    """Middleware that refuses requests with an unknown ``Host`` (421) or from another site's page (``Origin``, 403).

    Args:
        app: The application that serves the other requests.
        settings: The allowed host names and origins.
    """

    def __init__(self, app: ASGIApp, settings: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse a request."""
        refusal = await self._check.validate_request(Request(scope, receive))
        await (refusal or self._app)(scope, receive, send)


def allowed_names(settings: Settings) -> TransportSecuritySettings:
    """Return the allowed host names and origins: loopback, the listening address, and the user's host names.

    Raises:
        ConfigurationError: One of the user's is not a host name.
    """
    hosts = {_bracketed(settings.host), *_LOOPBACK, *map(_checked_host, settings.allowed_host)}
    patterns = sorted(pattern for host in hosts for pattern in _with_ports(host))
    origins = [f"{scheme}://{pattern}" for scheme in ("http", "https") for pattern in patterns]
    return TransportSecuritySettings(allowed_hosts=patterns, allowed_origins=origins)


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
        (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections.

    Raises:
        ConfigurationError: The address is in use, or is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host!r}, port {port} ({error.strerror or error}); give another --host or --port"
        ) from None
    # Accepted connections inherit this. asyncio sets it only on sockets whose protocol is TCP, and create_server leaves
    # the protocol at 0. Without it, each answer waited 40 ms for the client to acknowledge its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def endpoint_url(listener: socket.socket) -> str:
    """Return the URL of the MCP endpoint on a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{_bracketed(host)}:{port}/mcp"


def _bracketed(host: str) -> str:
    """Return an address as it appears in a URL, with brackets around IPv6."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _checked_host(name: str) -> str:
    if "/" in name or "*" in name:
        raise ConfigurationError(f"allowed-host {name!r} is not a host; give a name such as 'embeddings.example.com'")
    return name


def _with_ports(host: str) -> Iterator[str]:
    """Yield the patterns that the SDK compares: the host itself, and the host with any port unless it has one."""
    yield host
    if not host.rpartition("]")[2].count(":"):
        yield f"{host}:*"
