"""Find the engine process, or start one."""

import os
import socket
import sys
from dataclasses import fields, replace
from pathlib import Path

from mcp_server_embeddings.config import ENGINE_KEY, Settings, default, flag, variable
from mcp_server_embeddings.program import ENVIRONMENT_PREFIX
from mcp_server_embeddings.relay.address import EngineAddress, private_folder
from mcp_server_embeddings.relay.remembered import ENGINE_VARIABLES, checksum, database_variables, installation


def engine_address(settings: Settings) -> EngineAddress:
    """Return the address of the engine process for these settings, creating its folder.

    Raises:
        UnsafePlaceError: See ``private_folder``.
        OSError: The folder cannot be created.
    """
    values = [str(getattr(settings, field.name)) for field in fields(Settings) if field.metadata["scope"] == "engine"]
    variables = [os.environ.get(name) for name in (*ENGINE_VARIABLES, ENGINE_KEY)]
    values += map(str, database_variables() if settings.store else ())
    return EngineAddress(private_folder(), checksum(installation(), values, variables))


def connected(address: EngineAddress, settings: Settings) -> socket.socket:
    """Connect to the engine process, starting it if necessary. Concurrent relays start only one.

    The socket exists before the process has started and buffers what is sent until then.

    Raises:
        UnsafePlaceError: See ``EngineAddress.connect``.
        OSError: The process can be neither reached nor started.
    """
    connection = address.connect()
    if connection is not None:
        return connection
    with address.lock():
        connection = address.connect()  # another relay may have been first
        if connection is not None:
            return connection
        with address.listen() as listener:
            _start(address, settings, listener)
            connection = address.connect()
    if connection is None:
        raise OSError(f"{address.socket_path} vanished while the engine process was started")
    return connection


def with_absolute_paths(settings: Settings) -> Settings:
    """Return the settings with absolute paths, so that they mean the same in any working directory."""
    model = Path(settings.model).expanduser()
    return replace(
        settings,
        model=str(model.absolute()) if model.is_dir() else settings.model,
        data_dir=settings.data_dir.absolute(),
        cache_dir=settings.cache_dir.absolute(),
    )


def engine_options(settings: Settings) -> list[str]:
    """Return the command-line options for an engine process; settings of a session are sent in its greeting instead.

    Settings that may contain a password are excluded, since every user can read a command line: see
    ``engine_variables``.
    """
    return [
        flag(field) + ("" if field.type is bool else f"={value}")
        for field in fields(Settings)
        if field.metadata["scope"] != "session"
        and not field.metadata["secret"]
        and (value := getattr(settings, field.name)) != default(field)
    ]


def engine_variables(settings: Settings) -> dict[str, str]:
    """Return the environment for an engine process, with secret settings: only its user can read an environment."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name == ENGINE_KEY or not name.startswith(ENVIRONMENT_PREFIX)  # settings are passed as options
    }
    return inherited | {
        variable(field): value
        for field in fields(Settings)
        if field.metadata["secret"] and (value := getattr(settings, field.name))
    }


def _start(address: EngineAddress, settings: Settings, listener: socket.socket) -> None:
    """Start an engine process that inherits the listening socket and outlives this process."""
    # -P: a folder of the package's name in the client's working directory must not be imported instead.
    command = [sys.executable, "-P", "-m", "mcp_server_embeddings", "engine", f"--listener={listener.fileno()}"]
    import subprocess  # deferred: most relays find a running engine

    log = os.open(address.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        subprocess.Popen(  # noqa: S603 - this program
            [*command, *engine_options(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=engine_variables(settings),
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )
    finally:
        os.close(log)
