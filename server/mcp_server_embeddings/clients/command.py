"""The command with which clients start a server: reading it from an entry, and building it for this installation."""

import argparse
import shutil
import sys
from dataclasses import dataclass, fields
from pathlib import Path, PureWindowsPath

from mcp_server_embeddings.config import Settings, flag, variable
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.program import DISTRIBUTION

_OWN_NAMES = (DISTRIBUTION, "mcp_server_embeddings")


@dataclass(frozen=True, slots=True)
class Launch:
    """The command and environment with which a client starts a server.

    Attributes:
        command: The program and its arguments.
        environment: Names and values of environment variables, in addition to the inherited ones.
    """

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def launch(entry: object) -> Launch | None:
    """Parse a server's entry in the format of any client; None if it starts no program, as for a remote server."""
    if not isinstance(entry, dict):
        return None
    command, arguments = entry.get("command"), entry.get("args")
    parts = [
        *(command if isinstance(command, list) else [command]),
        *(arguments if isinstance(arguments, list) else []),
    ]
    texts = tuple(part for part in parts if isinstance(part, str))
    if not texts or len(texts) < len(parts):
        return None
    variables = entry.get("env") or entry.get("environment")
    pairs = variables.items() if isinstance(variables, dict) else ()
    return Launch(texts, tuple((str(name), str(value)) for name, value in pairs))


def is_own(entry: object) -> bool:
    """Return whether an entry starts this program, directly or through another program such as uvx."""
    server = launch(entry)
    return server is not None and any(name in part for part in server.command for name in _OWN_NAMES)


def arguments_to_keep(entry: object) -> tuple[str, ...]:
    """Return the options in an entry that starts this program directly; empty if it is started in another way."""
    server = launch(entry)
    if server is None or PureWindowsPath(server.command[0]).stem != DISTRIBUTION:  # parses POSIX paths too
        return ()
    return server.command[1:]


def own_program() -> tuple[str, ...]:
    """Return the command that starts this installation from any folder.

    A link to the program, as created by uv and pipx, is not resolved: it survives an upgrade.
    """
    name = DISTRIBUTION + (".exe" if sys.platform == "win32" else "")
    for path in (Path(sys.argv[0]), Path(sys.executable).with_name(name)):
        if path.name == name and path.is_file():
            return (str(path.absolute()),)
    on_path = shutil.which(DISTRIBUTION)
    return (on_path,) if on_path else (sys.executable, "-m", "mcp_server_embeddings")


def server_arguments(options: argparse.Namespace) -> list[str]:
    """Return the server's options among those of a command, with absolute paths: clients run in other folders.

    Raises:
        ConfigurationError: An option is for HTTP, which clients do not start, or may contain a password.
    """
    arguments = []
    for field in fields(Settings):
        given = getattr(options, field.name, None)
        if given is None:
            continue
        if field.metadata["scope"] == "http" or field.name == "transport":
            raise ConfigurationError(
                f"{flag(field)} is for HTTP, and clients start the server over stdio; leave it out"
            )
        if field.metadata["secret"]:
            raise ConfigurationError(
                f"{flag(field)} may hold a password, which others can see in a command; give it as {variable(field)} "
                "under env of the entry"
            )
        for value in given if isinstance(given, list) else [given]:
            arguments += _argument(flag(field), field.type, str(value))
    return arguments


def _argument(option: str, kind: object, value: str) -> list[str]:
    if kind is bool:
        return [option]
    path = Path(value).expanduser()
    if kind in (Path, Path | None, tuple[Path, ...]) or (option == "--model" and path.is_dir()):
        value = str(path.absolute())
    return [f"{option}={value}"] if value.startswith("-") else [option, value]
