"""``export``, ``import`` and ``reindex``: write a collection to a file, read one, or embed it with another model."""

import argparse

from mcp_server_embeddings.cli.output import format_size, say_result
from mcp_server_embeddings.cli.session import Task, encoder_loader, run_with_store
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import check_name
from mcp_server_embeddings.tools.collection_export import CollectionExported, collection_export
from mcp_server_embeddings.tools.collection_file import check_suffix
from mcp_server_embeddings.tools.collection_import import CollectionImported, collection_import
from mcp_server_embeddings.tools.collection_reindex import CollectionReindexed, collection_reindex


def run_export(settings: Settings, options: argparse.Namespace) -> int:
    """Write a collection to a file; no model is loaded.

    Raises:
        CallerError: The collection does not exist, or the file is refused.
        OperatorError: The collections cannot be read, or the file cannot be written.
    """

    def work(_: Engine, store: CollectionStore, task: Task) -> CollectionExported:
        return collection_export(
            store,
            options.name,
            options.file,
            overwrite=options.force,
            salvage=options.salvage,
            call=task.call,
            report=task.report,
        )

    result = run_with_store(settings, work, load_model=False)
    counts = f"{result.size:,} items, {result.chunks:,} vectors, {format_size(result.bytes)}"
    lost = f"; {result.lost:,} items cannot be read" if result.lost else ""
    say_result(result, options.json, f"{result.collection}: {counts} in {result.file}{lost}")
    return 0


def run_import(settings: Settings, options: argparse.Namespace) -> int:
    """Store the documents of a file, and print whether its vectors were used.

    Raises:
        CallerError: The name, the file or one of its lines is refused; documents stored before it are kept.
        OperatorError: The model cannot be used, or the collections cannot be written.
    """
    check_name(options.name)
    check_suffix(options.file)

    def work(engine: Engine, store: CollectionStore, task: Task) -> CollectionImported:
        return collection_import(engine.embedder(task.call), store, options.name, options.file, task.report)

    with encoder_loader(options.scheduler) as load:
        result = run_with_store(settings, work, load=load)
    vectors = "the vectors of the file were taken over"
    if result.vectors == "embedded":
        why = f"the file's vectors are of {result.file_model}" if result.file_model else "the file has no vectors"
        vectors = f"the texts were embedded with {result.model}: {why}"
    say_result(
        result,
        options.json,
        f"{result.collection}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} unchanged; "
        f"{vectors}",
        f"{result.size:,} items in {result.chunks:,} passages now",
    )
    return 0


def run_reindex(settings: Settings, options: argparse.Namespace) -> int:
    """Embed all texts of a collection with the model of the settings, then replace the collection.

    Raises:
        CallerError: The collection does not exist, or changes too fast.
        OperatorError: The model cannot be used, or the collections cannot be written.
    """

    def work(engine: Engine, store: CollectionStore, task: Task) -> CollectionReindexed:
        return collection_reindex(engine.embedder(task.call), store, options.name, task.report)

    with encoder_loader(options.scheduler) as load:
        result = run_with_store(settings, work, collection=options.name, load=load)
    name, after = result.collection, result.model
    summary = f"{name} has vectors of {after} already; nothing was done"
    if result.reindexed:
        summary = f"{name}: {result.size:,} items in {result.chunks:,} passages, from {result.before} to {after}"
    say_result(result, options.json, summary)
    return 0
