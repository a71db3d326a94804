"""Resume a session that the engine process has accepted before, without importing the rest of the program."""

import os
import socket
import sys

from mcp_server_embeddings.errors import UnsafePlaceError
from mcp_server_embeddings.relay.relay import Relay
from mcp_server_embeddings.relay.remembered import recall
from mcp_server_embeddings.relay.wire import claim_wire


def resume() -> None:
    """Serve the client if an engine process has accepted the same command before; otherwise return without effects."""
    session = recall()
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
    """Parse the options, which was skipped at first, and connect to the next engine process."""
    from mcp_server_embeddings.cli.main import parse
    from mcp_server_embeddings.cli.options import settings_from
    from mcp_server_embeddings.relay.starting import connected, engine_address, with_absolute_paths

    settings = with_absolute_paths(settings_from(parse(sys.argv[1:]), os.environ))
    return connected(engine_address(settings), settings)
