"""``mcp-server-embeddings token NAME``: create a token for HTTP."""

import argparse

from mcp_server_embeddings.cli.output import say
from mcp_server_embeddings.config import Settings


def run(_: Settings, options: argparse.Namespace) -> int:
    """Print a new token and its entry for the file of ``--tokens``.

    Raises:
        ConfigurationError: The name is invalid.
    """
    from mcp_server_embeddings.mcp_layer.http.tokens import new_token

    token, entry = new_token(options.name)
    say(
        f"The token of {options.name}, shown only now:", "", token, "", "Its entry for the file of --tokens:", "", entry
    )
    return 0
