"""Properties of the mathematics for large sets: what is found block by block is what the whole matrix gives."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import Block, Side, Watch, bands, nearest_neighbours, pairs_above, top_pairs
from mcp_server_embeddings.vectors.duplicates import (
    complete_groups,
    complete_groups_of_pairs,
    nearest_threshold,
    suggested_threshold,
)
from mcp_server_embeddings.vectors.scores import Scores, Vectors, best_cells, scores

seeds = st.integers(0, 10_000)


def vectors(seed: int, count: int, dimensions: int = 6) -> Vectors:
    """Rows of any length, some of them copies, one of them zero."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, dimensions)).astype(np.float32)
    rows[random.integers(0, count, count // 8)] = rows[0]
    rows[-1] *= count % 2
    return rows


def cells(rows: NDArray[np.int32], columns: NDArray[np.int32]) -> list[tuple[int, int]]:
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


class CancelledError(Exception):
    """What a caller's ``cancelled`` raises."""


@settings(deadline=None, max_examples=40)
@given(seed=seeds, left=st.integers(1, 1_100), right=st.integers(1, 2_300), top=st.integers(1, 300))
def test_top_pairs_are_the_best_cells(seed: int, left: int, right: int, top: int) -> None:
    a, b = vectors(seed, left), vectors(seed + 1, right)
    found = top_pairs(a, b, top)
    values = scores(a, b, "cosine")
    assert cells(found.rows, found.columns) == best_cells(values, top, upper=False)
    np.testing.assert_array_equal(found.scores, values[found.rows, found.columns])


@settings(deadline=None, max_examples=20)
@given(seed=seeds, count=st.integers(2, 1_100), top=st.integers(1, 300))
def test_top_pairs_of_one_set_come_once(seed: int, count: int, top: int) -> None:
    a = vectors(seed, count)
    found = top_pairs(a, None, top)
    assert cells(found.rows, found.columns) == best_cells(scores(a, a, "cosine"), top, upper=True)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, count=st.integers(2, 1_100), least=st.sampled_from([-1.0, 0.3, 0.8, 1.0]))
def test_pairs_above_are_all_that_reach_the_bound(seed: int, count: int, least: float) -> None:
    a = vectors(seed, count)
    found = pairs_above(a, None, least, 10_000_000)
    values = np.where(np.triu(np.ones((count, count), bool), 1), scores(a, a, "cosine"), -2)
    assert cells(found.rows, found.columns) == [tuple(cell) for cell in np.argwhere(values >= least).tolist()]
    assert found.complete_above < least


@settings(deadline=None, max_examples=40)
@given(seed=seeds, left=st.integers(1, 1_100), right=st.integers(1, 300), limit=st.integers(1, 500))
def test_too_many_pairs_are_cut_where_a_score_ends(seed: int, left: int, right: int, limit: int) -> None:
    a, b = vectors(seed, left), vectors(seed + 1, right)
    found = pairs_above(a, b, 0, limit)
    values = scores(a, b, "cosine")
    assert len(found) <= limit
    if (values >= 0).sum() > limit:
        assert found.complete_above == np.sort(values, axis=None)[-limit - 1]
        assert cells(found.rows, found.columns) == [
            tuple(c) for c in np.argwhere(values > found.complete_above).tolist()
        ]


@settings(deadline=None, max_examples=40)
@given(
    seed=seeds,
    count=st.integers(1, 2_300),
    top=st.integers(1, 40),
    least=st.sampled_from([-1.0, 0.5, 0.9]),
    itself=st.booleans(),
)
def test_neighbours_are_the_nearest_with_ties_in_order(
    seed: int, count: int, top: int, least: float, itself: bool
) -> None:
    a = vectors(seed, count)
    b = a if itself else vectors(seed + 1, 700)
    values = scores(a, b, "cosine")
    if itself:
        np.fill_diagonal(values, -2)
    found = nearest_neighbours(a, None if itself else b, top, least=least)
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    best = np.take_along_axis(values, order, axis=1)
    np.testing.assert_array_equal(found.columns[:, : order.shape[1]], np.where(best >= least, order, -1))
    np.testing.assert_array_equal(found.scores[:, : order.shape[1]], np.where(best >= least, best, -np.inf))
    assert (found.columns[:, order.shape[1] :] == -1).all()


def test_progress_rises_to_the_total_and_the_threads_end() -> None:
    steps: list[tuple[int, int]] = []
    threads = threading.active_count()
    top_pairs(vectors(0, 3_000), None, 5, Watch(progress=lambda done, total: steps.append((done, total))))
    assert steps == [(done, 6) for done in range(1, 7)]
    assert threading.active_count() == threads


def test_cancellation_stops_within_a_band_and_ends_the_threads() -> None:
    begun = threading.Event()
    cancelled = threading.Event()
    seen: list[int] = []

    def cancel() -> None:
        if begun.is_set():
            cancelled.set()
            raise CancelledError

    def look(row: int, blocks: Iterator[tuple[int, Block]]) -> None:
        for column, _ in blocks:
            seen.append(column)
            begun.set()
            cancelled.wait()

    threads = threading.active_count()
    with pytest.raises(CancelledError):
        for _ in bands(look, Side(vectors(0, 10)), Side(vectors(1, 1_000_000)), Watch(cancelled=cancel)):
            pass
    assert len(seen) < 1_000_000 // 2_048
    assert threading.active_count() == threads


def random_pairs(seed: int, count: int) -> tuple[Vectors, Scores]:
    a = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return a, scores(a, a, "cosine")


@pytest.mark.parametrize("dense", [2, 2_000])
@settings(deadline=None, max_examples=60)
@given(seed=seeds, count=st.integers(1, 120), threshold=st.sampled_from([0.3, 0.6, 0.8, 0.95]))
def test_groups_of_pairs_are_the_groups_of_the_matrix(dense: int, seed: int, count: int, threshold: float) -> None:
    a, values = random_pairs(seed, count)
    pairs = pairs_above(a, None, threshold - 0.01, 100_000)
    found = complete_groups_of_pairs(pairs, count, threshold, largest_matrix=dense)
    assert found == complete_groups(values, threshold)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, count=st.integers(1, 150), threshold=st.sampled_from([0.5, 0.9, 1.0]))
def test_every_two_of_a_group_reach_the_threshold(seed: int, count: int, threshold: float) -> None:
    """With copies and zero rows, whose cosines tie."""
    a = vectors(seed, count)
    values = scores(a, a, "cosine")
    found = complete_groups_of_pairs(pairs_above(a, None, threshold, 100_000), count, threshold)
    members = [member for group in found for member in group]
    assert len(members) == len(set(members))
    for group in found:
        inside = values[np.ix_(group, group)][np.triu_indices(len(group), 1)]
        assert inside.min() >= threshold


@settings(deadline=None)
@given(seed=seeds, count=st.integers(2, 60))
def test_the_suggested_threshold_needs_only_the_doubtful_pairs(seed: int, count: int) -> None:
    a, values = random_pairs(seed, count)
    pairs = pairs_above(a, None, 0.4, 100_000)
    assert suggested_threshold(pairs.scores, 0.4, 0.7) == suggested_threshold(values, 0.4, 0.7)


def test_a_threshold_that_incomplete_pairs_cannot_serve_is_refused() -> None:
    a, _ = random_pairs(0, 50)
    pairs = pairs_above(a, None, 0.2, 10)
    suggested = suggested_threshold(pairs.scores, 0.2, 0.5, pairs.complete_above)
    assert suggested > pairs.complete_above > 0.2
    assert complete_groups_of_pairs(pairs, 50, suggested)
    with pytest.raises(ValueError, match="is not over"):
        complete_groups_of_pairs(pairs, 50, 0.2)


def test_the_doubtful_pairs_are_those_nearest_the_threshold() -> None:
    a, values = random_pairs(3, 40)
    found = nearest_threshold(pairs_above(a, None, 0.2, 10_000), 0.5, 7)
    upper = [(row, column) for row in range(40) for column in range(row + 1, 40) if values[row, column] >= 0.2]
    expected = sorted(upper, key=lambda cell: (round(abs(float(values[cell]) - 0.5), 6), cell))[:7]
    assert found == [(*cell, values[cell]) for cell in expected]
