"""Seconds and memory of the mathematics for large sets, each job in a process of its own.

    python benchmarks/sizes.py [JOB ...] [--scale 1.0]

The vectors are made (seeded): 384 dimensions, 25 themes of 40 subjects each, every tenth vector nearly a copy of the
one before. They are part of the peak (VmHWM): 154 MB for 100,000. Making them is not timed, imports are.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as in the server: its jobs use a thread for each core themselves

import numpy as np
from machine import machine, versions

from mcp_server_embeddings.vectors.blocks import nearest_neighbours, pairs_above, top_pairs
from mcp_server_embeddings.vectors.clustering import clustered, ward_tree
from mcp_server_embeddings.vectors.coverage import best_cover_of_vectors
from mcp_server_embeddings.vectors.duplicates import MAX_PAIRS, complete_groups_of_pairs, suggested_threshold
from mcp_server_embeddings.vectors.labelling import Probe, class_means, labelled
from mcp_server_embeddings.vectors.matching import matched
from mcp_server_embeddings.vectors.scores import Vectors

_DIMENSIONS = 384
_THEMES, _SUBJECTS = 25, 40
_AT_ONCE = 10_000
_WEAK, _RELATED, _CLOSE, _SAME = 0.178, 0.438, 0.646, 0.838
"""The edges of MiniLM's bands."""


def made(count: int, seed: int = 0) -> Vectors:
    """Unit rows in themes and subjects."""
    random = np.random.default_rng(0)
    themes = np.repeat(random.normal(size=(_THEMES, _DIMENSIONS)), _SUBJECTS, axis=0)
    subjects = (themes + random.normal(size=themes.shape)).astype(np.float32)
    random = np.random.default_rng([seed, 1])
    rows = np.empty((count, _DIMENSIONS), np.float32)
    for start in range(0, count, _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        part[:] = subjects[random.integers(0, len(subjects), len(part))]
        part += random.normal(size=part.shape).astype(np.float32) * np.float32(1.7)
        part[1::10] = part[: len(part[1::10]) * 10 : 10]
        part[1::10] += random.normal(size=part[1::10].shape).astype(np.float32) * np.float32(0.8)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def classify(rows: Vectors) -> str:
    """200 labels by their means."""
    found = labelled(rows, made(200, 2))
    return f"{int(found.sure(0.3, 0.02).sum()):,} labelled"


def classify_by_examples(rows: Vectors) -> str:
    """77 labels with 8 examples each, by the linear probe, which is fitted first."""
    examples, classes = made(77 * 8, 2), np.arange(77 * 8) % 77
    found = labelled(rows, class_means(examples, classes, 77), Probe(examples, classes))
    return f"{int(found.sure(0.3, 0.15).sum()):,} labelled"


def deduplicate(rows: Vectors) -> str:
    """Every pair, the suggested threshold, complete groups."""
    pairs = pairs_above(rows, None, _CLOSE, MAX_PAIRS)
    threshold = suggested_threshold(pairs.scores, _CLOSE, _SAME, pairs.complete_above)
    groups = complete_groups_of_pairs(pairs, len(rows), threshold)
    return f"{len(pairs):,} pairs, threshold {threshold:.3f}, {len(groups):,} groups"


def cluster(rows: Vectors) -> str:
    """The number is chosen."""
    found = clustered(rows, ward_tree(rows), None, weak=_WEAK, close=_CLOSE)
    return f"{len(found.groups)} clusters, {len(found.outliers):,} outliers"


def align(rows: Vectors) -> str:
    """As many on each side; half of the right side rewords the left."""
    other = made(len(rows), 3)
    other[::2] = rows[::2] + np.random.default_rng(4).normal(size=rows[::2].shape).astype(np.float32) * np.float32(0.02)
    pairs, exact = matched(rows, other, _RELATED)
    return f"{len(pairs):,} matches, {'exact' if exact else 'of the nearest'}"


def closest(rows: Vectors) -> str:
    """The 1,000 best pairs."""
    return f"from {top_pairs(rows, None, 1_000).scores[-1]:.3f}"


def neighbours(rows: Vectors) -> str:
    """50 of each."""
    return f"{int((nearest_neighbours(rows, None, 50, least=_WEAK).columns >= 0).sum()):,} neighbours"


def condense(rows: Vectors) -> str:
    """500 texts within a budget."""
    costs = np.random.default_rng(5).integers(5, 60, len(rows))
    choice = best_cover_of_vectors(rows, np.ones(len(rows)), costs, _WEAK, budget=15_000, count=500)
    return f"{len(choice.rows)} texts, coverage {choice.coverage:.3f}"


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes:
        run: Does it and says what came out.
        count: Vectors; on each side for ``align``.
        seconds: The bound it should meet on two cores; None where there is none.
    """

    run: Callable[[Vectors], str]
    count: int
    seconds: float | None


JOBS = {
    "classify": Job(classify, 100_000, 5),
    "classify by examples": Job(classify_by_examples, 100_000, 5),
    "deduplicate": Job(deduplicate, 100_000, 40),
    "cluster": Job(cluster, 100_000, 40),
    "align": Job(align, 20_000, 40),
    "closest pairs": Job(closest, 100_000, None),
    "neighbours": Job(neighbours, 100_000, None),
    "condense": Job(condense, 100_000, None),
}


def measure(name: str, scale: float) -> None:
    """Run one job in this process and print its row."""
    job = JOBS[name]
    rows = made(int(job.count * scale))
    wall, cpu = time.perf_counter(), time.process_time()
    result = job.run(rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    wanted = "" if job.seconds is None else f"≤ {job.seconds:g} s"
    print(f"| {name} | {len(rows):,} | {wall:.1f} s | {cpu:.1f} s | {wanted} | {peak:,.0f} MB | {result} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of vectors")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure(given.jobs[0], given.scale)
        return
    print(f"{machine()}; {versions()}\n")
    print("| job | vectors | time | CPU | wanted | peak | result |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name in given.jobs or JOBS:
        subprocess.run([sys.executable, __file__, name, "--child", "--scale", str(given.scale)], check=True)


if __name__ == "__main__":
    main()
