"""Properties of the vector mathematics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sentence_transformers import util

from mcp_server_embeddings.vectors.calibration import BANDS, Calibration, SearchCalibration
from mcp_server_embeddings.vectors.fusion import above_chance, fused_scores
from mcp_server_embeddings.vectors.scores import Metric, Scores, Vectors, best_cells, scores, unit_rows
from mcp_server_embeddings.vectors.shape import joined_windows, shortened

METRICS: tuple[Metric, ...] = ("cosine", "dot", "euclidean", "manhattan")
numbers = st.floats(-10, 10, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
matrices = st.integers(1, 8).flatmap(lambda n: arrays(np.float32, (n, 5), elements=numbers))


@pytest.mark.parametrize("metric", METRICS)
@given(left=matrices, right=matrices)
def test_scores_equal_those_of_sentence_transformers(metric: Metric, left: Vectors, right: Vectors) -> None:
    function = {
        "cosine": util.cos_sim,
        "dot": util.dot_score,
        "euclidean": util.euclidean_sim,
        "manhattan": util.manhattan_sim,
    }[metric]
    expected = function(left.astype(np.float64), right.astype(np.float64)).numpy()
    np.testing.assert_allclose(scores(left, right, metric), expected, atol=2e-5)


@pytest.mark.parametrize("metric", METRICS)
@given(vectors=matrices)
def test_scores_are_symmetric(metric: Metric, vectors: Vectors) -> None:
    values = scores(vectors, vectors, metric)
    np.testing.assert_allclose(values, values.T, atol=1e-9)


def test_manhattan_in_blocks_equals_manhattan_at_once() -> None:
    random = np.random.default_rng(0)
    left, right = (random.normal(size=(n, 384)).astype(np.float32) for n in (300, 290))
    expected = -np.abs(left[:, None].astype(np.float64) - right[None].astype(np.float64)).sum(axis=2)
    np.testing.assert_allclose(scores(left, right, "manhattan"), expected)


@given(vectors=matrices, factor=st.floats(0.01, 100))
def test_cosine_ignores_length_and_stays_in_range(vectors: Vectors, factor: float) -> None:
    scaled = (vectors * np.float32(factor)).astype(np.float32)
    values = scores(vectors, vectors, "cosine")
    np.testing.assert_allclose(values, scores(scaled, vectors, "cosine"), atol=1e-4)
    assert np.abs(values).max() <= 1


@given(vectors=matrices)
def test_unit_rows_have_length_one_or_stay_zero(vectors: Vectors) -> None:
    lengths = np.linalg.norm(unit_rows(vectors), axis=1)
    zero = (vectors == 0).all(axis=1)
    np.testing.assert_allclose(lengths, np.where(zero, 0, 1), atol=1e-5)


@given(
    values=st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
    ),
    top=st.integers(1, 100),
)
def test_best_cells_are_the_highest_with_ties_in_order(values: Scores, top: int) -> None:
    every = sorted(np.ndindex(values.shape), key=lambda cell: (-values[cell], cell))
    assert best_cells(values, top, upper=False) == every[:top]


@given(count=st.integers(2, 9), top=st.integers(1, 50))
def test_best_pairs_of_one_list_come_once_and_never_with_themselves(count: int, top: int) -> None:
    values = np.random.default_rng(count).normal(size=(count, count))
    pairs = best_cells(values, top, upper=True)
    assert all(left < right for left, right in pairs)
    assert len(set(pairs)) == len(pairs) == min(top, count * (count - 1) // 2)


@given(windows=matrices)
def test_one_window_is_the_vector_itself(windows: Vectors) -> None:
    np.testing.assert_allclose(joined_windows(windows[:1], [7], normalised=False), windows[:1], atol=1e-5)


@given(windows=matrices, dimensions=st.integers(1, 5))
def test_shortened_vectors_point_where_their_prefix_points(windows: Vectors, dimensions: int) -> None:
    short = shortened(windows, dimensions)
    assert short.shape == (len(windows), dimensions)
    np.testing.assert_allclose(short, unit_rows(windows[:, :dimensions]))


def groups(seed: int, spread: float = 1.0) -> tuple[Vectors, Vectors, Vectors]:
    """Statements, near copies, and vectors half as near."""
    random = np.random.default_rng(seed)
    statement, noise, far = (random.normal(size=(40, 16)).astype(np.float32) for _ in range(3))
    return statement, statement + 0.4 * spread * noise, statement + spread * far


@given(seed=st.integers(0, 50))
def test_percentile_and_band_never_fall_as_the_score_rises(seed: int) -> None:
    calibration = Calibration.from_groups(*groups(seed))
    steps = np.linspace(-1, 1, 101)
    percentiles = [calibration.percentile(float(step)) for step in steps]
    bands = [BANDS.index(calibration.band(float(step))) for step in steps]
    assert percentiles == sorted(percentiles)
    assert bands == sorted(bands)
    assert (percentiles[0], percentiles[-1]) == (0, 100)
    assert (bands[0], bands[-1]) == (0, len(BANDS) - 1)


@given(seed=st.integers(0, 50), slope=st.floats(0.05, 1), shift=st.floats(0, 0.5))
def test_bands_mean_the_same_on_a_model_whose_scores_lie_elsewhere(seed: int, slope: float, shift: float) -> None:
    """A model like bge, whose unrelated pairs score 0.6, gets the bands of one whose pairs score 0.0."""
    plain = Calibration.from_groups(*groups(seed))
    high = Calibration(*(slope * s + shift for s in (plain.unrelated, plain.related, plain.paraphrase)))
    for score in np.linspace(-0.99, 0.99, 67):
        if min(abs(score - edge) for edge in plain.edges) > 1e-3:
            assert plain.band(float(score)) == high.band(float(slope * score + shift))


def test_the_three_samples_hold_every_pair_of_their_kind() -> None:
    statement, paraphrase, related = groups(1)
    calibration = Calibration.from_groups(statement, paraphrase, related)
    count = len(statement)
    assert len(calibration.paraphrase) == count
    assert len(calibration.related) == 2 * count
    assert len(calibration.unrelated) == 9 * count * (count - 1) // 2


@given(seed=st.integers(0, 20), slope=st.floats(0.05, 1), shift=st.floats(0, 0.5))
def test_a_search_means_the_same_on_a_model_whose_scores_lie_elsewhere(seed: int, slope: float, shift: float) -> None:
    """Bands, order and no_match."""
    plain = search_calibration(seed)
    high = SearchCalibration(
        *((slope * s + shift).astype(np.float32) for s in (plain.unrelated, plain.related, plain.paraphrase))
    )
    random = np.random.default_rng(seed)
    cosines, words = random.uniform(-0.9, 0.9, 200), random.exponential(size=200) * random.integers(0, 2, 200)
    for score in cosines:
        if min(abs(score - edge) for edge in plain.edges) > 1e-3:
            assert plain.band(float(score)) == high.band(float(slope * score + shift))
    both = ((cosines, plain), (slope * cosines + shift, high))
    one, other = (fused_scores(given, words, 3, 5_000, of) for given, of in both)
    np.testing.assert_allclose(one, other, rtol=1e-3)
    for by_words in (words, None):
        one, other = (above_chance(given, by_words, 3, 5_000, of) for given, of in both)
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_the_more_passages_the_nearer_must_a_match_be() -> None:
    calibration = search_calibration(3)
    chances = [calibration.by_chance(number) for number in (1, 3, 10, 100, 1_000, 1_000_000)]
    assert chances == sorted(chances)
    weak, *_ = calibration.edges
    assert chances[0] == pytest.approx(float(calibration.relative(np.array(weak))), abs=1e-5)
    # Beyond what the sample shows, each tenfold adds as much.
    thousand, ten, hundred = (calibration.by_chance(number) for number in (1_000, 10_000, 100_000))
    assert hundred - ten == pytest.approx(ten - thousand)
    assert hundred > ten


def test_words_can_make_a_match_that_meaning_alone_does_not() -> None:
    calibration = search_calibration(3)
    cosines = np.array([float(calibration.edges[1])] * 2)
    plain, with_words = above_chance(cosines, np.array([0.0, 20.0]), 2, 1_000, calibration)
    assert with_words > plain
    assert above_chance(cosines, np.array([0.0, 20.0]), 4, 1_000, calibration)[1] < with_words


def search_calibration(seed: int) -> SearchCalibration:
    """Queries are noisier than paraphrases."""
    random = np.random.default_rng(seed)
    statement, paraphrase, related = groups(seed)
    query = statement + 0.8 * random.normal(size=statement.shape).astype(np.float32)
    return SearchCalibration.from_queries(query, statement, paraphrase, related)
