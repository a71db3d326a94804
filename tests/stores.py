"""Every implementation of ``CollectionStore``: what each must do is tested over all of them."""

import os
from collections.abc import Callable
from pathlib import Path

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from postgres_server import open_postgres

OpenStore = Callable[[Path], CollectionStore]
"""Opens the store of a folder, each time as another process would."""

STORES: dict[str, OpenStore] = {"sqlite": lambda folder: open_store(Settings(data_dir=folder))}

if os.name == "posix":  # elsewhere the tests have no server
    STORES["postgres"] = open_postgres
