"""Cosines between large sets, one block at a time, so that memory is bounded for any number of vectors.

Blocks are multiplied in single precision on every core. Cells that may be part of the result are scored again in double
precision and rounded as in ``scores``, so the result equals that of the whole matrix.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows

Positions = NDArray[np.int32]
"""Shape ``(n,)``: rows or columns."""

Block = NDArray[np.float32]
"""Cosines between some rows and some columns. Overwritten by the next block."""

Output = TypeVar("Output")

ROWS = 512
_COLUMNS = 1024
"""Size of a block: its 2 MB stay in the cache, and computing it takes about 5 ms."""

_CHUNK_PAIRS = 128
"""Number of pairs that are scored in double precision together, small enough to stay in the cache."""

_DENSE_SHARE = 0.01
"""Above this share of a block's cells, the whole block is faster in double precision than the single cells."""

SLACK = np.float32(1e-5)
"""Upper bound of the difference between a cosine in single precision and in double precision."""

_DECIMALS = 6
"""Decimals of a score, as in ``scores``."""

_POLL_SECONDS = 0.1
IGNORED = np.float32(-2)
"""Lower than every cosine: marks a cell to ignore."""


def _not_cancelled() -> None:
    """Do nothing; for callers that never cancel."""


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks for cancellation and progress of a long computation.

    Attributes:
        cancelled: Called about every 0.1 seconds in the calling thread; an exception stops the computation.
        progress: Called with ``(done, total)``, in units of the computation.
    """

    cancelled: Callable[[], None] = _not_cancelled
    progress: Callable[[int, int], None] = _no_progress


UNWATCHED = Watch()


@dataclass(frozen=True, slots=True)
class Pairs:
    """Cells of a cosine matrix, as three arrays of equal length.

    Attributes:
        rows: Row of each cell.
        columns: Column of each cell.
        scores: Cosine of each cell, to six decimals.
        complete_above: Every cell with a cosine above this is included.
    """

    rows: Positions
    columns: Positions
    scores: Scores
    complete_above: float

    def __len__(self) -> int:
        return len(self.rows)


class Side:
    """Vectors of one side of a comparison, with their lengths and as unit rows."""

    def __init__(self, vectors: Vectors) -> None:
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        self.lengths = np.where(lengths == 0, 1, lengths)
        self.vectors = vectors
        self.units = vectors if np.abs(self.lengths - 1).max(initial=0) < SLACK / 10 else unit_rows(vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def exact(self, other: "Side", row: int, column: int, shape: tuple[int, int], hits: NDArray[np.int64]) -> Scores:
        """Compute cosines of cells of a block in double precision, rounded.

        Args:
            other: The other side.
            row: First row of the block.
            column: First column of the block.
            shape: Number of rows and columns of the block.
            hits: Flat indices of the cells in the block.
        """
        rows, columns = row + hits // shape[1], column + hits % shape[1]
        if len(hits) > _DENSE_SHARE * shape[0] * shape[1]:
            a, b = self.vectors[row : row + shape[0]], other.vectors[column : column + shape[1]]
            products = (a.astype(np.float64) @ b.astype(np.float64).T).ravel()[hits]
        else:
            products = np.empty(len(hits))
            for start in range(0, len(hits), _CHUNK_PAIRS):
                part = slice(start, start + _CHUNK_PAIRS)
                a, b = self.vectors[rows[part]].astype(np.float64), other.vectors[columns[part]].astype(np.float64)
                products[part] = np.einsum("ij,ij->i", a, b)
        cosines: Scores = np.clip(products / (self.lengths[rows] * other.lengths[columns]), -1, 1)
        return np.round(cosines, _DECIMALS)


def in_threads(
    tasks: Sequence[Callable[[], Output]], watch: Watch, stop: threading.Event | None = None
) -> Iterator[Output]:
    """Run tasks on every core and yield their results in order.

    Args:
        tasks: Functions that release the interpreter's lock, as those of numpy do.
        watch: ``cancelled`` is called while waiting for results, ``progress`` after each result.
        stop: Set when no more results are needed, so that long tasks can check it.
    """
    cores = os.cpu_count() or 1
    queued = iter(tasks)
    pending: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for done in range(len(tasks)):
                # Stay only a few tasks ahead: pending results take memory.
                while len(pending) < 2 * cores and (task := next(queued, None)):
                    pending.append(pool.submit(task))
                future = pending.popleft()
                watch.cancelled()
                while not wait([future], _POLL_SECONDS).done:
                    watch.cancelled()
                yield future.result()
                watch.progress(done + 1, len(tasks))
        finally:
            if stop:
                stop.set()
            pool.shutdown(cancel_futures=True)


def bands(
    process: Callable[[int, Iterator[tuple[int, Block]]], Output],
    left: Side,
    right: Side,
    watch: Watch,
    *,
    upper: bool = False,
) -> Iterator[Output]:
    """Apply ``process`` to each band of rows: to its first row, and to its blocks, each with its first column.

    With ``upper``, only cells right of the diagonal count; the other cells of a block are lower than every cosine.
    """
    stop = threading.Event()

    def blocks(row: int) -> Iterator[tuple[int, Block]]:
        band = left.units[row : row + ROWS]
        buffer = np.empty(len(band) * _COLUMNS, np.float32)
        for column in range(row if upper else 0, len(right), _COLUMNS):
            if stop.is_set():
                raise CancelledError
            part = right.units[column : column + _COLUMNS]
            block = buffer[: len(band) * len(part)].reshape(len(band), len(part))
            np.matmul(band, part.T, out=block)
            if upper and column < row + len(band):
                block[np.tril_indices(len(band), row - column, len(part))] = IGNORED
            yield column, block

    def process_band(row: int) -> Output:
        return process(row, blocks(row))

    yield from in_threads([partial(process_band, row) for row in range(0, len(left), ROWS)], watch, stop)


class _BestCells:
    """The best cells so far, shared by the worker threads."""

    def __init__(self, left: Side, right: Side, least: float, limit: int, *, ties: bool) -> None:
        self._sides = left, right
        self._limit, self._ties = limit, ties
        self._lock = threading.Lock()
        self._parts: list[tuple[Positions, Positions, Scores]] = []
        self._size = 0
        self.least = least
        """Cells below this are not among the best."""
        self.complete_above = -np.inf
        """Every cell above this was kept."""

    def add(self, row: int, column: int, block: Block) -> None:
        """Keep the cells of a block that may be among the best."""
        flat = block.ravel()
        hits = np.flatnonzero(flat >= max(np.float32(self.least) - SLACK, IGNORED / 2 - SLACK))
        count = self._limit + 1
        if len(hits) > 4 * count:
            values = flat[hits]
            hits = hits[values >= np.partition(values, len(values) - count)[len(values) - count] - 2 * SLACK]
        if not len(hits):
            return
        cosines = self._sides[0].exact(self._sides[1], row, column, (len(block), block.shape[1]), hits)
        reached = cosines >= self.least
        hits, cosines = hits[reached], cosines[reached]
        rows, columns = hits // block.shape[1] + row, hits % block.shape[1] + column
        with self._lock:
            self._parts.append((rows.astype(np.int32), columns.astype(np.int32), cosines))
            self._size += len(hits)
            if self._size > self._limit + max(self._limit // 4, ROWS * _COLUMNS):
                self._prune()

    def _prune(self) -> None:
        """Keep only the best cells, at most ``limit``."""
        rows, columns, cosines = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        self._parts.clear()
        if len(cosines) > self._limit:
            at = len(cosines) - self._limit - 1
            next_best = float(np.partition(cosines, at)[at])
            kept = np.flatnonzero(cosines >= next_best if self._ties else cosines > next_best)
            if self._ties:
                kept = kept[np.lexsort((columns[kept], rows[kept], -cosines[kept]))[: self._limit]]
            rows, columns, cosines = rows[kept], columns[kept], cosines[kept]
            self.least, self.complete_above = next_best, next_best
        self._parts = [(rows, columns, cosines)]
        self._size = len(cosines)

    def cells(self) -> tuple[Positions, Positions, Scores]:
        """Return the best cells, unordered."""
        empty = np.empty(0, np.int32)
        self._parts.append((empty, empty, np.empty(0)))
        self._prune()
        return self._parts[0]


def _best_pairs(left: Vectors, right: Vectors | None, least: float, limit: int, watch: Watch, *, ties: bool) -> Pairs:
    """Return the ``limit`` best cells, best first, if ``ties``; else all above the next best, by row and column."""
    a = Side(left)
    b = a if right is None else Side(right)
    best = _BestCells(a, b, least, limit, ties=ties)

    def add(row: int, blocks: Iterator[tuple[int, Block]]) -> None:
        for column, block in blocks:
            best.add(row, column, block)

    for _ in bands(add, a, b, watch, upper=right is None):
        pass
    rows, columns, cosines = best.cells()
    order = np.lexsort((columns, rows, -cosines) if ties else (columns, rows))
    return Pairs(rows[order], columns[order], cosines[order], best.complete_above)


def top_pairs(left: Vectors, right: Vectors | None, top: int, watch: Watch = UNWATCHED) -> Pairs:
    """Return the highest cosines, best first, ties by row and then by column: ``best_cells`` without the matrix.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``; None for each unordered pair inside ``left`` once, with the lower position as row.
        top: Maximum number of cells, 1 or more.
        watch: Progress is counted in bands of 512 rows.
    """
    return _best_pairs(left, right, -1.0, top, watch, ties=True)


def pairs_above(left: Vectors, right: Vectors | None, least: float, limit: int, watch: Watch = UNWATCHED) -> Pairs:
    """Return every cell whose cosine is at least ``least``, ordered by row and then by column.

    If there are more than ``limit``, only the best are kept: all cells above ``complete_above``, which is then the
    cosine of the next best cell. Otherwise ``complete_above`` is below ``least``. A pair takes 16 bytes, and twice that
    while the parts are joined.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``; None for each unordered pair inside ``left`` once, with the lower position as row.
        least: The lowest cosine, -1 to 1.
        limit: Maximum number of cells, 1 or more.
        watch: Progress is counted in bands of 512 rows.
    """
    return _best_pairs(left, right, least, limit, watch, ties=False)
