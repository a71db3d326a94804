"""The HTTP server: from its start to its end."""

import logging
import socket
import sys
from types import FrameType

import uvicorn

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.addresses import is_loopback, listen, url
from mcp_server_embeddings.mcp_layer.http.app import build_app
from mcp_server_embeddings.program import DISTRIBUTION

_KEEP_ALIVE_SECONDS = 75
"""How long a connection stays open between two requests: longer than proxies keep theirs, so that they close first."""

_CLOSING_SECONDS = 1
"""How long sending the last answers may take."""

_SILENT = ("mcp.server.transport_security", "uvicorn")
"""Loggers that warn of what a client sent, in its words."""


def serve(settings: Settings) -> int:
    """Serve until a signal.

    Returns:
        The exit status: 128 plus the number of the signal.

    Raises:
        ConfigurationError: The settings do not allow it, or the address is taken.
    """
    if settings.tokens is None and not is_loopback(settings.host):
        raise ConfigurationError(
            f"host {settings.host!r} can be reached from other machines, and without tokens anyone there could read "
            "and write; give --tokens FILE, or listen on 127.0.0.1"
        )
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.ERROR)
    engine = Engine(settings)
    app = build_app(settings, Service(engine))
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
    )
    engine.start()
    server = _Server(config)
    server.run(sockets=[listener])
    return server.status


class _Server(uvicorn.Server):
    """Says where it serves, and ends on a signal with the status of it.

    Attributes:
        status: The exit status.
    """

    status = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        for listener in sockets or ():
            sys.stderr.write(f"{DISTRIBUTION}: serving at {url(listener)}\n")
        sys.stderr.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self.status = 128 + sig
        self.should_exit = True
