"""Cosines between large sets, a block at a time: memory is bounded however many there are.

Blocks are multiplied in single precision on every core. A cell that may count is scored again in double precision,
rounded as ``scores`` rounds, so what is found is what the whole matrix would have given.
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
"""Cosines of some rows with some columns. Overwritten by the next block."""

Found = TypeVar("Found")

_ROWS = 512
_COLUMNS = 1024
"""Of a block: its 2 MB stay in the cache, and one takes about 5 ms."""

_AT_ONCE = 128
"""Pairs that are scored in double precision together: they stay in the cache."""

_MANY = 0.01
"""From this share of a block's cells on the whole block is quicker in double precision than its cells."""

_SLACK = np.float32(1e-5)
"""A cosine in single precision is nearer than this to the one in double precision."""

_DECIMALS = 6
"""Of a score, as in ``scores``."""

_POLL_SECONDS = 0.1
_BELOW = np.float32(-2)
"""Less than every cosine: marks a cell that is none."""


def _not_cancelled() -> None:
    """Nobody cancels."""


def _no_progress(done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who watches a long computation.

    Attributes:
        cancelled: Called about every 0.1 seconds by the thread that asked; what it raises stops the computation.
        progress: Told ``(done, total)``, in steps of the job at hand.
    """

    cancelled: Callable[[], None] = _not_cancelled
    progress: Callable[[int, int], None] = _no_progress


UNWATCHED = Watch()


@dataclass(frozen=True, slots=True)
class Pairs:
    """Cells of a matrix of cosines, as three arrays of one length.

    Attributes:
        rows: Their rows.
        columns: Their columns.
        scores: Their cosines, to six decimals.
        complete_above: Every cell over this cosine is among them.
    """

    rows: Positions
    columns: Positions
    scores: Scores
    complete_above: float

    def __len__(self) -> int:
        return len(self.rows)


class Side:
    """Vectors with what their cosines need."""

    def __init__(self, vectors: Vectors) -> None:
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        self.lengths = np.where(lengths == 0, 1, lengths)
        self.vectors = vectors
        self.units = vectors if np.abs(self.lengths - 1).max(initial=0) < _SLACK / 10 else unit_rows(vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def exact(self, other: "Side", row: int, column: int, shape: tuple[int, int], hits: NDArray[np.int64]) -> Scores:
        """Cosines of cells of a block in double precision, rounded.

        Args:
            other: The other side.
            row: The block's first row.
            column: Its first column.
            shape: Its rows and columns.
            hits: The cells, counted row by row.
        """
        rows, columns = row + hits // shape[1], column + hits % shape[1]
        if len(hits) > _MANY * shape[0] * shape[1]:
            a, b = self.vectors[row : row + shape[0]], other.vectors[column : column + shape[1]]
            found = (a.astype(np.float64) @ b.astype(np.float64).T).ravel()[hits]
        else:
            found = np.empty(len(hits))
            for start in range(0, len(hits), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                a, b = self.vectors[rows[part]].astype(np.float64), other.vectors[columns[part]].astype(np.float64)
                found[part] = np.einsum("ij,ij->i", a, b)
        cosines: Scores = np.clip(found / (self.lengths[rows] * other.lengths[columns]), -1, 1)
        return np.round(cosines, _DECIMALS)


def in_threads(
    tasks: Sequence[Callable[[], Found]], watch: Watch, stop: threading.Event | None = None
) -> Iterator[Found]:
    """Run tasks on every core and give their results in order.

    Args:
        tasks: Functions that leave the interpreter's lock to others, as numpy's do.
        watch: Asked while results are waited for, and told after each.
        stop: Set when no more results are wanted; a long task looks at it.
    """
    cores = os.cpu_count() or 1
    waiting = iter(tasks)
    pending: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for done in range(len(tasks)):
                # No more than a few ahead: results that wait take memory.
                while len(pending) < 2 * cores and (task := next(waiting, None)):
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
    found: Callable[[int, Iterator[tuple[int, Block]]], Found],
    left: Side,
    right: Side,
    watch: Watch,
    *,
    upper: bool = False,
) -> Iterator[Found]:
    """Apply ``found`` to bands of rows: to the first row and the blocks of the band with their first columns.

    With ``upper`` only cells right of the diagonal count; the others in a block are below every cosine.
    """
    stop = threading.Event()

    def blocks(row: int) -> Iterator[tuple[int, Block]]:
        band = left.units[row : row + _ROWS]
        room = np.empty(len(band) * _COLUMNS, np.float32)
        for column in range(row if upper else 0, len(right), _COLUMNS):
            if stop.is_set():
                raise CancelledError
            part = right.units[column : column + _COLUMNS]
            block = room[: len(band) * len(part)].reshape(len(band), len(part))
            np.matmul(band, part.T, out=block)
            if upper and column < row + len(band):
                block[np.tril_indices(len(band), row - column, len(part))] = _BELOW
            yield column, block

    def band(row: int) -> Found:
        return found(row, blocks(row))

    yield from in_threads([partial(band, row) for row in range(0, len(left), _ROWS)], watch, stop)


class _Collected:
    """The best cells so far; shared by the threads that find them."""

    def __init__(self, left: Side, right: Side, least: float, limit: int, *, ties: bool) -> None:
        self._sides = left, right
        self._limit, self._ties = limit, ties
        self._lock = threading.Lock()
        self._parts: list[tuple[Positions, Positions, Scores]] = []
        self._size = 0
        self.least = least
        """A cell below this is not among the best."""
        self.over = -np.inf
        """Every cell over this was kept."""

    def look(self, row: int, column: int, block: Block) -> None:
        """Keep what a block has."""
        flat = block.ravel()
        hits = np.flatnonzero(flat >= max(np.float32(self.least) - _SLACK, _BELOW / 2 - _SLACK))
        most = self._limit + 1
        if len(hits) > 4 * most:
            values = flat[hits]
            hits = hits[values >= np.partition(values, len(values) - most)[len(values) - most] - 2 * _SLACK]
        if not len(hits):
            return
        found = self._sides[0].exact(self._sides[1], row, column, (len(block), block.shape[1]), hits)
        enough = found >= self.least
        hits, found = hits[enough], found[enough]
        rows, columns = hits // block.shape[1] + row, hits % block.shape[1] + column
        with self._lock:
            self._parts.append((rows.astype(np.int32), columns.astype(np.int32), found))
            self._size += len(hits)
            if self._size > self._limit + max(self._limit // 4, _ROWS * _COLUMNS):
                self._cut()

    def _cut(self) -> None:
        """Drop what is not among the best, ``limit`` at most."""
        rows, columns, found = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
        self._parts.clear()
        if len(found) > self._limit:
            at = len(found) - self._limit - 1
            next_best = float(np.partition(found, at)[at])
            kept = np.flatnonzero(found >= next_best if self._ties else found > next_best)
            if self._ties:
                kept = kept[np.lexsort((columns[kept], rows[kept], -found[kept]))[: self._limit]]
            rows, columns, found = rows[kept], columns[kept], found[kept]
            self.least, self.over = next_best, next_best
        self._parts = [(rows, columns, found)]
        self._size = len(found)

    def best(self) -> tuple[Positions, Positions, Scores]:
        """Return what was kept, in no order."""
        empty = np.empty(0, np.int32)
        self._parts.append((empty, empty, np.empty(0)))
        self._cut()
        return self._parts[0]


def _collected(
    left: Vectors, right: Vectors | None, least: float, limit: int, watch: Watch, *, ties: bool
) -> _Collected:
    a = Side(left)
    b = a if right is None else Side(right)
    collected = _Collected(a, b, least, limit, ties=ties)

    def look(row: int, blocks: Iterator[tuple[int, Block]]) -> None:
        for column, block in blocks:
            collected.look(row, column, block)

    for _ in bands(look, a, b, watch, upper=right is None):
        pass
    return collected


def top_pairs(left: Vectors, right: Vectors | None, top: int, watch: Watch = UNWATCHED) -> Pairs:
    """Return the highest cosines, best first, ties by row and then by column: ``best_cells`` without the matrix.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``; None for each unordered pair inside ``left`` once, the lower position as row.
        top: How many at most, 1 or more.
        watch: Told of bands of 512 rows.
    """
    collected = _collected(left, right, -1.0, top, watch, ties=True)
    rows, columns, found = collected.best()
    order = np.lexsort((columns, rows, -found))
    return Pairs(rows[order], columns[order], found[order], collected.over)


def pairs_above(left: Vectors, right: Vectors | None, least: float, limit: int, watch: Watch = UNWATCHED) -> Pairs:
    """Every cell from a cosine on, by row and then by column.

    Where there are over ``limit``, the best are kept: all cells over the cosine ``complete_above``, which is then that
    of the next best. Where there are not, it is below ``least``. A pair takes 16 bytes, and twice that while
    they are put together.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``; None for each unordered pair inside ``left`` once, the lower position as row.
        least: The lowest cosine, -1 to 1.
        limit: How many cells at most, 1 or more.
        watch: Told of bands of 512 rows.
    """
    collected = _collected(left, right, least, limit, watch, ties=False)
    rows, columns, found = collected.best()
    order = np.lexsort((columns, rows))
    return Pairs(rows[order], columns[order], found[order], collected.over)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest columns of each row, best first.

    Attributes:
        columns: Shape ``(n, top)``; -1 where a row has fewer.
        scores: Shape ``(n, top)``: cosines to six decimals; -inf where a row has fewer.
    """

    columns: NDArray[np.int32]
    scores: Scores


def nearest_neighbours(
    left: Vectors, right: Vectors | None, top: int, *, least: float = -1, watch: Watch = UNWATCHED
) -> Neighbours:
    """Return the nearest columns of each row, ties by column.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``; None for the others in ``left``.
        top: How many of each row at most, 1 or more. A row takes 12 bytes for each.
        least: The lowest cosine of a neighbour.
        watch: Told of bands of 512 rows.
    """
    a = Side(left)
    b = a if right is None else Side(right)
    columns = np.full((len(a), top), -1, np.int32)
    found = np.full((len(a), top), -np.inf)

    def nearest(row: int, blocks: Iterator[tuple[int, Block]]) -> None:
        part = slice(row, row + _ROWS)
        _Nearest(a, b, row, columns[part], found[part], least).search(blocks, others=right is None)

    for _ in bands(nearest, a, b, watch):
        pass
    return Neighbours(columns, found)


class _Nearest:
    """The search for the nearest columns of one band of rows, into arrays of the caller."""

    def __init__(
        self, left: Side, right: Side, row: int, columns: NDArray[np.int32], found: Scores, least: float
    ) -> None:
        self._left, self._right, self._row = left, right, row
        self._columns, self._found = columns, found
        self._least = least
        self._bounds = np.full((len(columns), 1), least, np.float32)
        self._hits: list[tuple[NDArray[np.int64], NDArray[np.int64], Scores]] = []
        self._size = 0

    def search(self, blocks: Iterator[tuple[int, Block]], *, others: bool) -> None:
        """Look through all blocks; with ``others`` a row is no neighbour of itself."""
        top = self._columns.shape[1]
        for column, block in blocks:
            if others:
                self._without_itself(column, block)
            bounds = self._bounds - _SLACK
            if column == 0 and block.shape[1] > top:
                at = block.shape[1] - top
                bounds = np.maximum(bounds, np.partition(block, at, axis=1)[:, at, None] - 2 * _SLACK)
            hits = np.flatnonzero(block >= bounds)
            found = self._left.exact(self._right, self._row, column, (len(block), block.shape[1]), hits)
            enough = found >= self._least
            hits, found = hits[enough], found[enough]
            self._hits.append((hits // block.shape[1], hits % block.shape[1] + column, found))
            self._size += len(hits)
            if self._size > self._columns.size // 2:
                self._merge()
        self._merge()

    def _without_itself(self, column: int, block: Block) -> None:
        rows = np.arange(max(self._row, column), min(self._row + block.shape[0], column + block.shape[1]))
        block[rows - self._row, rows - column] = _BELOW

    def _merge(self) -> None:
        """Of the hits and what there was, keep the best of each row."""
        old = np.nonzero(self._columns >= 0)
        self._hits.append((old[0], self._columns[old].astype(np.int64), self._found[old]))
        rows, columns, found = (np.concatenate(arrays) for arrays in zip(*self._hits, strict=True))
        order = np.lexsort((columns, -found, rows))
        rows, columns, found = rows[order], columns[order], found[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = rank < self._columns.shape[1]
        self._columns[rows[kept], rank[kept]] = columns[kept]
        self._found[rows[kept], rank[kept]] = found[kept]
        self._bounds = np.maximum(self._found[:, -1:], self._least).astype(np.float32)
        self._hits.clear()
        self._size = 0
