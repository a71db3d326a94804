"""Unit vectors in a quarter of the memory, and a search for those that may be nearest to a query.

A unit row ``x`` is stored as ``s c``, with 8-bit integers ``c`` and a scale ``s``. If the remainder ``x - s c`` has
length ``e``, the cosine of ``x`` with a unit vector ``q`` is within ``e`` of ``s c·q`` (Cauchy-Schwarz). For a query
stored in the same way, as ``t b`` with a remainder of length ``f``, it is within ``e + f (1 + e)`` of ``s t c·b``,
where ``c·b`` is an integer and exact. Rows ruled out by these bounds are certainly not among the nearest; the few that
remain are compared by their exact vectors.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores, Vectors

Codes = NDArray[np.int8]
"""Shape ``(n, d)``: -127 to 127."""

Positions = NDArray[np.int64]
"""Shape ``(n,)``: rows, ascending."""

Output = TypeVar("Output")

_LEVELS = 127

_SLACK = np.float32(3e-6)
"""Added to bounds: cosines are compared after rounding to six decimals, and float32 arithmetic rounds too."""

_EXACT_SUM = 1 << 24
"""Integers below this are exact in float32."""

_CHUNK_ROWS = 2_048
"""Number of rows that numpy multiplies at a time, few enough to stay in the cache as float32."""

_COPY_DIVISOR = 4
"""If less than 1 in this many rows is searched, the searched rows are copied instead of comparing all rows."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """Unit rows with 8 bits per number.

    Attributes:
        codes: Shape ``(n, d)``.
        scales: Shape ``(n,)``, float32: a row is approximately its codes times its scale.
        errors: Shape ``(n,)``, float32: the length of the difference between the two.
    """

    codes: Codes
    scales: NDArray[np.float32]
    errors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.codes)

    def copied(self, positions: Positions) -> "Quantized":
        """Return a copy of some rows."""
        return Quantized(self.codes[positions], self.scales[positions], self.errors[positions])


def quantized(units: Vectors) -> Quantized:
    """Quantize unit rows of ``(n, d)``; rows of zeros stay zero."""
    scales = (np.abs(units).max(axis=1, initial=0) / _LEVELS).astype(np.float32)
    codes = np.rint(units / np.where(scales == 0, 1, scales)[:, None]).astype(np.int8)
    errors = np.linalg.norm(units - codes * scales[:, None], axis=1).astype(np.float32)
    return Quantized(codes, scales, errors)


def joined(parts: Sequence[Quantized]) -> Quantized:
    """Concatenate the rows of one or more parts."""
    return Quantized(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate([part.errors for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Part:
    """Rows to search.

    Attributes:
        vectors: The rows.
        positions: Positions of the rows to search; None for all.
    """

    vectors: Quantized
    positions: Positions | None = None

    def __len__(self) -> int:
        return len(self.vectors) if self.positions is None else len(self.positions)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows that may be among the nearest.

    Attributes:
        positions: Positions of the rows in each part.
        upper: Upper bounds of their cosines, rounded to six decimals or not; those of all parts concatenated.
    """

    positions: list[Positions]
    upper: Scores


def candidates(parts: Sequence[Part], unit: NDArray[np.float32], k: int) -> Candidates:
    """Return the rows of each part that may be among the ``k`` with the highest cosines over all parts.

    They always include the ``k`` nearest by the vectors before quantization, and all rows that tie with the last of
    these when cosines are rounded to six decimals.

    Args:
        parts: The rows to search, in parallel on every core.
        unit: The query, shape ``(d,)``, of length 1.
        k: Number of nearest rows.
    """
    if k == 0:
        return Candidates([np.empty(0, np.int64) for _ in parts], np.empty(0))
    if k >= (total := sum(map(len, parts))):
        positions = [np.arange(len(part)) if part.positions is None else part.positions for part in parts]
        return Candidates(positions, np.full(total, np.inf))
    search = _Search(unit, k)
    results = _map_parts(search.search_part, parts)
    near = [rows[upper >= search.floor] for rows, upper in results]
    return search.narrowed(parts, near)


def _map_parts(function: Callable[[Part], Output], parts: Sequence[Part]) -> list[Output]:
    """Return the result for each part. The calling thread works too, so a search need not wait on a busy machine."""
    remaining = deque(enumerate(parts))
    results: dict[int, Output] = {}

    def work() -> None:
        while remaining:
            try:
                index, part = remaining.popleft()
            except IndexError:  # another thread took the last part
                return
            results[index] = function(part)

    helpers = [_thread_pool().submit(work) for _ in range(min(os.cpu_count() or 1, len(parts)) - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
    return [results[index] for index in range(len(parts))]


@cache
def _thread_pool() -> ThreadPoolExecutor:
    """Return a persistent thread pool: starting a thread takes as long as comparing a hundred thousand rows."""
    return ThreadPoolExecutor(max((os.cpu_count() or 1) - 1, 1), "search")


class _Search:
    """A search through all parts, shared by the threads."""

    def __init__(self, unit: NDArray[np.float32], k: int) -> None:
        self._unit, self._k = unit, k
        self._query = quantized(unit[None, :])
        self._lock = threading.Lock()
        self._lowest = np.empty(0, np.float32)
        self.floor = np.float32(-np.inf)
        """At least ``k`` rows are known to reach this cosine."""

    def search_part(self, part: Part) -> tuple[Positions, NDArray[np.float32]]:
        """Return the rows of a part that may be among the nearest, and upper bounds of their cosines."""
        if not len(part):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        cosines, upper = self._bounds(part)
        hits = np.flatnonzero(upper >= self.floor)
        lower = 2 * cosines[hits] - upper[hits]
        if len(hits) > self._k:
            lower.partition(len(lower) - self._k)
            lower = lower[-self._k :]
        self._raise_floor(lower)
        hits = hits[upper[hits] >= self.floor]
        return hits if part.positions is None else part.positions[hits], upper[hits]

    def _bounds(self, part: Part) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return approximate cosines of the rows of a part, and upper bounds of the cosines."""
        vectors, positions = part.vectors, part.positions
        if positions is not None and _COPY_DIVISOR * len(positions) < len(vectors):
            vectors, positions = vectors.copied(positions), None
        cosines = _dot_products()(self._query.codes, vectors.codes)
        cosines *= vectors.scales
        cosines *= self._query.scales[0]
        error = self._query.errors[0]
        upper = vectors.errors * (1 + error)
        upper += error + _SLACK
        upper += cosines
        return (cosines, upper) if positions is None else (cosines[positions], upper[positions])

    def _raise_floor(self, lower: NDArray[np.float32]) -> None:
        with self._lock:
            best = np.concatenate([self._lowest, lower])
            if len(best) >= self._k:
                best.partition(len(best) - self._k)
                best = best[-self._k :]
                self.floor = best[0]
            self._lowest = best

    def narrowed(self, parts: Sequence[Part], near: Sequence[Positions]) -> Candidates:
        """Rule out more rows with the exact query, since half of the bounds came from quantizing the query."""
        bounds = [self._exact_bounds(part.vectors, positions) for part, positions in zip(parts, near, strict=True)]
        lower = np.concatenate([lower for lower, _ in bounds])
        floor = np.partition(lower, len(lower) - self._k)[len(lower) - self._k]
        kept = [upper >= floor for _, upper in bounds]
        return Candidates(
            [positions[mask] for positions, mask in zip(near, kept, strict=True)],
            np.concatenate([upper[mask] for (_, upper), mask in zip(bounds, kept, strict=True)]),
        )

    def _exact_bounds(self, vectors: Quantized, positions: Positions) -> tuple[Scores, Scores]:
        """Return lower and upper bounds of the cosines of rows, computed with the exact query."""
        unit = self._unit.astype(np.float64)
        cosines = np.empty(len(positions))
        for start in range(0, len(positions), _CHUNK_ROWS):
            part = slice(start, start + _CHUNK_ROWS)
            cosines[part] = vectors.codes[positions[part]] @ unit
        cosines *= vectors.scales[positions]
        slack = vectors.errors[positions].astype(np.float64) + float(_SLACK)
        return cosines - slack, cosines + slack


@cache
def _dot_products() -> Callable[[Codes, Codes], NDArray[np.float32]]:
    """Return a function that multiplies a query's codes, shape ``(1, d)``, by those of rows; result ``(n,)``."""
    try:
        import numkong
    except ImportError:
        logging.getLogger(__name__).info(
            "large collections are searched without numkong, several times slower: run "
            "pip install 'mcp-server-embeddings[large]'"
        )
        return dots_by_numpy
    # With the query first and a float result, numkong traverses the rows in memory order, which is twice as fast.
    return lambda query, rows: np.asarray(numkong.cdist(query, rows, "dot", out_dtype="float32"))[0]


def dots_by_numpy(query: Codes, rows: Codes) -> NDArray[np.float32]:
    """Multiply codes as floats in which the sums are exact, since numpy multiplies integers one by one."""
    exact = np.float32 if rows.shape[1] * _LEVELS**2 < _EXACT_SUM else np.float64
    factors = query[0].astype(exact)
    products = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        products[part] = rows[part].astype(exact) @ factors
    return products
