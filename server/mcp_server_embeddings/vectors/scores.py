"""Scores between vectors. Higher is always closer."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape ``(n, d)``, float32, one vector a row."""

Scores = NDArray[np.float64]
"""Shape ``(n, m)``, float64; higher is closer."""

Metric = Literal["cosine", "dot", "euclidean", "manhattan"]

_DECIMALS = 6

_ROWS_AT_ONCE = 256
"""Rows of the left side whose ``(rows, m, d)`` differences manhattan forms together, at most; fewer where
``_CELLS_AT_ONCE`` asks for fewer."""

_CELLS_AT_ONCE = 8_000_000
"""Numbers in one temporary block: 64 MB as float64."""


def unit_rows(vectors: Vectors) -> Vectors:
    """Scale every row to length 1; a zero row stays zero.

    Args:
        vectors: Shape ``(n, d)``.

    Returns:
        Shape ``(n, d)``, float32.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)


def scores(left: Vectors, right: Vectors, metric: Metric) -> Scores:
    """Compare every row of ``left`` with every row of ``right``.

    Distances are negated, as in sentence-transformers' ``util.similarity``, so that higher is closer for
    every metric.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``.
        metric: ``cosine`` is in -1 to 1; ``dot`` is unbounded; ``euclidean`` and ``manhattan`` are at most 0.

    Returns:
        Shape ``(n, m)``, rounded to six decimals: how a product is summed depends on where a row stands, and equal
        texts must tie.
    """
    return np.round(_scores(left, right, metric), _DECIMALS)


def _scores(left: Vectors, right: Vectors, metric: Metric) -> Scores:
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "manhattan":
        return _negative_manhattan(a, b)
    if metric == "euclidean":
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
        distances: Scores = np.sqrt(np.maximum(squares, 0))
        return -distances
    if metric == "cosine":
        a, b = _unit(a), _unit(b)
        return np.clip(a @ b.T, -1, 1)
    return a @ b.T


def _unit(rows: Scores) -> Scores:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms == 0, 1, norms)


def _negative_manhattan(a: Scores, b: Scores) -> Scores:
    step = max(1, min(_ROWS_AT_ONCE, _CELLS_AT_ONCE // max(1, b.size)))
    blocks = [-np.abs(a[i : i + step, None, :] - b[None, :, :]).sum(axis=2) for i in range(0, len(a), step)]
    return np.concatenate(blocks)


def best_cells(values: Scores, top: int, *, upper: bool) -> list[tuple[int, int]]:
    """Positions of the highest cells, best first, ties by row and then by column.

    Args:
        values: Shape ``(n, m)``.
        top: How many positions at most, 1 or more.
        upper: Only cells right of the diagonal: each unordered pair of one list once.

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
