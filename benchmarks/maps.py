"""Measure how well a map preserves neighbours, and its cost: ``python benchmarks/maps.py CORPUS.jsonl [--points N]``.

First, the trustworthiness (Venna and Kaski 2001; 1 if the ten nearest points on the map are near in meaning) of the map
and of the two main components, on up to 1,400 texts of a corpus in BEIR's layout. Then time and memory for many points,
which are small variations of those texts' vectors.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from machine import machine
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from mcp_server_embeddings import Engine, Settings
from mcp_server_embeddings.vectors.projection import Points, projected
from mcp_server_embeddings.vectors.scores import Vectors

_MAX_TEXTS = 1_400
_NEIGHBOURS = 10


def embed_corpus(corpus: Path) -> Vectors:
    """Embed the first texts of a corpus."""
    lines = corpus.read_text(encoding="utf-8").split("\n")[:_MAX_TEXTS]
    rows = [json.loads(line) for line in lines if line]
    texts = [f"{row.get('title', '')}\n{row['text']}".strip() for row in rows]
    with Engine(Settings()) as engine:
        return engine.embedder().embed(texts).vectors


def trust(vectors: Vectors, points: Points) -> float:
    """Return the trustworthiness by cosine."""
    return float(trustworthiness(vectors, points, n_neighbors=_NEIGHBOURS, metric="cosine"))


def measure_map(vectors: Vectors) -> Points:
    """Compute a map and print its cost."""
    wall, cpu = time.perf_counter(), time.process_time()
    points = projected(vectors)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{len(vectors):,} points: {wall:.1f} s, {cpu:.1f} s CPU, peak memory of the process {peak:,.0f} MB")
    return points


def main() -> None:
    """Print trustworthiness, then the cost for many points."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--points", type=int, default=100_000)
    options = parser.parse_args()
    print(machine())
    vectors = embed_corpus(options.corpus)
    points = measure_map(vectors)
    second = projected(vectors)
    components = PCA(2).fit_transform(vectors)
    print(f"trustworthiness {trust(vectors, points):.3f}, main components {trust(vectors, components):.3f}")
    print(f"the same twice: {np.array_equal(points, second)}")
    random = np.random.default_rng(0)
    picked = random.integers(len(vectors), size=options.points)
    measure_map(vectors[picked] + random.normal(0, 0.02, (options.points, vectors.shape[1])).astype(np.float32))


if __name__ == "__main__":
    main()
