"""How fast collections are.

    python benchmarks/stored.py

It makes 100,000 short texts of random words, which is the same work for a search as any others, and measures on
an otherwise idle machine: opening, semantic and hybrid searches through the function behind the tool (encoding the
query included, every query new), and adding 10,000 texts beside the bare encoder on others of the same kind, in turns.
"""

import os
import tempfile
import time
from pathlib import Path
from statistics import quantiles

os.environ.update(HF_HUB_OFFLINE="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
from machine import machine, versions

from mcp_server_embeddings import (
    CollectionStore,
    Embedder,
    Engine,
    Reader,
    Settings,
    Sources,
    collection_add,
    open_store,
    search,
)
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.tools.retrieval import SearchMode

CHUNKS, ADDED, QUERIES, AT_ONCE = 100_000, 10_000, 200, 1_000
MODES: tuple[SearchMode, ...] = ("semantic", "keyword", "hybrid")
VOCABULARY = 30_000


def texts(count: int, words: int, seed: int) -> list[str]:
    """Texts of made-up words, as frequent as Zipf's law has them."""
    chances = 1 / np.arange(1, VOCABULARY + 1)
    drawn = np.random.default_rng(seed).choice(VOCABULARY, (count, words), p=chances / chances.sum())
    return [" ".join(f"word{number}" for number in row) for row in drawn]


def fill(store: CollectionStore, embedder: Embedder) -> None:
    """A collection of random vectors: encoding 100,000 texts would take minutes and change nothing measured here."""
    identity = embedder.identity()
    collection = store.open_or_create("large", identity.digest, identity.short, identity.dimensions)
    vectors = np.random.default_rng(0).standard_normal((CHUNKS, identity.dimensions)).astype(np.float32)
    written = texts(CHUNKS, 20, 0)
    for start in range(0, CHUNKS, AT_ONCE):
        collection.put(
            [
                NewDocument(str(i), written[i], {}, (NewChunk(0, len(written[i]), "", vectors[i]),))
                for i in range(start, start + AT_ONCE)
            ]
        )


def searches(store: CollectionStore, embedder: Embedder) -> None:
    """Milliseconds of searches, new queries in turns of the kinds."""
    spent: dict[SearchMode, list[float]] = {mode: [] for mode in MODES}
    for query in texts(QUERIES, 5, 1):
        for mode in MODES:
            began = time.perf_counter()
            search(embedder, f"{query} {mode}", source="large", mode=mode, sources=Sources(store, Reader(())))
            spent[mode].append(1_000 * (time.perf_counter() - began))
    for kind, times in spent.items():
        print(f"{kind}: median {quantiles(times, n=2)[0]:.1f} ms, 95th percentile {quantiles(times, n=20)[-1]:.1f} ms")


def additions(store: CollectionStore, embedder: Embedder) -> None:
    """Texts a second of adding over those of the bare encoder, in turns of 1,000."""
    adding = bare = 0.0
    written, others = texts(ADDED, 8, 2), texts(ADDED, 8, 3)
    for start in range(0, ADDED, AT_ONCE):
        began = time.perf_counter()
        collection_add(embedder, store, "added", written[start : start + AT_ONCE])
        between = time.perf_counter()
        embedder.embed(others[start : start + AT_ONCE], role="document")
        adding, bare = adding + between - began, bare + time.perf_counter() - between
    print(
        f"adding {ADDED:,} texts: {ADDED / adding:,.0f} a second, {bare / adding:.1%} of the bare encoder's throughput"
    )


def speed() -> None:
    """Everything about speed, in a data folder of its own."""
    with tempfile.TemporaryDirectory() as folder, Engine(Settings(data_dir=Path(folder), no_cache=True)) as engine:
        embedder, store = engine.embedder(), open_store(engine.settings)
        embedder.calibration("retrieval")
        fill(store, embedder)
        store.close()
        began = time.perf_counter()
        identity = embedder.identity()
        collection = store.open_for("large", identity.digest, identity.short)
        collection.nearest(np.ones((1, identity.dimensions), np.float32), 1)
        print(f"opening {CHUNKS:,} chunks: {time.perf_counter() - began:.2f} s")
        searches(store, embedder)
        additions(store, embedder)
        store.close()


def main() -> None:
    """Measure."""
    print(machine())
    print(versions())
    speed()


if __name__ == "__main__":
    main()
