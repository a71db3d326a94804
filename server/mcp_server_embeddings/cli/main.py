"""The entry of the command line, and the one place where errors become an exit status."""

import gc
import os
import sys
from collections.abc import Sequence

from mcp_server_embeddings.cli.commands import imported, main_parser
from mcp_server_embeddings.cli.options import settings_from
from mcp_server_embeddings.config import DISTRIBUTION
from mcp_server_embeddings.errors import EmbeddingsError


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
        options = main_parser().parse_args(sys.argv[1:] if arguments is None else arguments)
        settings = settings_from(options, os.environ)
        run = imported(options.run)
        # The program starts with the collector off (__main__); what was imported stays and need not be traversed.
        gc.freeze()
        gc.enable()
        return run(settings, options)
    except EmbeddingsError as error:
        sys.stderr.write(f"{DISTRIBUTION}: {error}\n")
        return 2
