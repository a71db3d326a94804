"""Startup and shutdown of the HTTP server."""

import logging
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

import uvicorn

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.addresses import endpoint_url, is_loopback, listen
from mcp_server_embeddings.mcp_layer.http.app import build_app
from mcp_server_embeddings.mcp_layer.http.joined_writes import JoinedWritesProtocol
from mcp_server_embeddings.mcp_layer.http.limits import ProcessLoad
from mcp_server_embeddings.mcp_layer.stdio import leave
from mcp_server_embeddings.program import DISTRIBUTION

_KEEP_ALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than proxies keep theirs, so that the proxy closes it first."""

DRAIN_SECONDS = 30
"""How long requests in progress may take after a signal; a call takes at most slightly over 25 s."""

_CLOSING_SECONDS = 1
"""How long sending the last answers may take."""

_STUCK_SECONDS = 5
"""How long after that the process exits at the latest, even if something is stuck."""

_QUOTING_LOGGERS = ("mcp.server.transport_security", "uvicorn")
"""Loggers whose warnings quote what a client sent."""


def serve(settings: Settings) -> int:
    """Serve until a signal.

    Returns:
        The exit status: 128 plus the number of the signal.

    Raises:
        ConfigurationError: The settings are invalid for HTTP, or the address is in use.
    """
    if settings.tokens is None and not is_loopback(settings.host):
        raise ConfigurationError(
            f"host {settings.host!r} can be reached from other machines, and without tokens anyone there could read "
            "and write; give --tokens FILE, or listen on 127.0.0.1"
        )
    for name in _QUOTING_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    _raise_open_file_limit()
    engine = Engine(settings)
    load = ProcessLoad()
    app = build_app(settings, Service(engine, lambda: f"process {os.getpid()}, serving HTTP"), load)
    listener = listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        http=JoinedWritesProtocol,
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
    server = _Server(config, load)
    load.connections = lambda: len(server.server_state.connections)
    server.run(sockets=[listener])
    return server.status


class _Server(uvicorn.Server):
    """Prints its URL. After a signal, it completes the requests in progress and refuses others; a second one exits.

    Args:
        config: uvicorn's configuration.
        load: The load of the process.

    Attributes:
        status: The exit status.
    """

    def __init__(self, config: uvicorn.Config, load: ProcessLoad) -> None:
        super().__init__(config)
        self.status = 0
        self._load = load
        self._deadline = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and print the URL."""
        await super().startup(sockets)
        for listener in sockets or ():
            sys.stderr.write(f"{DISTRIBUTION}: serving at {endpoint_url(listener)}\n")
        sys.stderr.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the shutdown; ``on_tick`` does the rest, since this runs between two iterations of the event loop."""
        if self.status:
            leave(self.status)
        self.status = 128 + sig
        self._deadline = time.monotonic() + DRAIN_SECONDS
        timer = threading.Timer(DRAIN_SECONDS + _CLOSING_SECONDS + _STUCK_SECONDS, leave, args=(self.status,))
        timer.daemon = True
        timer.start()

    async def on_tick(self, counter: int) -> bool:
        """Return whether to shut down; called every tenth of a second."""
        if self.status:
            self._load.drain()
            self.should_exit = not self._load.requests or time.monotonic() > self._deadline
        return await super().on_tick(counter)


def _raise_open_file_limit() -> None:
    """Raise the limit of open files, often 1,024 and including connections, to the maximum that the system allows."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS refuses its own "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
