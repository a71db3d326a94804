"""Paths given on the command line; giving a path allows the program to read it."""

import os
from pathlib import Path

from mcp_server_embeddings.reading.globs import is_pattern
from mcp_server_embeddings.reading.tables import split_source


def locate_path(name: str) -> tuple[str, Path] | None:
    """Return the absolute form of a path or pattern, and the folder to read it in; None if it does not exist.

    Args:
        name: A path or pattern relative to the current folder, possibly with a column: ``tickets.csv#message``.
    """
    source = str(Path.cwd() / name)
    path, _ = split_source(source, lambda path: Path(path).is_file())
    existing = Path(os.path.realpath(path))
    if not existing.exists() and is_pattern(path):
        existing = next(folder for folder in Path(path).parents if not is_pattern(str(folder)))
    if not existing.exists():
        return None
    return source, existing if existing.is_dir() else existing.parent
