"""Start the server of a bundle: ``uv run server.py [FOLDER...]``, with folders that may be read.

A host passes settings that nobody made as empty variables or as placeholders of the manifest; both mean the default.
"""

import os
import sys

from mcp_server_embeddings.__main__ import main

PREFIX = "MCP_EMBEDDINGS_"

for name, value in list(os.environ.items()):
    if name.startswith(PREFIX) and (not value.strip() or value.startswith("${")):
        del os.environ[name]
folders = [folder for folder in sys.argv[1:] if not folder.startswith("${")]
sys.argv[1:] = [f"--allow-dir={folder}" for folder in folders]
main()
