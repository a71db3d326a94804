"""Every implementation of ``CollectionStore``, so that the same tests run with each of them."""

import os
from collections.abc import Callable
from pathlib import Path

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from postgres_server import open_postgres

OpenStore = Callable[[Path], CollectionStore]
"""A function that opens the store of a folder; each call acts as another process would."""

STORES: dict[str, OpenStore] = {"sqlite": lambda folder: open_store(Settings(data_dir=folder))}

if os.name == "posix":  # there is no PostgreSQL server for the tests elsewhere
    STORES["postgres"] = open_postgres
