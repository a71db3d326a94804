"""``mcp-server-embeddings completion SHELL``: print a shell's completion script for the command line."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import shtab

from mcp_server_embeddings.cli.commands import CommandParser, MainParser, main_parser
from mcp_server_embeddings.clients.table import CLIENTS
from mcp_server_embeddings.config import DEVICES, ENGINES, Settings, nearest
from mcp_server_embeddings.errors import ConfigurationError

SHELLS = ("bash", "zsh", "fish")

_VALUES = {"device": DEVICES, "engine": ENGINES, "clients": tuple(CLIENTS), "shell": SHELLS}
"""The values of arguments by name, in addition to settings with literal types."""

_FILES = ("source", "left_source", "right_source", "paths", "folders", "file", "labels", "model", "reranker")
"""Names of arguments that may be paths, in addition to settings with path types."""


def run(_: Settings, options: argparse.Namespace) -> int:
    """Print the script.

    Raises:
        ConfigurationError: The shell is unknown.
    """
    if options.shell not in SHELLS:
        raise ConfigurationError(f"unknown shell {options.shell!r}; {nearest(options.shell, SHELLS)}")
    sys.stdout.write(shtab.complete(_with_completions(main_parser()), options.shell) + "\n")
    return 0


def _with_completions(parser: MainParser) -> MainParser:
    """Add to each command the options that are added only when it is chosen, and to each argument its completions."""
    literals = {
        field.name: get_args(field.type)
        for field in fields(Settings)
        if all(isinstance(value, str) for value in get_args(field.type))
    }
    paths = {field.name for field in fields(Settings) if Path in (field.type, *get_args(field.type))}
    for command in parser.commands.values():
        if isinstance(command, CommandParser):
            command.add_remaining_options()
    for command in (parser, *parser.commands.values()):
        for action in command._actions:  # noqa: SLF001 - argparse has no public access to them
            if values := literals.get(action.dest) or _VALUES.get(action.dest):
                action.choices = values
            elif action.dest in paths or action.dest in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined] # the attribute that shtab reads
    return parser
