"""Properties of quantized vectors: nothing that is among the nearest is ever ruled out."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mcp_server_embeddings.vectors import quantized as module
from mcp_server_embeddings.vectors.quantized import Part, candidates, dots_by_numpy, joined, quantized
from mcp_server_embeddings.vectors.scores import Vectors, scores, unit_rows

numbers = st.sampled_from([0.0, 1.0, -1.0, 1e-3]) | st.floats(-10, 10, width=32).filter(lambda x: abs(x) > 1e-3)
matrices = st.integers(1, 40).flatmap(lambda n: arrays(np.float32, (n, 6), elements=numbers))


def clustered(rows: int, dimensions: int, seed: int) -> Vectors:
    """Rows close around a few centres, some twice, of very different lengths, one of zeros."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((10, dimensions))
    around = centres[generator.integers(0, 10, rows)] + 0.05 * generator.standard_normal((rows, dimensions))
    around[rows // 2 :: 7] = around[0]
    around[-1] = 0
    return (around * generator.uniform(0.1, 50, (rows, 1))).astype(np.float32)


def random(rows: int, dimensions: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).standard_normal((rows, dimensions), np.float32)


def assert_none_is_missed(vectors: Vectors, query: Vectors, k: int, parts: int = 3) -> int:
    """The nearest by all vectors, with those that tie with the last, are among the candidates; how many these are."""
    units = unit_rows(vectors)
    bounds = np.linspace(0, len(units), parts + 1).astype(int)
    divided = [Part(quantized(units[start:stop])) for start, stop in pairwise(bounds)]
    found = candidates(divided, unit_rows(query[None, :])[0], k)
    places = [int(start + row) for start, rows in zip(bounds, found.positions, strict=False) for row in rows]
    near = set(places)
    cosines = scores(vectors, query[None, :], "cosine")[:, 0]
    assert (cosines[places] <= found.upper).all()
    least = np.sort(cosines)[::-1][min(k, len(cosines)) - 1]
    assert set(np.flatnonzero(cosines >= least).tolist()) <= near
    return len(near)


@pytest.mark.slow
@given(vectors=matrices, query=arrays(np.float32, 6, elements=numbers), k=st.integers(1, 50))
def test_the_nearest_are_candidates_whatever_the_vectors(vectors: Vectors, query: Vectors, k: int) -> None:
    assert_none_is_missed(vectors, query, k)


@pytest.mark.parametrize("dimensions", [1, 7, 384, 1536])
@pytest.mark.parametrize("made", [random, clustered])
def test_the_nearest_are_candidates_in_many_dimensions(made: object, dimensions: int) -> None:
    vectors = random(2_000, dimensions, 0) if made is random else clustered(2_000, dimensions, 0)
    for query in (*random(5, dimensions, 1), *vectors[:5]):
        assert_none_is_missed(vectors, query, 10)


@pytest.mark.slow
def test_of_random_vectors_few_are_candidates() -> None:
    vectors = random(20_000, 384, 0)
    assert max(assert_none_is_missed(vectors, query, 10) for query in random(10, 384, 1)) < 60


def test_only_positions_of_a_part_are_candidates() -> None:
    units = unit_rows(random(1_000, 16, 0))
    query = units[5]
    for positions in (np.arange(0, 1_000, 2), np.array([3, 5, 900]), np.empty(0, np.int64)):
        (found,) = candidates([Part(quantized(units), positions)], query, 3).positions
        assert set(found.tolist()) <= set(positions.tolist())
        exact = positions[np.argsort(-np.round(units[positions] @ query, 6), kind="stable")[:3]]
        assert set(exact.tolist()) <= set(found.tolist())


def test_nothing_is_wanted_or_there() -> None:
    units = unit_rows(random(5, 4, 0))
    assert candidates([], units[0], 3).positions == []
    assert [rows.tolist() for rows in candidates([Part(quantized(units))], units[0], 0).positions] == [[]]


def test_errors_are_the_lengths_of_what_is_left() -> None:
    units = np.concatenate([unit_rows(random(50, 24, 0)), np.zeros((1, 24), np.float32), np.eye(24, dtype=np.float32)])
    found = joined([quantized(units[:30]), quantized(units[30:])])
    assert len(found) == len(units)
    left = units.astype(np.float64) - found.codes * found.scales[:, None].astype(np.float64)
    np.testing.assert_allclose(found.errors, np.linalg.norm(left, axis=1), atol=1e-7)
    assert found.errors[50] == 0
    assert found.codes.min() >= -127


@pytest.mark.parametrize("dimensions", [5, 384, 1_500])
def test_numpy_multiplies_as_the_library_does(dimensions: int) -> None:
    pytest.importorskip("numkong")
    codes = np.random.default_rng(0).integers(-127, 128, (3_000, dimensions), np.int8)
    codes[0] = 127
    query = codes[:1]
    expected = codes.astype(np.int64) @ query[0].astype(np.int64)
    np.testing.assert_allclose(module._dot_products()(query, codes), expected, rtol=1e-7)
    np.testing.assert_allclose(dots_by_numpy(query, codes), expected, rtol=1e-7)
