"""The entry point of ``mcp-server-embeddings`` and of ``python -m mcp_server_embeddings``."""

import gc
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    # Garbage collection during imports finds nothing and takes a quarter of the startup time.
    gc.disable()
    first = (*sys.argv[1:2], "serve")[0]
    if sys.platform != "win32" and (first == "serve" or first.startswith("-")):
        from mcp_server_embeddings.cli.resume import resume

        resume()
    from mcp_server_embeddings.cli.main import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
