"""Start a session that the engine process knows already, before anything else of the program is imported."""

import os
import socket
import sys

from mcp_server_embeddings.errors import UnsafePlaceError
from mcp_server_embeddings.relay.relay import Relay
from mcp_server_embeddings.relay.remembered import remembered
from mcp_server_embeddings.relay.wire import claim_wire


def resume() -> None:
    """Serve the client if this very command was accepted before; return only if not, having touched nothing."""
    session = remembered()
    if session is None:
        return
    address, greeting = session
    try:
        engine = address.connect()
    except (OSError, UnsafePlaceError):
        return
    if engine is not None:
        Relay(claim_wire(), address, engine, greeting, _connect).run()


def _connect() -> socket.socket:
    """Connect to the next engine process by the options, whose parsing the first was spared."""
    from mcp_server_embeddings.cli.main import parse
    from mcp_server_embeddings.cli.options import settings_from
    from mcp_server_embeddings.relay.starting import connected, engine_address, with_absolute_paths

    settings = with_absolute_paths(settings_from(parse(sys.argv[1:]), os.environ))
    return connected(engine_address(settings), settings)
