"""Measure time and memory of the tools and of their mathematics for large sets, each job in a new process.

    python benchmarks/sizes.py [JOB ...] [--scale 1.0]

The tools work on the rows of a CSV file whose vectors are already stored (``synthetic_table``). Jobs open the file
themselves; loading the model is not timed. The mathematics works on synthetic vectors: 384 dimensions, 25 themes of 40
subjects each, every tenth vector a near copy of the previous one. The peak (VmHWM) includes them: 154 MB for 100,000.
Their generation is not timed, imports are.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# As in the server, whose jobs use one thread for each core.
os.environ.update(HF_HUB_OFFLINE="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import synthetic_table
from machine import machine, peak_memory, versions

from mcp_server_embeddings import (
    Embedder,
    Engine,
    Example,
    Reader,
    Settings,
    Sources,
    align,
    classify,
    cluster,
    condense,
    deduplicate,
    open_store,
)
from mcp_server_embeddings.vectors.blocks import pairs_above, top_pairs
from mcp_server_embeddings.vectors.clustering import clustered, ward_tree
from mcp_server_embeddings.vectors.coverage import best_cover_of_vectors
from mcp_server_embeddings.vectors.duplicates import MAX_PAIRS, complete_groups_of_pairs, suggested_threshold
from mcp_server_embeddings.vectors.labelling import Probe, class_means, labelled
from mcp_server_embeddings.vectors.matching import matched
from mcp_server_embeddings.vectors.neighbours import nearest_neighbours
from mcp_server_embeddings.vectors.scores import Vectors

_DIMENSIONS = 384
_THEMES, _SUBJECTS = 25, 40
_BLOCK = 10_000
_WEAK, _RELATED, _CLOSE, _SAME = 0.178, 0.438, 0.646, 0.838
"""Lower edges of the default model's bands."""


def synthetic_vectors(count: int, seed: int = 0) -> Vectors:
    """Return unit rows grouped in themes and subjects."""
    random = np.random.default_rng(0)
    themes = np.repeat(random.normal(size=(_THEMES, _DIMENSIONS)), _SUBJECTS, axis=0)
    subjects = (themes + random.normal(size=themes.shape)).astype(np.float32)
    random = np.random.default_rng([seed, 1])
    rows = np.empty((count, _DIMENSIONS), np.float32)
    for start in range(0, count, _BLOCK):
        part = rows[start : start + _BLOCK]
        part[:] = subjects[random.integers(0, len(subjects), len(part))]
        part += random.normal(size=part.shape).astype(np.float32) * np.float32(1.7)
        part[1::10] = part[: len(part[1::10]) * 10 : 10]
        part[1::10] += random.normal(size=part[1::10].shape).astype(np.float32) * np.float32(0.8)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def classify_vectors(rows: Vectors) -> str:
    """Classify by the means of 200 labels."""
    assignment = labelled(rows, synthetic_vectors(200, 2))
    return f"{int(assignment.sure(0.3, 0.02).sum()):,} labelled"


def classify_by_examples_vectors(rows: Vectors) -> str:
    """Fit the linear probe on 77 labels with 8 examples each, and classify by it."""
    examples, classes = synthetic_vectors(77 * 8, 2), np.arange(77 * 8) % 77
    assignment = labelled(rows, class_means(examples, classes, 77), Probe(examples, classes))
    return f"{int(assignment.sure(0.3, 0.15).sum()):,} labelled"


def deduplicate_vectors(rows: Vectors) -> str:
    """Find all pairs, the suggested threshold and complete groups."""
    pairs = pairs_above(rows, None, _CLOSE, MAX_PAIRS)
    threshold = suggested_threshold(pairs.scores, _CLOSE, _SAME, pairs.complete_above)
    groups = complete_groups_of_pairs(pairs, len(rows), threshold)
    return f"{len(pairs):,} pairs, threshold {threshold:.3f}, {len(groups):,} groups"


def cluster_vectors(rows: Vectors) -> str:
    """Cluster; the number of clusters is chosen."""
    result = clustered(rows, ward_tree(rows), None, weak=_WEAK, close=_CLOSE)
    return f"{len(result.groups)} clusters, {len(result.outliers):,} outliers"


def align_vectors(rows: Vectors) -> str:
    """Match two sides of the same size; half of the right side are near copies of the left."""
    other = synthetic_vectors(len(rows), 3)
    other[::2] = rows[::2] + np.random.default_rng(4).normal(size=rows[::2].shape).astype(np.float32) * np.float32(0.02)
    pairs, exact = matched(rows, other, _RELATED)
    return f"{len(pairs):,} matches, {'exact' if exact else 'of the nearest'}"


def closest_pairs(rows: Vectors) -> str:
    """Find the 1,000 best pairs."""
    return f"from {top_pairs(rows, None, 1_000).scores[-1]:.3f}"


def neighbours(rows: Vectors) -> str:
    """Find 50 neighbours of each row."""
    return f"{int((nearest_neighbours(rows, None, 50, least=_WEAK).columns >= 0).sum()):,} neighbours"


def condense_vectors(rows: Vectors) -> str:
    """Select at most 500 texts within a budget."""
    costs = np.random.default_rng(5).integers(5, 60, len(rows))
    choice = best_cover_of_vectors(rows, np.ones(len(rows)), costs, _WEAK, budget=15_000, count=500)
    return f"{len(choice.rows)} texts, coverage {choice.coverage:.3f}"


@dataclass(frozen=True)
class Session:
    """Arguments of the tools.

    Attributes:
        embedder: The engine's embedder.
        sources: Sources with the tables.
        table: CSV file whose vectors are stored.
        other: Second such file.
        output: Empty folder for results.
    """

    embedder: Embedder
    sources: Sources
    table: Path
    other: Path
    output: Path

    def source(self, path: Path) -> str:
        """Return the column of texts as a source."""
        return f"{path}#message"


def use_classify(session: Session, save_as: str | None = None) -> str:
    """Classify by 200 labels of three words."""
    labels = [" ".join(map(synthetic_table.word, range(start, start + 3))) for start in range(0, 600, 3)]
    result = classify(
        session.embedder,
        labels=labels,
        source=session.source(session.table),
        sources=session.sources,
        save_as=save_as,
        output_dir=session.output,
    )
    return f"{sum(result.counts.values()) - result.counts.get('', 0):,} labelled"


def use_classify_by_examples(session: Session) -> str:
    """Classify by 77 labels with 8 examples each, given by their ids."""
    examples = [Example(id=index + 1, label=f"kind {index % 77}") for index in range(77 * 8)]
    source = session.source(session.table)
    result = classify(session.embedder, examples=examples, source=source, sources=session.sources)
    return f"{sum(result.counts.values()) - result.counts.get('', 0):,} labelled by {result.method}"


def use_deduplicate(session: Session) -> str:
    """Deduplicate with the suggested threshold."""
    result = deduplicate(session.embedder, source=session.source(session.table), sources=session.sources)
    return f"threshold {result.threshold:.3f}, {result.unique:,} unique"


def use_cluster(session: Session) -> str:
    """Cluster; the number of clusters is chosen."""
    result = cluster(session.embedder, source=session.source(session.table), sources=session.sources)
    return f"{len(result.clusters)} clusters, {result.outliers:,} outliers"


def use_align(session: Session) -> str:
    """Align two tables with the same texts in every other row."""
    left, right = session.source(session.table), session.source(session.other)
    result = align(session.embedder, left_source=left, right_source=right, sources=session.sources)
    return f"{result.counts.changed:,} changed, {result.counts.same:,} same"


def use_condense(session: Session) -> str:
    """Condense to 2,000 tokens."""
    source = session.source(session.table)
    result = condense(session.embedder, max_tokens=2_000, source=source, sources=session.sources)
    return f"{len(result.selected)} items, coverage {result.coverage:.3f}"


def use_open(session: Session) -> str:
    """Open an unchanged table."""
    session.sources.open(session.embedder, session.source(session.table))
    return "unchanged"


def use_open_touched(session: Session) -> str:
    """Open a table with a new modification time, whose content is then read and hashed."""
    os.utime(session.table)
    session.sources.open(session.embedder, session.source(session.table))
    return "unchanged, hashed"


def use_open_edited(session: Session) -> str:
    """Open a table with one more row: parse it, and compare every row with the stored rows."""
    with session.table.open("a", encoding="utf-8") as file:
        file.write("T999999,One more row was added after the others.,sales,2026-01-01\n")
    session.sources.open(session.embedder, session.source(session.table))
    return "one row added"


def use_store(session: Session) -> str:
    """Write the tables and store their vectors; every other text is the same in both."""
    count = int(session.table.stem)
    synthetic_table.write_table(session.table, synthetic_table.texts(count))
    both = zip(synthetic_table.texts(count), synthetic_table.texts(count, 1), strict=True)
    synthetic_table.write_table(session.other, (pair[index % 2] for index, pair in enumerate(both)))
    time.sleep(3)  # files this old count as unchanged while their times stay the same
    for path in (session.table, session.other):
        session.sources.open(session.embedder, session.source(path))
    return "stored"


@contextmanager
def on_tables(use: Callable[[Session], str], count: int, folder: Path) -> Iterator[Callable[[], str]]:
    """Prepare a tool with tables of ``count`` rows; the model is loaded."""
    settings = Settings(data_dir=folder / "data", no_cache=True)
    with Engine(settings, synthetic_table.load) as engine, tempfile.TemporaryDirectory() as output:
        embedder, store = engine.embedder(), open_store(settings)
        embedder.calibration("retrieval")
        sources = Sources(store, Reader([folder]))
        yield partial(
            use, Session(embedder, sources, folder / f"{count}.csv", folder / f"{count}-new.csv", Path(output))
        )
        store.close()


@contextmanager
def on_tables_again(use: Callable[[Session], str], count: int, folder: Path) -> Iterator[Callable[[], str]]:
    """Prepare a tool and run it once, so that its libraries are imported and the vectors in memory."""
    with on_tables(use, count, folder) as run:
        run()
        yield run


@contextmanager
def on_vectors(run: Callable[[Vectors], str], count: int, _folder: Path) -> Iterator[Callable[[], str]]:
    """Prepare a function with ``count`` vectors."""
    yield partial(run, synthetic_vectors(count))


@dataclass(frozen=True)
class Job:
    """A job to measure.

    Attributes:
        ready: Prepares the job, untimed; gives a function that runs it and returns a summary of its result.
        count: Number of items; for ``align``, on each side.
        target: Seconds it should take at most on two cores, or None.
    """

    ready: Callable[[int, Path], AbstractContextManager[Callable[[], str]]]
    count: int = 100_000
    target: float | None = None


TOOLS = {
    "classify": Job(partial(on_tables, use_classify), target=5),
    "classify by examples": Job(partial(on_tables, use_classify_by_examples), target=5),
    "classify by examples, again": Job(partial(on_tables_again, use_classify_by_examples), target=5),
    "classify, save_as": Job(partial(on_tables, partial(use_classify, save_as="labelled.csv"))),
    "deduplicate": Job(partial(on_tables, use_deduplicate), target=40),
    "cluster": Job(partial(on_tables, use_cluster), target=40),
    "align": Job(partial(on_tables, use_align), 20_000, 40),
    "condense": Job(partial(on_tables, use_condense)),
    "open": Job(partial(on_tables, use_open), target=4),
    "open, touched": Job(partial(on_tables, use_open_touched), target=4),
    "open, row added": Job(partial(on_tables, use_open_edited)),
}
"""The last one changes the table."""

JOBS = TOOLS | {
    "vectors: classify": Job(partial(on_vectors, classify_vectors), target=5),
    "vectors: classify by examples": Job(partial(on_vectors, classify_by_examples_vectors), target=5),
    "vectors: deduplicate": Job(partial(on_vectors, deduplicate_vectors), target=40),
    "vectors: cluster": Job(partial(on_vectors, cluster_vectors), target=40),
    "vectors: align": Job(partial(on_vectors, align_vectors), 20_000, 40),
    "vectors: closest pairs": Job(partial(on_vectors, closest_pairs)),
    "vectors: neighbours": Job(partial(on_vectors, neighbours)),
    "vectors: condense": Job(partial(on_vectors, condense_vectors)),
}


def measure(name: str, count: int, folder: Path) -> None:
    """Run one job in this process and print its row."""
    job = JOBS[name]
    with job.ready(count, folder) as run:
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = peak_memory(os.getpid()) / 1024**2
    target = "" if job.target is None else f"≤ {job.target:g} s"
    print(f"| {name} | {count:,} | {wall:.1f} s | {cpu:.1f} s | {target} | {peak:,.0f} MB | {result} |", flush=True)


def main() -> None:
    """Prepare the tables, and run each job in a new process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help="; ".join(JOBS))
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of items")
    parser.add_argument("--child", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.jobs or list(JOBS)
    counts = {name: int(JOBS[name].count * options.scale) for name in names}
    if options.child:
        measure(names[0], counts[names[0]], options.child)
        return
    print(f"{machine()}; {versions()}\n")
    print("| job | items | time | CPU | wanted | peak | result |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        for count in {counts[name] for name in names if name in TOOLS}:
            with on_tables(use_store, count, folder) as run:
                run()
        for name in names:
            command = [sys.executable, __file__, name, "--child", str(folder), "--scale", str(options.scale)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
