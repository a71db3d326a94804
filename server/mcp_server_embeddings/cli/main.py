"""The entry point of the command line, and the only place where errors become an exit status."""

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module

from mcp_server_embeddings.cli.options import serving_options, settings_from
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError, EmbeddingsError
from mcp_server_embeddings.program import DISTRIBUTION

Run = Callable[[Settings, argparse.Namespace], int]
"""Runs a command and returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The arguments without the program's name; ``sys.argv`` by default.

    Returns:
        The exit status: 0, or 2 after a message on standard error.

    Example:
        >>> main(["models"])
        0
    """
    # Keep libraries from sending telemetry.
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
    try:
        _check_clock()
        arguments = sys.argv[1:] if arguments is None else arguments
        options = parse(arguments)
        settings = settings_from(options, os.environ)
        run = _import_command(options.run)
        # __main__ disables garbage collection during startup. Imported objects stay alive, so exclude them from it.
        gc.freeze()
        gc.enable()
        return run(settings, options)
    except EmbeddingsError as error:
        sys.stderr.write(f"{DISTRIBUTION}: {error}\n")
        return 2


def _check_clock() -> None:
    """Raise ``ConfigurationError`` if Python cannot represent the current time, which logging requires."""
    try:
        time.time()
    except OverflowError:
        raise ConfigurationError(
            "the clock of this machine is set to after the year 2262, later than Python can count; set it right"
        ) from None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. The parsers of all commands are built only if it contains a command or a mistake.

    Raises:
        ConfigurationError: An argument is unknown, missing or malformed.
    """
    options = serving_options(arguments)
    if options is None:
        from mcp_server_embeddings.cli.commands import main_parser

        options = main_parser().parse_args(arguments)
    return options


def _import_command(run: str) -> Run:
    """Import the function of a command, given as ``MODULE:FUNCTION`` in this package."""
    module, _, function = run.partition(":")
    command: Run = getattr(import_module(f"{__package__}.{module}"), function)
    return command
