"""Check the data folder: free space, integrity of the databases, and whether stored vectors match their texts."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from mcp_server_embeddings.doctor.report import Finding, State, problem
from mcp_server_embeddings.engine.cache import CACHE_FILE
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.sqlite import ClosingConnection, connect
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import Chunk, CollectionRecord, passage_text
from mcp_server_embeddings.vectors.scores import Vectors, paired_cosines

_SAMPLE_SIZE = 20
"""Number of items of a collection whose texts are encoded again."""

_MINIMUM_COSINE = 0.99
"""Minimum cosine of two vectors of the same text: reduced precisions stay above 0.99 (docs/benchmarks.md)."""

_LOW_SPACE_BYTES = 1_000_000_000


def examine_folder(folder: Path) -> list[Finding]:
    """Report the location of the data folder, its free space, and the integrity of its databases."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return [problem("data folder", f"{folder} cannot be written", "choose another: --data-dir DIR")]
    free = shutil.disk_usage(existing).free
    state: State = "note" if free < _LOW_SPACE_BYTES else "ok"
    note = "" if folder.exists() else ", made at the first write"
    finding = Finding("data folder", state, f"{folder}{note}; {free / 1e9:.1f} GB free", figures={"free_bytes": free})
    return [finding, *(_examine_database(path) for path in sorted(folder.glob("*.sqlite")))]


def _examine_database(path: Path) -> Finding:
    """Run SQLite's integrity check of pages, their order, and indexes."""
    subject = f"database {path.name}"
    if path.name == CACHE_FILE:
        advice = f"delete {path}: it is only a cache"
    else:
        advice = (
            f"keep a copy of {path} and put a backup in its place; or `mcp-server-embeddings export NAME FILE "
            "--salvage` each collection, move the database away and `mcp-server-embeddings import NAME FILE`"
        )
    try:
        with closing(connect(path, "mode=ro", ClosingConnection, busy_seconds=5)) as database:
            (first, *_) = [str(row[0]) for row in database.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        return problem(subject, f"it cannot be read: {error}", advice)
    return problem(subject, f"it is damaged: {first}", advice) if first != "ok" else Finding(subject, "ok", "sound")


def examine_collections(store: CollectionStore, embedder: Embedder | None) -> Iterator[Finding]:
    """Encode a sample of each collection's texts again and compare the result with the stored vectors.

    Args:
        store: The collections.
        embedder: An embedder without a cache; None if the model cannot be used.
    """
    try:
        records = store.list()
    except EmbeddingsError as error:
        yield problem("collections", f"they cannot be read: {error}")
        return
    if not records:
        yield Finding("collections", "ok", "there are none yet")
    for record in records:
        try:
            yield _examine_collection(store, record, embedder)
        except EmbeddingsError as error:
            yield problem(f"collection {record.name}", f"it cannot be read: {error}")


def _examine_collection(store: CollectionStore, record: CollectionRecord, embedder: Embedder | None) -> Finding:
    subject, size = f"collection {record.name}", f"{record.documents:,} items"
    if embedder is None:
        return Finding(subject, "note", f"{size}; not compared, since the model cannot be used")
    if record.identity != embedder.identity().digest:
        advice = f"search it with that model, or `mcp-server-embeddings reindex {record.name}`"
        return Finding(subject, "note", f"{size} of another model, {record.model}", advice)
    with store.open(record.name).reading() as collection:
        chunks = _sample(collection)
        if not chunks:
            return Finding(subject, "ok", "it is empty")
        stored = collection.vectors([chunk.key for chunk in chunks])
    lowest = _lowest_cosine(chunks, stored, embedder)
    figures = {"items": record.documents, "compared": len(chunks), "lowest_cosine": round(lowest, 6)}
    if lowest >= _MINIMUM_COSINE:
        return Finding(subject, "ok", f"{size}; {len(chunks)} vectors match their texts", figures=figures)
    summary = f"a stored vector does not match its text: cosine {lowest:.3f}"
    return Finding(subject, "problem", summary, f"`mcp-server-embeddings reindex {record.name}`", figures)


def _sample(collection: Collection) -> Sequence[Chunk]:
    """Return one random chunk from each of some random items; the same ones on each call."""
    random, ids = Random(0), collection.items().ids  # noqa: S311 - not for secrets
    groups = [collection.chunks_of(item) for item in random.sample(ids, min(_SAMPLE_SIZE, len(ids)))]
    return [random.choice(chunks) for chunks in groups if chunks]


def _lowest_cosine(chunks: Sequence[Chunk], stored: Vectors, embedder: Embedder) -> float:
    texts = [passage_text(chunk.heading, chunk.text) for chunk in chunks]
    encoded = embedder.embed(texts, role="document").vectors
    return float(paired_cosines(stored, encoded).min())
