"""The entry of the command line, and the one place where errors become an exit status."""

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
        arguments: Without the program's name; the process's own by default.

    Returns:
        The exit status: 0, or 2 after a message on standard error.

    Example:
        >>> main(["models"])
        0
    """
    # No library in this process reports anything about its user.
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
    try:
        _check_clock()
        arguments = sys.argv[1:] if arguments is None else arguments
        options = parse(arguments)
        settings = settings_from(options, os.environ)
        run = _imported(options.run)
        # The program starts with the collector off (__main__); what was imported stays and need not be traversed.
        gc.freeze()
        gc.enable()
        return run(settings, options)
    except EmbeddingsError as error:
        sys.stderr.write(f"{DISTRIBUTION}: {error}\n")
        return 2


def _check_clock() -> None:
    """Raise ``ConfigurationError`` where Python cannot tell the time, without which no message can be logged."""
    try:
        time.time()
    except OverflowError:
        raise ConfigurationError(
            "the clock of this machine is set to after the year 2262, later than Python can count; set it right"
        ) from None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; the parsers of all commands are built only where a command or a mistake is in it.

    Raises:
        ConfigurationError: An argument is unknown, missing or malformed.
    """
    options = serving_options(arguments)
    if options is None:
        from mcp_server_embeddings.cli.commands import main_parser

        options = main_parser().parse_args(arguments)
    return options


def _imported(run: str) -> Run:
    """Import the function of a command, ``module:function`` in this package."""
    module, _, function = run.partition(":")
    command: Run = getattr(import_module(f"{__package__}.{module}"), function)
    return command
