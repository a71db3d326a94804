"""``mcp-server-embeddings index NAME PATH...``: files into a collection."""

import argparse

from mcp_server_embeddings.cli.output import say_result
from mcp_server_embeddings.cli.paths import located
from mcp_server_embeddings.cli.session import Task, run_with_store
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import check_name
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.results import CollectionAddResult
from mcp_server_embeddings.tools.sources import Sources


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Index files, then print what became of them.

    Raises:
        CallerError: The name or a path is refused, or the collection is another model's.
        OperatorError: The model cannot be used, or the collections cannot be written.
    """
    check_name(options.name)
    paths, folders = [], []
    for name in options.paths:
        found = located(name)
        if found is None:
            raise InputError(f"{name!r} does not exist; give files, folders, or patterns such as 'docs/**/*.md'")
        paths.append(found[0])
        folders.append(found[1])

    def work(engine: Engine, store: CollectionStore, task: Task) -> CollectionAddResult:
        sources = Sources(store, Reader(folders, cancelled=task.call.raise_if_cancelled))
        embedder = engine.embedder(task.call)
        return collection_add(embedder, store, options.name, source=paths, id_field=options.id_field, sources=sources)

    result = run_with_store(settings, work)
    say_result(result, options.json, *_summary(result))
    return 0


def _summary(result: CollectionAddResult) -> list[str]:
    counts = {
        "added": result.added,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "removed": result.removed,
        "skipped": len(result.skipped),
    }
    lines = [
        ", ".join(f"{count:,} {what}" for what, count in counts.items()),
        f"{result.size:,} items now, under {result.model}",
    ]
    return [*lines, *(f"skipped {file.path}: {file.reason}" for file in result.skipped), *result.notes]
