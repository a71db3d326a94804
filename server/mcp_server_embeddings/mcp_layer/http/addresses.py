"""Where the server listens, and the names by which it may be reached.

A page in a browser can reach a server on the user's machine through a name of its own that points there (DNS
rebinding), so requests are answered only under names that are known, and only for pages of the same names.
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
    """Refuses requests with an unknown ``Host`` (421) or of a page elsewhere (``Origin``, 403).

    Args:
        app: Serves the others.
        settings: The names.
    """

    def __init__(self, app: ASGIApp, settings: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse a request."""
        refusal = await self._check.validate_request(Request(scope, receive))
        await (refusal or self._app)(scope, receive, send)


def allowed_names(settings: Settings) -> TransportSecuritySettings:
    """Return the names under which the server answers: of this machine, the address it listens on, and the user's.

    Raises:
        ConfigurationError: One is not a name.
    """
    hosts = {_written(settings.host), *_LOOPBACK, *map(_checked, settings.allowed_host)}
    patterns = sorted(pattern for host in hosts for pattern in _with_ports(host))
    origins = [f"{scheme}://{pattern}" for scheme in ("http", "https") for pattern in patterns]
    return TransportSecuritySettings(allowed_hosts=patterns, allowed_origins=origins)


def is_loopback(host: str) -> bool:
    """Tell whether only programs on this machine can reach an address.

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
        ConfigurationError: The address is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host!r}, port {port} ({error.strerror or error}); give another --host or --port"
        ) from None
    # What it accepts inherits this. asyncio would set it, but not for sockets that were made so (their protocol is 0),
    # and each answer waited 40 ms for the client's acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url(listener: socket.socket) -> str:
    """Return the URL of a socket's MCP endpoint."""
    host, port = listener.getsockname()[:2]
    return f"http://{_written(host)}:{port}/mcp"


def _written(host: str) -> str:
    """Return an address as in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _checked(name: str) -> str:
    if "/" in name or "*" in name:
        raise ConfigurationError(f"allowed-host {name!r} is not a host; give a name such as 'embeddings.example.com'")
    return name


def _with_ports(host: str) -> Iterator[str]:
    """Yield what the SDK compares: a name alone, and with any port unless it has one."""
    yield host
    if not host.rpartition("]")[2].count(":"):
        yield f"{host}:*"
