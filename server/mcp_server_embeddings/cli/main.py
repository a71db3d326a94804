"""The commands, and the one place where a wrong start ends."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from mcp_server_embeddings.cli.options import Parser, add_options, settings_from
from mcp_server_embeddings.config import DISTRIBUTION, nearest
from mcp_server_embeddings.errors import ConfigurationError, OperatorError

_COMMANDS = ("serve", "pull", "models")

_DESCRIPTION = """\
A Model Context Protocol server that gives agents a sense of meaning: embeddings and similarity with a model
on this machine. Without a command it serves over stdio, as MCP clients start it.

commands:
  serve         serve over stdio (the default)
  pull MODEL    fetch a model for offline use; run again, it keeps finished files
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
        usage="%(prog)s [serve] [SETTINGS] | pull MODEL | models",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
    parser.add_argument("command", nargs="?", default="serve", help=argparse.SUPPRESS)
    parser.add_argument("operand", nargs="?", help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args(arguments)
    command, operand = str(options.command), options.operand
    if command not in _COMMANDS:
        raise ConfigurationError(f"unknown command {command!r}; {nearest(command, _COMMANDS)}")
    if (operand is not None) != (command == "pull"):
        raise ConfigurationError(
            "pull takes one model, as in `pull BAAI/bge-base-en-v1.5`"
            if command == "pull"
            else f"{command} takes no argument {operand!r}; see --help"
        )
    settings = settings_from(options, os.environ)
    # Each command is imported when it runs, so that none pays for what the others need.
    if command == "pull":
        from mcp_server_embeddings.cli import pull

        return pull.run(str(operand))
    if command == "models":
        from mcp_server_embeddings.cli import models

        return models.run()
    from mcp_server_embeddings.cli import serve

    return serve.run(settings)
