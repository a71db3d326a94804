"""``mcp-server-embeddings doctor``: check the installation, the model, the data, servers and clients."""

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from mcp_server_embeddings.cli.output import console, safe, say, say_json
from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.clients.command import Launch, own_program, server_arguments
from mcp_server_embeddings.clients.configuration import find_clients
from mcp_server_embeddings.clients.table import System
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.doctor.data import examine_collections, examine_folder
from mcp_server_embeddings.doctor.installation import examine_installation
from mcp_server_embeddings.doctor.model import examine_model
from mcp_server_embeddings.doctor.report import Finding
from mcp_server_embeddings.doctor.servers import Servers, examine_processes
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.store import open_store

if TYPE_CHECKING:
    from rich.console import Console

_MARKS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "problem": ("PROBLEM", "bold red")}
"""The word and the colour for each state of a finding."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Run all checks, and print each finding as soon as it is available.

    Returns:
        The exit status: 1 if there is a problem, else 0.

    Raises:
        CallCancelledError: The user pressed Ctrl-C.
    """
    prepare(settings)
    command = Launch((*own_program(), *server_arguments(options)))
    findings = []
    terminal = console()
    try:
        for finding in _findings(settings, command):
            findings.append(finding)
            if not options.json:
                _print_finding(terminal, finding)
    except KeyboardInterrupt:
        raise CallCancelledError("interrupted") from None
    problems = [finding for finding in findings if finding.state == "problem"]
    if options.json:
        say_json({"ok": not problems, "findings": [finding.as_json() for finding in findings]})
    else:
        say("", f"{len(problems)} problem{'s' if len(problems) != 1 else ''}" if problems else "no problem found")
    return 1 if problems else 0


def _findings(settings: Settings, command: Launch) -> Iterator[Finding]:
    yield from examine_installation()
    yield from examine_folder(settings.data_dir)
    # Cached vectors would bypass the model that is to be checked.
    with Engine(replace(settings, no_cache=True)) as engine, closing(open_store(settings)) as store:
        yield from examine_model(engine)
        yield from examine_collections(store, engine.embedder() if engine.state() == "ready" else None)
    servers, system = Servers(), System.current()
    yield servers.examine_server(command)
    yield from examine_processes()
    for client in find_clients(system):
        yield from servers.examine_client(client, client.file(system))


def _print_finding(terminal: "Console", finding: Finding) -> None:
    from rich.text import Text

    word, colour = _MARKS[finding.state]
    line = Text.assemble((f"{word:8}", colour), (f"{safe(finding.subject)}: ", "bold"), safe(finding.found))
    terminal.print(line)
    if finding.advice:
        terminal.print(Text(f"{'':8}→ {safe(finding.advice)}"))
