"""``mcp-server-embeddings engine``: serve the sessions of relays."""

import argparse
import logging
import os
import socket
import sys
from pathlib import Path

from mcp_server_embeddings.cli.process import LOG_FORMAT, prepare, quick_imports
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.relay.address import EngineAddress
from mcp_server_embeddings.relay.starting import engine_address, with_absolute_paths


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve sessions until there has been none for the idle time; does not return, see ``leave``."""
    settings = with_absolute_paths(settings)
    if options.listener is None:
        address = engine_address(settings)
        listener = _listen(address)
        prepare(settings)
    else:  # started by a relay
        listener = socket.socket(fileno=options.listener)
        address = EngineAddress.of(listener)
        from mcp_server_embeddings.mcp_layer.session_logs import LogFile

        prepare(settings, LogFile(Path(address.log_path)))
    _leave_working_directory()
    with quick_imports():
        from mcp_server_embeddings.engine.engine import Engine
        from mcp_server_embeddings.mcp_layer.calls import Service
        from mcp_server_embeddings.mcp_layer.session_logs import SessionHandler
        from mcp_server_embeddings.mcp_layer.shared_engine import SharedEngine
        from mcp_server_embeddings.mcp_layer.stdio import leave
        from mcp_server_embeddings.store import open_store

        sessions = SessionHandler()
        sessions.setFormatter(logging.Formatter(LOG_FORMAT))
        logging.getLogger().addHandler(sessions)
        idle = 60 * settings.idle_exit
        engine = SharedEngine(Service(Engine(settings)), open_store(settings), settings, listener, address, idle)
    leave(engine.run())


def _listen(address: EngineAddress) -> socket.socket:
    with address.lock():
        if address.connect() is not None:
            raise ConfigurationError("an engine process with these settings is running; relays use that")
        return address.listen()


def _leave_working_directory() -> None:
    """Change the working directory to the root, so that the first client's folder can be removed or unmounted."""
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
    os.chdir("/")
