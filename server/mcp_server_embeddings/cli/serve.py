"""``mcp-server-embeddings``: serve over stdio, or HTTP."""

import argparse
import os
import socket
import sys
from typing import NoReturn

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import OperatorError
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.relay.wire import Wire, claim_wire


def run(settings: Settings, _: argparse.Namespace) -> int:
    """Serve one client until it disconnects; does not return, see ``leave``."""
    if settings.transport == "http":
        _serve_http(settings)
    wire = claim_wire()
    reason = "--engine-process own"
    if settings.engine_process == "shared":
        reason = _relay(wire, settings)
    _serve(wire, settings, reason)


def _serve_http(settings: Settings) -> NoReturn:
    """Serve until a signal ends the process; raise ``ConfigurationError`` if the settings or address are unusable."""
    from mcp_server_embeddings.cli.process import prepare, quick_imports

    prepare(settings)
    with quick_imports():
        from mcp_server_embeddings.mcp_layer.http.serving import serve
        from mcp_server_embeddings.mcp_layer.stdio import leave
    leave(serve(settings))


def _relay(wire: Wire, settings: Settings) -> str:
    """Serve through the shared engine process; return only if that is not possible, with the reason."""
    if not hasattr(socket, "AF_UNIX"):
        return "no Unix sockets here"
    from mcp_server_embeddings.relay.greeting import Greeting, session_settings
    from mcp_server_embeddings.relay.relay import Relay
    from mcp_server_embeddings.relay.remembered import command_checksum
    from mcp_server_embeddings.relay.starting import connected, engine_address, with_absolute_paths

    settings = with_absolute_paths(settings)
    greeting = Greeting(session_settings(settings), command_checksum()).line()
    try:
        address = engine_address(settings)
        engine = connected(address, settings)
    except (OSError, OperatorError) as error:
        sys.stderr.write(f"{DISTRIBUTION}: serving in a process of its own: {error}\n")
        return f"the shared one cannot be used: {error}"
    return Relay(wire, address, engine, greeting, lambda: connected(address, settings)).run()


def _serve(wire: Wire, settings: Settings, reason: str) -> NoReturn:
    """Serve in this process."""
    from mcp_server_embeddings.cli.process import prepare, quick_imports

    prepare(settings)
    with quick_imports():
        from mcp_server_embeddings.engine.engine import Engine
        from mcp_server_embeddings.mcp_layer.calls import Service
        from mcp_server_embeddings.mcp_layer.server import build_server
        from mcp_server_embeddings.mcp_layer.stdio import leave, serve
        from mcp_server_embeddings.store import open_store

        engine = Engine(settings)
        service = Service(engine, lambda: f"process {os.getpid()} of its own ({reason})")
        server = build_server(service, open_store(settings), settings)
    leave(serve(server, wire, after_first_answer=engine.start))
