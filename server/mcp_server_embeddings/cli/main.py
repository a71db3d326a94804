"""The commands, and the one place where a wrong start ends."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import metadata

from mcp_server_embeddings.cli.options import Parser, add_options, settings_from
from mcp_server_embeddings.config import DISTRIBUTION, Settings, nearest
from mcp_server_embeddings.errors import ConfigurationError, OperatorError

_OPERANDS = {"serve": "none", "pull": "one", "compile": "at most one", "models": "none"}
"""Each command, and how many models it takes after its name."""

_DESCRIPTION = """\
A Model Context Protocol server that gives agents a sense of meaning: embeddings and similarity with a model
on this machine. Without a command it serves over stdio, as MCP clients start it.

commands:
  serve         serve over stdio (the default)
  pull MODEL    fetch a model for offline use; run again, it keeps finished files
  compile [MODEL]
                convert a model ahead of time, so that the first start is as quick as every other
  models        list well-known models with sizes, licences and scores
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; the process's own by default.

    Returns:
        The exit status: 0, or 2 after a message on standard error.
    """
    # No library in this process reports anything about its user.
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    except OperatorError as error:
        sys.stderr.write(f"{DISTRIBUTION}: {error}\n")
        return 2


def _run(arguments: list[str]) -> int:
    parser = Parser(
        prog=DISTRIBUTION,
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [serve | pull MODEL | compile [MODEL] | models] [SETTINGS]",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
    parser.add_argument("command", nargs="?", default="serve", help=argparse.SUPPRESS)
    parser.add_argument("operand", nargs="?", help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args(arguments)
    command = str(options.command)
    _check_operand(command, options.operand)
    settings = settings_from(options, os.environ)
    if options.operand is not None:
        settings = replace(settings, model=str(options.operand))
    return _runner(command)(settings)


def _check_operand(command: str, operand: str | None) -> None:
    if command not in _OPERANDS:
        raise ConfigurationError(f"unknown command {command!r}; {nearest(command, _OPERANDS)}")
    if operand is None and _OPERANDS[command] == "one":
        raise ConfigurationError(f"{command} takes one model, as in `{command} BAAI/bge-base-en-v1.5`")
    if operand is not None and _OPERANDS[command] == "none":
        raise ConfigurationError(f"{command} takes no argument {operand!r}; see --help")


def _runner(command: str) -> Callable[[Settings], int]:
    """The command's function. Each is imported when it runs, so that none pays for what the others need."""
    if command == "pull":
        from mcp_server_embeddings.cli.pull import run
    elif command == "compile":
        from mcp_server_embeddings.cli.compile import run
    elif command == "models":
        from mcp_server_embeddings.cli.models import run
    else:
        from mcp_server_embeddings.cli.serve import run
    return run
