"""``export``, ``import`` and ``reindex``: whole collections out, in, and under another model."""

import argparse
from pathlib import Path

from mcp_server_embeddings.cli.inputs import Watched, watched_work, with_model
from mcp_server_embeddings.cli.output import say, say_json, size
from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.store import Store, check_name
from mcp_server_embeddings.tools.collection_export import collection_export
from mcp_server_embeddings.tools.collection_file import check_suffix
from mcp_server_embeddings.tools.collection_import import CollectionImported, collection_import
from mcp_server_embeddings.tools.collection_reindex import CollectionReindexed, collection_reindex


def run_export(settings: Settings, options: argparse.Namespace) -> int:
    """Write the file; no model is loaded.

    Raises:
        CallerError: There is no such collection, or the file is refused.
        OperatorError: The collections cannot be read, or the file cannot be written.
    """
    name, file = options.operands
    prepare(settings)
    store, watched = Store(settings.data_dir), Watched()
    result = watched_work(
        lambda: collection_export(
            store, name, Path(file), overwrite=options.force, call=watched.call, report=watched.told
        ),
        watched,
    )
    store.close()
    if options.json:
        say_json(result)
    else:
        say(f"{name}: {result.size:,} documents, {result.chunks:,} vectors, {size(result.bytes)} in {result.file}")
    return 0


def run_import(settings: Settings, options: argparse.Namespace) -> int:
    """Take the documents in, and say whether their vectors were.

    Raises:
        CallerError: The name, the file or a line of it is refused; what was stored before stays.
        OperatorError: The model cannot be used, or the collections cannot be written.
    """
    name, file = options.operands
    check_name(name)
    check_suffix(Path(file))

    def work(embedder: Embedder, store: Store, watched: Watched) -> CollectionImported:
        return collection_import(embedder, store, name, Path(file), watched.told)

    result = with_model(settings, work)
    if options.json:
        say_json(result)
        return 0
    vectors = "the vectors of the file were taken over"
    if result.vectors == "embedded":
        why = f"the file's vectors are of {result.file_model}" if result.file_model else "the file has no vectors"
        vectors = f"the texts were embedded with {result.model}: {why}"
    say(
        f"{name}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} unchanged; {vectors}",
        f"{result.size:,} documents in {result.chunks:,} chunks now",
    )
    return 0


def run_reindex(settings: Settings, options: argparse.Namespace) -> int:
    """Embed all texts anew and swap.

    Raises:
        CallerError: There is no such collection, or it changes too fast.
        OperatorError: The model cannot be used, or the collections cannot be written.
    """
    (name,) = options.operands

    def work(embedder: Embedder, store: Store, watched: Watched) -> CollectionReindexed:
        return collection_reindex(embedder, store, name, watched.told)

    Store(settings.data_dir).record(name)  # a wrong name is told before the model is loaded
    result = with_model(settings, work)
    if options.json:
        say_json(result)
    elif result.reindexed:
        say(f"{name}: {result.size:,} documents in {result.chunks:,} chunks, from {result.before} to {result.model}")
    else:
        say(f"{name} has vectors of {result.model} already; nothing was done")
    return 0
