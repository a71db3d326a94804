"""``mcp-server-embeddings index NAME PATH...``: files into a collection."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mcp_server_embeddings.cli.output import say_result
from mcp_server_embeddings.cli.session import Task, run_with_store
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.globs import is_pattern
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import check_name
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.collection_results import CollectionAddResult


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Index files, then print what became of them.

    Raises:
        CallerError: The name or a path is refused, or the collection is another model's.
        OperatorError: The model cannot be used, or the collections cannot be written.
    """
    check_name(options.name)
    paths = [str(Path.cwd() / path) for path in options.paths]
    folders = _folders(options.paths, paths)

    def work(embedder: Embedder, store: CollectionStore, task: Task) -> CollectionAddResult:
        reader = Reader(folders, cancelled=task.call.raise_if_cancelled)
        return collection_add(embedder, store, options.name, paths=paths, field=options.field, reader=reader)

    result = run_with_store(settings, work)
    say_result(result, options.json, *_summary(result))
    return 0


def _folders(names: Sequence[str], paths: Sequence[str]) -> list[Path]:
    """Return the folders of the paths: naming a path on the command line allows reading it."""
    folders = []
    for name, path in zip(names, paths, strict=True):
        real = Path(os.path.realpath(path))
        if not real.exists() and is_pattern(path):
            real = next(folder for folder in Path(path).parents if not is_pattern(str(folder)))
        if not real.exists():
            raise InputError(f"{name!r} does not exist; give files, folders, or patterns such as 'docs/**/*.md'")
        folders.append(real if real.is_dir() else real.parent)
    return folders


def _summary(result: CollectionAddResult) -> list[str]:
    counts = {
        "added": result.added,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "removed": result.removed,
        "skipped": result.skipped_count,
    }
    lines = [
        f"{result.collection}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()),
        f"{result.size:,} documents in {result.chunks:,} chunks now, under {result.model}",
    ]
    if result.ignored:
        lines.append(f"{result.ignored:,} files or folders ignored: hidden, or in .gitignore")
    lines += [f"skipped {file.path}: {file.why}" for file in result.skipped]
    if result.skipped_count > len(result.skipped):
        lines.append(f"and {result.skipped_count - len(result.skipped):,} more skipped")
    return lines
