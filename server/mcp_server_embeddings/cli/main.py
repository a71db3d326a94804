"""Which command is run, and the one place where a wrong start ends."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import metadata

from mcp_server_embeddings.cli.commands import COMMANDS, Command
from mcp_server_embeddings.cli.options import Parser, add_options, settings_from
from mcp_server_embeddings.config import DISTRIBUTION, nearest
from mcp_server_embeddings.errors import ConfigurationError, EmbeddingsError

_DESCRIPTION = """\
A Model Context Protocol server that gives agents a sense of meaning: embeddings and similarity with a model
on this machine. Without a command it serves over stdio, as MCP clients start it.

commands:
"""

_EPILOG = "A command's own options follow its name; `COMMAND --help` lists them."


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
    except EmbeddingsError as error:
        sys.stderr.write(f"{DISTRIBUTION}: {error}\n")
        return 2


def _run(arguments: list[str]) -> int:
    command = _chosen(arguments)
    if command is None:
        return 0
    options = command.parse(arguments)
    settings = settings_from(options, os.environ)
    run = command.imported()
    # The program starts with the collector off (__main__); what was imported stays and need not be looked through.
    gc.freeze()
    gc.enable()
    return run(settings, options)


def _chosen(arguments: list[str]) -> Command | None:
    """The command that is asked for; None where help was, which is then printed.

    It is looked for first, because each has its own options.
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if options.command is None and options.help:
        parser.print_help()
        return None
    name = str(options.command or "serve")
    if name not in COMMANDS:
        if any(argument.startswith("-") for argument in unknown):
            parser.parse_args([argument for argument in unknown if argument.startswith("-")])  # names the nearest
        raise ConfigurationError(f"unknown command {name!r}; {nearest(name, COMMANDS)}")
    return COMMANDS[name]


def _parser() -> Parser:
    parser = Parser(
        prog=DISTRIBUTION,
        description=_DESCRIPTION + "\n".join(map(_listed, COMMANDS.values())),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s [COMMAND] [SETTINGS]",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this, or the help of a command, and exit")
    parser.add_argument("--version", action="version", version=f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    add_options(parser)
    return parser


def _listed(command: Command) -> str:
    return f"  {f'{command.name} {command.operands} ':<20}{command.summary}"
