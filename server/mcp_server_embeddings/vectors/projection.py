"""Project vectors onto a plane for display."""

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import UNWATCHED, Watch
from mcp_server_embeddings.vectors.scores import Vectors, unit_rows

Points = NDArray[np.float32]
"""Shape ``(n, 2)``, each column from 0 to 1."""

_DIMENSIONS = 50
"""Number of main components in which neighbours are searched, as in van der Maaten and Hinton (2008)."""

_MIN_POINTS = 8
"""Minimum number of points for t-SNE; fewer have no neighbourhoods, so their main components are shown."""

_PERPLEXITY = 30
"""Effective number of neighbours of each point: the usual value."""

_EARLY_ITERATIONS, _ITERATIONS = 250, 500
"""Iterations with and without early exaggeration: the usual numbers."""

_SMALL_POINTS = 3_000
"""Up to this many points, neighbours are exact, forces are summed over a tree, and one thread is faster than several.
For more points, 99 in 100 neighbours are found, and forces are interpolated on a grid (Linderman et al. 2019)."""

_MAX_POINTS = 25_000
"""Maximum number of points placed by t-SNE, evenly spaced; any other point is placed at the median of its nearest."""

_POLL_ITERATIONS = 10
"""Number of iterations between two progress reports and checks for cancellation."""


def projected(vectors: Vectors, watch: Watch = UNWATCHED) -> Points:
    """Project vectors onto a plane so that neighbours stay neighbours; distances between far points mean little.

    Uses t-SNE (van der Maaten and Hinton 2008), initialised with the main components so that the global structure is
    preserved (Kobak and Berens 2019, doi:10.1038/s41467-019-13056-x). Deterministic.

    Args:
        vectors: Shape ``(n, d)``; compared by cosine.
        watch: Progress is counted in iterations.
    """
    reduced = _main_components(unit_rows(vectors), _DIMENSIONS)
    if len(reduced) < _MIN_POINTS:
        return _scaled(reduced[:, :2])
    return _scaled(_neighbour_map(reduced, watch))


def _main_components(vectors: Vectors, count: int) -> Vectors:
    """Return the main components, at least two, largest first, with signs independent of the library."""
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :count]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    components = np.zeros((len(vectors), max(2, axes.shape[1])), np.float32)
    components[:, : axes.shape[1]] = centred @ axes
    return components


def _neighbour_map(vectors: Vectors, watch: Watch) -> Points:
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN

    chosen = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), _MAX_POINTS)).astype(int))
    points = vectors[chosen]
    small = len(points) <= _SMALL_POINTS
    threads = 1 if small else -1
    affinities = PerplexityBasedNN(
        points,
        perplexity=min(_PERPLEXITY, (len(points) - 1) / 3),
        method="exact" if small else "annoy",
        metric="euclidean",  # orders unit vectors like the cosine
        n_jobs=threads,
        random_state=0,
    )
    done = 0

    def report(*_: object) -> None:
        nonlocal done
        done += _POLL_ITERATIONS
        watch.progress(done, _EARLY_ITERATIONS + _ITERATIONS)
        watch.cancelled()

    embedding = TSNEEmbedding(
        (points[:, :2] / (points[:, 0].std() or 1) * 1e-4).astype(np.float64),
        affinities,
        negative_gradient_method="bh" if small else "fft",
        n_jobs=threads,
        random_state=0,
        callbacks=report,
        callbacks_every_iters=_POLL_ITERATIONS,
    )
    embedding.optimize(_EARLY_ITERATIONS, exaggeration=12, momentum=0.5, inplace=True)
    embedding.optimize(_ITERATIONS, momentum=0.8, inplace=True)
    projection = np.empty((len(vectors), 2), np.float32)
    projection[chosen] = embedding
    if len(chosen) < len(vectors):
        others = np.setdiff1d(np.arange(len(vectors)), chosen)
        projection[others] = embedding.prepare_partial(vectors[others], initialization="median", k=10)
    return projection


def _scaled(points: Points) -> Points:
    """Scale each column to 0 to 1; a column without extent is 0.5."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    return np.where(extent > 0, (points - low) / np.where(extent > 0, extent, 1), 0.5).astype(np.float32)
