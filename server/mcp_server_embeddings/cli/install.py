"""``mcp-server-embeddings install [CLIENT...]`` and ``uninstall``: edit the files of MCP clients."""

import argparse
import re
import sys
from collections.abc import Callable, Iterable

from mcp_server_embeddings.cli.output import say
from mcp_server_embeddings.clients.command import own_program, server_arguments
from mcp_server_embeddings.clients.configuration import installed, select_clients, snippet, uninstalled
from mcp_server_embeddings.clients.files import Change
from mcp_server_embeddings.clients.table import Client, System
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ClientFileError, ConfigurationError
from mcp_server_embeddings.program import DISTRIBUTION

_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

_UV_CACHE = "archive-v0"
"""Part of the paths of programs that ``uvx`` runs from its cache, from which they can be removed at any time."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Add the server to clients.

    Returns:
        The exit status: 2 if a file could not be edited or the user declined a change.

    Raises:
        ConfigurationError: A client, the name or a setting is invalid.
    """
    name, system = _checked_name(options.name), System.current()
    clients, arguments = select_clients(options.clients, system), server_arguments(options)
    _check_tools(settings)
    program = own_program()
    if options.print:
        for client in clients:
            say(f"{client.title}: {client.file(system)}", "")
            say(*snippet(client, name, [*program, *arguments]).splitlines(), "")
        return 0
    if _UV_CACHE in program[0]:
        say(f"uvx may remove {program[0]}; to keep it, run `uv tool install {DISTRIBUTION}`, then install again")
    return _apply(
        clients,
        lambda client: installed(client, client.file(system), name, program, arguments),
        f"has {name!r} already",
        ask=not options.yes,
    )


def run_uninstall(_: Settings, options: argparse.Namespace) -> int:
    """Remove the server from clients.

    Returns:
        The exit status: 2 if a file could not be edited or the user declined a change.

    Raises:
        ConfigurationError: A client or the name is invalid.
    """
    name, system = _checked_name(options.name), System.current()
    return _apply(
        select_clients(options.clients, system),
        lambda client: uninstalled(client, client.file(system), name),
        f"has no {name!r}",
        ask=not options.yes,
    )


def _apply(clients: Iterable[Client], change: Callable[[Client], Change], unchanged: str, *, ask: bool) -> int:
    """Show and write the change of each client's file; an error in one does not prevent the others."""
    status = 0
    for client in clients:
        try:
            succeeded = _confirm_and_write(change(client), unchanged, ask=ask)
        except ClientFileError as error:
            sys.stderr.write(f"{DISTRIBUTION}: {client.title}: {error}\n")
            succeeded = False
        status = status if succeeded else 2
    return status


def _confirm_and_write(change: Change, unchanged: str, *, ask: bool) -> bool:
    """Show a change and write it if the user confirms; return False if a needed change was not written."""
    title = change.client.title
    if not change.needed:
        say(f"{title} {unchanged}: {change.path}")
        return True
    say(f"{title}:", *change.diff())
    if ask and not _confirmed(f"Write {change.path}?"):
        say(f"nothing was written for {title}")
        return False
    backup = change.write()
    copy = f"; the previous version is {backup}" if backup else ""
    say(f"{change.path} was written{copy}. Restart {title}", "")
    return True


def _confirmed(question: str) -> bool:
    """Ask for confirmation at the terminal; False without a terminal."""
    if not sys.stdin.isatty():
        say(f"{question} Nobody can answer here: --yes writes without asking")
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        say("")
        return False


def _checked_name(name: str) -> str:
    if not _SERVER_NAME.fullmatch(name):
        raise ConfigurationError(f"name {name!r} is not a server's; use up to 64 of a-z, A-Z, 0-9, - and _")
    return name


def _check_tools(settings: Settings) -> None:
    """Raise ``ConfigurationError`` for unknown tools now: when a client starts the server, nobody sees its error."""
    if settings.tools or settings.exclude_tools:
        from mcp_server_embeddings.mcp_layer.registry import served_tools

        served_tools(settings)
