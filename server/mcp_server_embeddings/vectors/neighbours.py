"""The nearest rows of each row of a large set, computed in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import IGNORED, ROWS, SLACK, UNWATCHED, Block, Side, Watch, bands
from mcp_server_embeddings.vectors.scores import Scores, Vectors


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest columns of each row, best first.

    Attributes:
        columns: Shape ``(n, top)``; -1 where a row has fewer neighbours.
        scores: Shape ``(n, top)``: cosines to six decimals; -inf where a row has fewer neighbours.
    """

    columns: NDArray[np.int32]
    scores: Scores


def nearest_neighbours(
    left: Vectors, right: Vectors | None, top: int, *, least: float = -1, watch: Watch = UNWATCHED
) -> Neighbours:
    """Return the nearest columns of each row, ties by column.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``; None for the other rows of ``left``.
        top: Maximum number of neighbours per row, 1 or more. Each takes 12 bytes.
        least: The lowest cosine of a neighbour.
        watch: Progress is counted in bands of 512 rows.
    """
    a = Side(left)
    b = a if right is None else Side(right)
    columns = np.full((len(a), top), -1, np.int32)
    cosines = np.full((len(a), top), -np.inf)

    def search(row: int, blocks: Iterator[tuple[int, Block]]) -> None:
        part = slice(row, row + ROWS)
        _BandSearch(a, b, row, columns[part], cosines[part], least).search(blocks, others=right is None)

    for _ in bands(search, a, b, watch):
        pass
    return Neighbours(columns, cosines)


class _BandSearch:
    """The search for the nearest columns of one band of rows, which writes to arrays of the caller."""

    def __init__(
        self, left: Side, right: Side, row: int, columns: NDArray[np.int32], cosines: Scores, least: float
    ) -> None:
        self._left, self._right, self._row = left, right, row
        self._columns, self._cosines = columns, cosines
        self._least = least
        self._bounds = np.full((len(columns), 1), least, np.float32)
        self._hits: list[tuple[NDArray[np.int64], NDArray[np.int64], Scores]] = []
        self._size = 0

    def search(self, blocks: Iterator[tuple[int, Block]], *, others: bool) -> None:
        """Search all blocks; with ``others``, a row is not a neighbour of itself."""
        top = self._columns.shape[1]
        for column, block in blocks:
            if others:
                self._ignore_diagonal(column, block)
            bounds = self._bounds - SLACK
            if column == 0 and block.shape[1] > top:
                at = block.shape[1] - top
                bounds = np.maximum(bounds, np.partition(block, at, axis=1)[:, at, None] - 2 * SLACK)
            hits = np.flatnonzero(block >= bounds)
            cosines = self._left.exact(self._right, self._row, column, (len(block), block.shape[1]), hits)
            reached = cosines >= self._least
            hits, cosines = hits[reached], cosines[reached]
            self._hits.append((hits // block.shape[1], hits % block.shape[1] + column, cosines))
            self._size += len(hits)
            if self._size > self._columns.size // 2:
                self._merge()
        self._merge()

    def _ignore_diagonal(self, column: int, block: Block) -> None:
        rows = np.arange(max(self._row, column), min(self._row + block.shape[0], column + block.shape[1]))
        block[rows - self._row, rows - column] = IGNORED

    def _merge(self) -> None:
        """Merge the hits into the neighbours found so far, keeping the best of each row."""
        old = np.nonzero(self._columns >= 0)
        self._hits.append((old[0], self._columns[old].astype(np.int64), self._cosines[old]))
        rows, columns, cosines = (np.concatenate(arrays) for arrays in zip(*self._hits, strict=True))
        order = np.lexsort((columns, -cosines, rows))
        rows, columns, cosines = rows[order], columns[order], cosines[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = rank < self._columns.shape[1]
        self._columns[rows[kept], rank[kept]] = columns[kept]
        self._cosines[rows[kept], rank[kept]] = cosines[kept]
        self._bounds = np.maximum(self._cosines[:, -1:], self._least).astype(np.float32)
        self._hits.clear()
        self._size = 0
