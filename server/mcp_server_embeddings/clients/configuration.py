"""Select clients, and compute the changes that add the server to their files or remove it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from mcp_server_embeddings.clients.command import arguments_to_keep, is_own
from mcp_server_embeddings.clients.editors import EDITORS
from mcp_server_embeddings.clients.files import Change, ClientFile
from mcp_server_embeddings.clients.table import CLIENTS, Client, System
from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.errors import ClientFileError, ConfigurationError


def select_clients(names: Sequence[str], system: System) -> list[Client]:
    """Return the named clients; without names, those found on this machine.

    Raises:
        ConfigurationError: A name is unknown, or no client was found.
    """
    for name in names:
        if name not in CLIENTS:
            raise ConfigurationError(f"unknown client {name!r}; {nearest(name, CLIENTS)}")
    clients = [CLIENTS[name] for name in dict.fromkeys(names)] or find_clients(system)
    if not clients:
        raise ConfigurationError(f"no client was found on this machine; name one: {', '.join(CLIENTS)}")
    return clients


def find_clients(system: System) -> list[Client]:
    """Return the clients that seem to be on this machine: the file or its folder exists, or the program is on PATH."""
    return [client for client in CLIENTS.values() if _is_present(client, system)]


def installed(client: Client, path: Path, name: str, program: Sequence[str], arguments: Sequence[str]) -> Change:
    """Return the change that adds a server to a client's file.

    An existing entry of this program keeps all values except its command, and without ``arguments`` also its
    arguments. An entry of another program is replaced.

    Raises:
        ClientFileError: The file cannot be read or edited.
    """
    file = ClientFile.read(client, path)
    entry = file.entry(name)
    if not is_own(entry):
        return file.with_entry(name, client.entry([*program, *arguments]))
    return file.with_values(name, client.entry([*program, *(arguments or arguments_to_keep(entry))]))


def uninstalled(client: Client, path: Path, name: str) -> Change:
    """Return the change that removes a server from a client's file.

    Raises:
        ClientFileError: The file cannot be read or edited, or the entry starts another program.
    """
    file = ClientFile.read(client, path)
    entry = file.entry(name)
    if entry is not None and not is_own(entry):
        raise ClientFileError(f"{path} has another server under the name {name!r}; it is left as it is")
    return file.without(name)


def snippet(client: Client, name: str, command: Sequence[str]) -> str:
    """Return the text of a client's file that contains only the entry of a server."""
    return EDITORS[client.format].put("", (*client.keys, name), client.entry(command))


def _is_present(client: Client, system: System) -> bool:
    file = client.file(system)
    folder = file.parent if file.parent != Path(system.home) else file
    return folder.exists() or bool(client.program and shutil.which(client.program))
