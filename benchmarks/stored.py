"""Measure the speed of collections.

    python benchmarks/stored.py speed
    python benchmarks/stored.py freshness
    python benchmarks/stored.py million [--folder FOLDER]

``speed`` needs an otherwise idle machine. It stores 100,000 short texts of random words, which are the same work for a
search as real texts. It measures opening; searches of each mode through the function behind the tool, including the
encoding of the query, which is always new; and adding 10,000 texts, alternately with the bare encoder on similar texts.
``freshness`` stores 10,000 files with random vectors. It measures the check for changes if there are none, in a process
that has checked the files before and in one that has not, and the first search after each kind of change. ``million``
has 1,000,000 passages, which take a quarter of an hour to store (``--folder`` keeps them for the next run). It compares
searches of segments with searches of all vectors in memory, as smaller collections are searched, in turns.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles

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
from mcp_server_embeddings.store.records import NewChunk, NewDocument, Vector
from mcp_server_embeddings.store.sqlite.collection import SqliteCollection
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.tools.ingest_files import content_digest
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.vectors.quantized import candidates
from mcp_server_embeddings.vectors.scores import unit_rows

CHUNKS, ADDED, QUERIES, BATCH = 100_000, 10_000, 200, 1_000
MILLION, WAYS = 1_000_000, ("segments", "in memory")
FILES, CHECKS = 10_000, 15
MODES: tuple[SearchMode, ...] = ("semantic", "keyword", "hybrid")
VOCABULARY = 30_000


def texts(count: int, words: int, seed: int) -> list[str]:
    """Return texts of made-up words with frequencies by Zipf's law."""
    chances = 1 / np.arange(1, VOCABULARY + 1)
    drawn = np.random.default_rng(seed).choice(VOCABULARY, (count, words), p=chances / chances.sum())
    return [" ".join(f"word{number}" for number in row) for row in drawn]


def fill(store: CollectionStore, embedder: Embedder, count: int = CHUNKS) -> None:
    """Fill a collection with random vectors; encoding 100,000 texts would take minutes and not change the figures."""
    identity = embedder.identity()
    collection = store.open_or_create("large", identity.digest, identity.short, identity.dimensions)
    vectors = np.random.default_rng(0).standard_normal((count, identity.dimensions), np.float32)
    contents = texts(count, 20, 0)
    for start in range(0, count, BATCH):
        collection.put(
            [
                NewDocument(str(i), contents[i], {}, (NewChunk(0, len(contents[i]), "", vectors[i]),))
                for i in range(start, start + BATCH)
            ]
        )


def searches(store: CollectionStore, embedder: Embedder) -> None:
    """Print the milliseconds of searches with new queries, each mode in turn."""
    wall: dict[SearchMode, list[float]] = {mode: [] for mode in MODES}
    for query in texts(QUERIES, 5, 1):
        for mode in MODES:
            began = time.perf_counter()
            search(embedder, f"{query} {mode}", source="large", mode=mode, sources=Sources(store, Reader(())))
            wall[mode].append(1_000 * (time.perf_counter() - began))
    for mode, times in wall.items():
        print(f"{mode}: {percentiles(times)}")


def percentiles(times: Sequence[float]) -> str:
    """Format the median and the 95th percentile of milliseconds."""
    return f"median {quantiles(times, n=2)[0]:.1f} ms, 95th percentile {quantiles(times, n=20)[-1]:.1f} ms"


def additions(store: CollectionStore, embedder: Embedder) -> None:
    """Compare the throughput of adding with that of the bare encoder, in alternating batches of 1,000 texts."""
    adding = bare = 0.0
    added, others = texts(ADDED, 8, 2), texts(ADDED, 8, 3)
    for start in range(0, ADDED, BATCH):
        began = time.perf_counter()
        collection_add(embedder, store, "added", added[start : start + BATCH])
        between = time.perf_counter()
        embedder.embed(others[start : start + BATCH], role="document")
        adding, bare = adding + between - began, bare + time.perf_counter() - between
    print(
        f"adding {ADDED:,} texts: {ADDED / adding:,.0f} a second, {bare / adding:.1%} of the bare encoder's throughput"
    )


def speed() -> None:
    """Measure opening, searches and additions in a new data folder."""
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


def million(folder: Path, queries: int) -> None:
    """Compare searches of a million passages by segments and by all vectors in memory."""
    with Engine(Settings(data_dir=folder, no_cache=True)) as engine:
        embedder = engine.embedder()
        embedder.calibration("retrieval")
        stores: dict[str, CollectionStore] = {way: store_of(folder, way) for way in WAYS}
        if not any(record.name == "large" for record in stores["segments"].list()):
            began = time.perf_counter()
            fill(stores["segments"], embedder, MILLION)
            print(f"storing {MILLION:,} passages: {time.perf_counter() - began:.0f} s")
            stores["segments"].close()
        openings(folder)
        compare_ways(stores, embedder, queries)
        report_compared(stores["segments"], embedder)
        for store in stores.values():
            store.close()


def store_of(folder: Path, way: str) -> SqliteStore:
    """Open a store that searches segments, or one that keeps all vectors in memory, as for smaller collections."""
    return SqliteStore(folder) if way == "segments" else SqliteStore(folder, segment_rows=10 * MILLION)


def openings(folder: Path) -> None:
    """Print time and memory of the first search of a process, and of the same in a second concurrent process."""
    for way in WAYS:
        processes = []
        for _ in range(2):
            command = [sys.executable, __file__, "opening", "--folder", str(folder), "--way", way]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            print(f"opening {MILLION:,} passages, {way}: {process.stdout.readline().strip()}")
            processes.append(process)
        for process in processes:
            shared, own = in_memory(process.pid)
            print(f"one of two such processes: {shared:.0f} MB of segments, {own:.0f} MB of its own")
        for process in processes:
            process.communicate()


def opening(folder: Path, way: str) -> None:
    """Open the collection in this process, print its cost, and stay until standard input ends."""
    before = in_memory(os.getpid())[1]
    began = time.perf_counter()
    collection = store_of(folder, way).open("large")
    collection.nearest(np.ones((1, collection.record.dimensions), np.float32), 10)
    seconds = time.perf_counter() - began
    print(f"{seconds:.2f} s, {in_memory(os.getpid())[1] - before:.0f} MB of its own", flush=True)
    sys.stdin.read()


def in_memory(pid: int) -> tuple[float, float]:
    """Return the megabytes of a process, shared pages in proportion (PSS): of segment files, and of the rest."""
    of_segments = total = 0
    in_segment = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ", 1)[0]:
            in_segment = "/segments/" in line
        elif line.startswith("Pss:"):
            kilobytes = int(line.split()[1])
            total += kilobytes
            of_segments += kilobytes if in_segment else 0
    return of_segments / 1_000, (total - of_segments) / 1_000


def report_compared(store: CollectionStore, embedder: Embedder) -> None:
    """Print how many passages are compared by full vectors in a search for 10, and for 100 as in hybrid search."""
    collection = store.open("large")
    assert isinstance(collection, SqliteCollection)
    vectors = embedder.embed(texts(QUERIES, 5, 1), role="query").vectors
    no_others = np.empty(0, np.int64)
    with collection._reading() as database:  # noqa: SLF001
        snapshot = collection.snapshot(database)
        parts = [segment.part(None) for segment in snapshot.segments]
        for k in (10, 100):
            near = [candidates(parts, unit, k) for unit in unit_rows(vectors)]
            pairs = zip(near, vectors, strict=True)
            counts = [len(snapshot.compared(database, one, no_others, vector, k)[0]) for one, vector in pairs]
            print(f"compared by their vectors for the {k} nearest: median {median(counts):.0f}, most {max(counts):,}")


def compare_ways(stores: Mapping[str, CollectionStore], embedder: Embedder, queries: int) -> None:
    """Compare searches with new queries, each way in turn; print milliseconds and the number of equal results."""
    wall_times: dict[tuple[SearchMode, str], list[float]] = {(mode, way): [] for mode in MODES for way in stores}
    cpu_times: dict[tuple[SearchMode, str], list[float]] = {kind: [] for kind in wall_times}
    same, order = dict.fromkeys(MODES, 0), list(stores.items())
    for query in texts(queries, 5, 1):
        for mode in MODES:
            hits = []
            for way, store in order:
                sources = Sources(store, Reader(()))
                began, cpu_began = time.perf_counter(), time.process_time()
                found = search(embedder, f"{query} {mode}", source="large", mode=mode, top=10, sources=sources)
                wall_times[mode, way].append(1_000 * (time.perf_counter() - began))
                cpu_times[mode, way].append(1_000 * (time.process_time() - cpu_began))
                hits.append([(hit.id, hit.score) for hit in found.hits])
            same[mode] += hits[0] == hits[1]
            order.reverse()
    for kind, times in wall_times.items():
        print(f"{', '.join(kind)}: {percentiles(times)}; processor time: {percentiles(cpu_times[kind])}")
    print("the same 10 hits with the same scores:", ", ".join(f"{mode} {same[mode]} of {queries}" for mode in MODES))


def freshness() -> None:
    """Measure checks and searches of files in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve() / "texts"
        files = [root / f"{number // 100:02}" / f"{number % 100:02}.md" for number in range(FILES)]
        for path, text in zip(files, texts(FILES, 8, 4), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        time.sleep(3)  # files this old count as unchanged while their times stay the same
        with Engine(Settings(data_dir=Path(folder) / "data", no_cache=True)) as engine:
            embedder, store = engine.embedder(), open_store(engine.settings)
            embedder.calibration("retrieval")
            sources = Sources(store, Reader([root]))
            store_files(store, embedder, root, files)
            checks(embedder, sources)
            edits(embedder, sources, files)
            store.close()


def store_files(store: CollectionStore, embedder: Embedder, root: Path, files: Sequence[Path]) -> None:
    """Store files with random vectors, as if they had been indexed."""
    identity = embedder.identity()
    collection = store.open_or_create("files", identity.digest, identity.short, identity.dimensions)
    vectors = np.random.default_rng(0).standard_normal((len(files), identity.dimensions)).astype(np.float32)
    for start in range(0, len(files), BATCH):
        places = range(start, start + BATCH)
        collection.put([indexed_document(files[place], vectors[place]) for place in places])
    collection.keep_sources({str(root): "{}"})
    Sources(store, Reader([root])).open(embedder, "files")  # records sizes and times


def indexed_document(path: Path, vector: Vector) -> NewDocument:
    """Return a file as a document with one vector."""
    content = path.read_bytes()
    text = content.decode()
    chunks = (NewChunk(0, len(text), "", vector),)
    return NewDocument(str(path), text, {}, chunks, str(path), content_digest(content))


def checks(embedder: Embedder, sources: Sources) -> None:
    """Print the milliseconds of checks of unchanged files."""
    first, later = list[tuple[float, float]](), list[tuple[float, float]]()
    for _ in range(CHECKS):
        fresh = Sources(sources.store, sources.reader)
        for times in (first, later):
            began, cpu_began = time.perf_counter(), time.process_time()
            opened = fresh.open(embedder, "files")
            times.append((1_000 * (time.perf_counter() - began), 1_000 * (time.process_time() - cpu_began)))
            assert opened.fresh
    for kind, times in (("first in a process", first), ("later", later)):
        wall, cpu = (sorted(column) for column in zip(*times, strict=True))
        print(
            f"check of {FILES:,} unchanged files, {kind}: median {median(wall):.0f} ms, highest {wall[-1]:.0f} ms; "
            f"processor time: median {median(cpu):.0f} ms"
        )


def edits(embedder: Embedder, sources: Sources, files: Sequence[Path]) -> None:
    """Print the milliseconds of the search after each change; its hits must reflect the change."""

    def hits_after(query: str) -> list[str]:
        began = time.perf_counter()
        hits = search(embedder, query, source="files", sources=sources, top=1).hits
        print(f"search after {query.split()[0]}: {1_000 * (time.perf_counter() - began):.0f} ms")
        return [str(hit.id) for hit in hits]

    def key(path: Path) -> str:
        return f"{path.parent.name}/{path.name}"

    files[0].write_text("edited zyzzyva", encoding="utf-8")
    assert hits_after("edited zyzzyva") == [key(files[0])]
    moved = files[0].rename(files[0].with_name("moved.md"))
    assert hits_after("renamed zyzzyva") == [key(moved)]
    moved.unlink()
    assert hits_after("deleted zyzzyva") != [key(moved)]
    assert hits_after("nothing zyzzyva") != [key(moved)]


def main() -> None:
    """Run the chosen benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("speed", "freshness", "million", "opening"))
    parser.add_argument("--folder", type=Path, help="data folder for the million passages; kept after the run")
    parser.add_argument("--queries", type=int, default=QUERIES, help="number of searches of each mode in the million")
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.what == "opening":
        opening(options.folder, options.way)
        return
    print(machine(), versions(), sep="\n")
    if options.what == "million":
        with tempfile.TemporaryDirectory() as folder:
            million(options.folder or Path(folder), options.queries)
    elif options.what == "speed":
        speed()
    else:
        freshness()


if __name__ == "__main__":
    main()
