"""Properties of the mathematics for large sets: what is found block by block is what the whole matrix gives."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from mcp_server_embeddings.vectors.blocks import Block, Side, Watch, bands, pairs_above, top_pairs
from mcp_server_embeddings.vectors.clustering import LARGEST_TREE, clustered, ward_tree
from mcp_server_embeddings.vectors.coverage import best_cover, best_cover_of_vectors, risen
from mcp_server_embeddings.vectors.duplicates import (
    complete_groups,
    complete_groups_of_pairs,
    nearest_threshold,
    suggested_threshold,
)
from mcp_server_embeddings.vectors.labelling import Probe, class_means, labelled, minimum
from mcp_server_embeddings.vectors.matching import matched, one_to_one
from mcp_server_embeddings.vectors.neighbours import nearest_neighbours
from mcp_server_embeddings.vectors.scores import Scores, Vectors, best_cells, scores, unit_rows

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


@settings(max_examples=20)
@given(seed=seeds, left=st.integers(1, 1_100), right=st.integers(1, 2_300), top=st.integers(1, 300))
def test_top_pairs_are_the_best_cells(seed: int, left: int, right: int, top: int) -> None:
    a, b = vectors(seed, left), vectors(seed + 1, right)
    found = top_pairs(a, b, top)
    values = scores(a, b, "cosine")
    assert cells(found.rows, found.columns) == best_cells(values, top, upper=False)
    np.testing.assert_array_equal(found.scores, values[found.rows, found.columns])


@settings(max_examples=20)
@given(seed=seeds, count=st.integers(2, 1_100), top=st.integers(1, 300))
def test_top_pairs_of_one_set_come_once(seed: int, count: int, top: int) -> None:
    a = vectors(seed, count)
    found = top_pairs(a, None, top)
    assert cells(found.rows, found.columns) == best_cells(scores(a, a, "cosine"), top, upper=True)


@pytest.mark.slow
@settings(max_examples=20)
@given(seed=seeds, count=st.integers(2, 1_100), least=st.sampled_from([-1.0, 0.3, 0.8, 1.0]))
def test_pairs_above_are_all_that_reach_the_bound(seed: int, count: int, least: float) -> None:
    a = vectors(seed, count)
    found = pairs_above(a, None, least, 10_000_000)
    values = np.where(np.triu(np.ones((count, count), bool), 1), scores(a, a, "cosine"), -2)
    assert cells(found.rows, found.columns) == [tuple(cell) for cell in np.argwhere(values >= least).tolist()]
    assert found.complete_above < least


@settings(max_examples=20)
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


@settings(max_examples=20)
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
    assert len(seen) < 1_000_000 // 1_024
    assert threading.active_count() == threads


def random_pairs(seed: int, count: int) -> tuple[Vectors, Scores]:
    a = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    return a, scores(a, a, "cosine")


@pytest.mark.parametrize("dense", [2, 2_000])
@settings(max_examples=60)
@given(seed=seeds, count=st.integers(1, 120), threshold=st.sampled_from([0.3, 0.6, 0.8, 0.95]))
def test_groups_of_pairs_are_the_groups_of_the_matrix(dense: int, seed: int, count: int, threshold: float) -> None:
    a, values = random_pairs(seed, count)
    pairs = pairs_above(a, None, threshold - 0.01, 100_000)
    found = complete_groups_of_pairs(pairs, count, threshold, largest_matrix=dense)
    assert found == complete_groups(values, threshold)


@settings(max_examples=60)
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


def themes(seed: int, count: int, number: int) -> Vectors:
    """Rows around so many directions."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(number, 32))
    rows = centres[random.integers(0, number, count)] + 0.5 * random.normal(size=(count, 32))
    return unit_rows(rows.astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("number", [None, 7])
def test_clusters_of_more_rows_than_a_tree_holds_are_a_partition_and_the_same_each_time(number: int | None) -> None:
    rows = themes(0, LARGEST_TREE + 500, 12)
    tree = ward_tree(rows)
    first, second = (clustered(rows, tree, number, weak=0.3, close=0.9) for _ in range(2))
    assert first == second
    assert len(first.groups) == (number or 12)
    every = [position for group in first.groups for position in group.members] + first.outliers
    assert sorted(every) == list(range(len(rows)))


@pytest.mark.slow
@settings(max_examples=4)
@given(seed=seeds, number=st.integers(8, 30))
def test_the_themes_of_a_thousand_rows_are_counted(seed: int, number: int) -> None:
    rows = themes(seed, 1_000, number)
    found = clustered(rows, ward_tree(rows), None, weak=0.3, close=0.9)
    assert abs(len(found.groups) - number) <= 2
    assert len(found.outliers) <= 100
    assert len(found.groups[0].members) <= 300


def test_clustering_stops_when_it_is_cancelled() -> None:
    rows = themes(0, 2_000, 12)

    def cancel() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        clustered(rows, ward_tree(rows), None, weak=0.3, close=0.9, watch=Watch(cancelled=cancel))


@settings(max_examples=100)
@given(
    seed=seeds,
    left=st.integers(1, 90),
    right=st.integers(1, 90),
    threshold=st.sampled_from([-0.5, 0.2, 0.6, 0.9]),
    largest=st.sampled_from([0, 50]),
)
def test_a_sparse_matching_has_the_sum_of_the_whole(
    seed: int, left: int, right: int, threshold: float, largest: int
) -> None:
    a, b = vectors(seed, left, 4), vectors(seed + 1, right, 4)
    found, exact = matched(a, b, threshold, largest_matrix=largest)
    values = scores(a, b, "cosine")
    pairs = cells(found.rows, found.columns)
    assert exact
    assert len(set(found.rows.tolist())) == len(set(found.columns.tolist())) == len(pairs)
    assert pairs == sorted(pairs)
    np.testing.assert_array_equal(found.scores, values[found.rows, found.columns])
    expected = one_to_one(values, threshold)
    assert len(pairs) == len(expected)
    assert found.scores.sum() == pytest.approx(sum(float(values[cell]) for cell in expected), abs=1e-4)


@settings(max_examples=30)
@given(seed=seeds, count=st.integers(60, 120))
def test_with_too_many_pairs_the_nearest_take_part(seed: int, count: int) -> None:
    a, b = vectors(seed, count, 4), vectors(seed + 1, count, 4)
    found, exact = matched(a, b, 0, largest_matrix=0, max_pairs=100)
    values = scores(a, b, "cosine")
    best = sum(float(values[cell]) for cell in one_to_one(values, 0))
    assert not exact
    assert len(set(found.rows.tolist())) == len(set(found.columns.tolist())) == len(found)
    assert found.scores.min() >= 0
    assert 0.97 * best <= found.scores.sum() <= best + 1e-4


@settings(max_examples=40)
@given(seed=seeds, count=st.integers(1, 60), labels=st.integers(2, 12), probed=st.booleans())
def test_labels_in_blocks_are_the_labels_of_each(seed: int, count: int, labels: int, probed: bool) -> None:
    rows, examples = vectors(seed, count), vectors(seed + 1, 4 * labels)
    classes = np.arange(4 * labels) % labels
    means = class_means(examples, classes, labels)
    found = labelled(rows, means, Probe(examples, classes) if probed else None)
    cosines = scores(rows, means, "cosine")
    likely = Probe(examples, classes).probabilities(rows) if probed else cosines
    sure = found.sure(0.3, 0.05)
    for index, row in enumerate(likely):
        first, second = np.argsort(-row, kind="stable")[:2]
        lead = cosines[index, first] - np.delete(cosines[index], first).max()
        assert (found.best[index], found.second[index]) == (first, second)
        assert found.scores[index] == cosines[index, first]
        assert found.margins[index] == pytest.approx(row[first] - row[second], abs=1e-9)
        assert found.leads[index] == pytest.approx(lead, abs=1e-9)
        assert sure[index] == (found.scores[index] + found.leads[index] / 2 >= 0.3 and found.margins[index] >= 0.05)


@pytest.mark.parametrize(("count", "labels"), [(40, 5), (300, 12)])
def test_a_probe_is_a_logistic_regression_with_the_nearest_examples(count: int, labels: int) -> None:
    examples, rows = unit_rows(vectors(2, count, 32)), unit_rows(vectors(3, 50, 32))
    classes = np.arange(count) % labels
    regression = LogisticRegression(C=20, max_iter=1_000).fit(examples.astype(float), classes)
    nearest = np.stack([(rows @ examples[classes == label].T).max(axis=1) for label in range(labels)], axis=1)
    expected = regression.predict_proba(rows.astype(float)) * np.exp(5 * nearest)
    found = Probe(examples, classes).probabilities(rows)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=0.02)


@settings(max_examples=40)
@given(seed=seeds, count=st.integers(1, 30))
def test_a_minimum_is_as_low_as_scipys(seed: int, count: int) -> None:
    points = vectors(seed, count).astype(float)

    def loss(at: Scores) -> tuple[float, Scores]:
        return float(np.logaddexp(0, points @ at).mean() + at @ at / 200), points.T @ (
            1 / (1 + np.exp(-points @ at))
        ) / count + at / 100

    found, start = minimum(loss, np.zeros(6)), np.zeros(6)
    assert np.abs(loss(found)[1]).max() <= 1e-4
    assert loss(found)[0] <= minimize(loss, start, method="L-BFGS-B", jac=True).fun + 1e-5


def test_several_blocks_are_labelled_in_order_and_progress_is_told() -> None:
    rows, steps = vectors(0, 5_000), list[int]()
    means = unit_rows(vectors(1, 9))
    found = labelled(rows, means, watch=Watch(progress=lambda done, total: steps.append(done)))
    np.testing.assert_array_equal(found.best, np.argmax(scores(rows, means, "cosine"), axis=1))
    assert steps == [1, 2, 3]


@settings(max_examples=40)
@given(
    seed=seeds,
    count=st.integers(2, 50),
    budget=st.sampled_from([None, 20, 60]),
    most=st.integers(1, 50),
    edge=st.sampled_from([0.1, 0.6]),
)
def test_a_cover_by_all_neighbours_is_the_cover_by_the_matrix(
    seed: int, count: int, budget: int | None, most: int, edge: float
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 4)).astype(np.float32)
    weights, costs = random.uniform(0.1, 1, count), random.integers(1, 20, count)
    sparse, dense = (
        best_cover_of_vectors(rows, weights, costs, edge, budget=budget, count=most, largest_matrix=largest)
        for largest in (0, 50)
    )
    whole = best_cover(risen(scores(rows, rows, "cosine"), edge), weights, costs, budget=budget, count=most)
    assert dense == whole
    assert sparse.rows == whole.rows
    assert sparse.coverage == pytest.approx(whole.coverage, abs=1e-9)


def test_a_cover_by_few_neighbours_stays_within_its_bounds() -> None:
    rows, costs = themes(0, 600, 20), np.full(600, 3)
    few, whole = (
        best_cover_of_vectors(rows, np.ones(600), costs, 0.3, budget=60, count=100, largest_matrix=m, neighbours=10)
        for m in (0, 600)
    )
    assert len(few.rows) == len(set(few.rows)) == 20
    assert 0.95 * whole.coverage <= few.coverage <= 1
