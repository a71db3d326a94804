"""Scores between vectors. Higher is always closer."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape ``(n, d)``, float32, one vector per row."""

Scores = NDArray[np.float64]
"""Shape ``(n, m)``, float64; higher is closer."""

Metric = Literal["cosine", "dot", "euclidean", "manhattan"]

_DECIMALS = 6


def unit_rows(vectors: Vectors) -> Vectors:
    """Scale each row of ``(n, d)`` to length 1, as float32; a zero row stays zero."""
    return (vectors / _lengths(vectors)).astype(np.float32)


def _lengths(rows: Vectors | Scores) -> NDArray[np.floating]:
    """Return the divisors that scale each row to length 1, shape ``(n, 1)``."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms == 0, 1, norms)


def scores(left: Vectors, right: Vectors, metric: Metric) -> Scores:
    """Compare each row of ``left`` with each row of ``right``.

    Distances are negated, as in sentence-transformers' ``util.similarity``, so that higher is closer.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``.
        metric: ``cosine`` is in -1 to 1; ``dot`` is unbounded; ``euclidean`` and ``manhattan`` are at most 0.

    Returns:
        Shape ``(n, m)``, rounded to six decimals: the rounding errors of a sum depend on a row's position, and equal
        texts must tie.
    """
    return np.round(_scores(left, right, metric), _DECIMALS)


def _scores(left: Vectors, right: Vectors, metric: Metric) -> Scores:
    a, b = left.astype(np.float64), right.astype(np.float64)
    values: Scores
    if metric == "manhattan":
        from scipy.spatial.distance import cdist

        values = -cdist(a, b, "cityblock")
    elif metric == "euclidean":
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
        values = -np.sqrt(np.maximum(squares, 0))
    elif metric == "cosine":
        values = np.clip((a / _lengths(a)) @ (b / _lengths(b)).T, -1, 1)
    else:
        values = a @ b.T
    return values


def paired_cosines(left: Vectors, right: Vectors) -> Scores:
    """Compare corresponding rows of two ``(n, d)``, in double precision; shape ``(n,)``, 0 for a row of zeros."""
    cosines: Scores = (unit_rows(left).astype(np.float64) * unit_rows(right)).sum(axis=1)
    return cosines


def exact_cosines(rows: Vectors, vector: NDArray[np.float32]) -> Scores:
    """Compare rows of ``(n, d)`` with one vector of ``(d,)``, in double precision; shape ``(n,)``.

    The scores, and the order of near ties, are the same as when the texts are sent with the call.
    """
    return scores(rows, vector[None, :], "cosine")[:, 0]


def best_cells(values: Scores, top: int, *, upper: bool) -> list[tuple[int, int]]:
    """Return the highest cells, best first, ties by row and then by column.

    Args:
        values: Shape ``(n, m)``.
        top: Maximum number of cells, at least 1.
        upper: Use only cells right of the diagonal, so that each unordered pair of one list appears once.

    Returns:
        Up to ``top`` pairs ``(row, column)``.
    """
    rows, columns = np.triu_indices(values.shape[0], 1, values.shape[1]) if upper else np.indices(values.shape)
    rows, columns = rows.ravel(), columns.ravel()
    flat = values[rows, columns]
    if len(flat) > top:
        threshold = np.partition(flat, len(flat) - top)[len(flat) - top]
        kept = np.flatnonzero(flat >= threshold)
        rows, columns, flat = rows[kept], columns[kept], flat[kept]
    order = np.lexsort((columns, rows, -flat))[:top]
    return [(int(rows[i]), int(columns[i])) for i in order]
