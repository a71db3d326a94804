"""The tool ``align``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import REWORDED, THEMES
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.align import align
from mcp_server_embeddings.vectors.matching import one_to_one
from mcp_server_embeddings.vectors.scores import Scores

OLD = [*(old for old, _ in REWORDED), *THEMES["garden"][:2]]
NEW = [*(new for _, new in reversed(REWORDED)), *THEMES["orchestra"][:3]]
cosine_matrices = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1).map(lambda x: round(x, 3)))
)


def test_rewordings_are_matched_and_the_rest_is_told(embedder: Embedder) -> None:
    found = align(embedder, OLD, NEW)
    assert {(pair.left, pair.right) for pair in found.matches} == {(0, 3), (1, 2), (2, 1), (3, 0)}
    assert (found.left_only, found.right_only) == ([4, 5], [4, 5, 6])
    assert (found.counts.matches, found.counts.left_only, found.counts.right_only) == (4, 2, 3)
    assert [pair.score for pair in found.matches] == sorted(pair.score for pair in found.matches)


@settings(max_examples=20, deadline=None)
@given(lefts=st.permutations(range(len(OLD))), rights=st.permutations(range(len(NEW))))
def test_permuting_the_lists_permutes_the_matches(embedder: Embedder, lefts: list[int], rights: list[int]) -> None:
    plain = align(embedder, OLD, NEW)
    found = align(embedder, [OLD[i] for i in lefts], [NEW[i] for i in rights])
    matches = {(lefts[pair.left], rights[pair.right]) for pair in found.matches}
    assert matches == {(pair.left, pair.right) for pair in plain.matches}
    assert sorted(lefts[i] for i in found.left_only) == plain.left_only
    assert sorted(rights[i] for i in found.right_only) == plain.right_only


@settings(max_examples=300)
@given(cosines=cosine_matrices, threshold=st.floats(0, 1))
def test_a_matching_is_one_to_one_and_reaches_the_threshold(cosines: Scores, threshold: float) -> None:
    pairs = one_to_one(cosines, threshold)
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert all(cosines[pair] >= threshold - 1e-6 for pair in pairs)


@settings(max_examples=300)
@given(cosines=cosine_matrices, one=st.floats(0, 1), other=st.floats(0, 1))
def test_a_higher_threshold_never_matches_more(cosines: Scores, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert len(one_to_one(cosines, high)) <= len(one_to_one(cosines, low))


def test_the_whole_decides_and_not_the_first_best() -> None:
    """Row 0 prefers column 0, but then row 1 would be left alone."""
    cosines = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert one_to_one(cosines, 0.5) == [(0, 1), (1, 0)]


def test_a_pair_below_the_threshold_parts_no_good_match() -> None:
    """Matching both rows would give a higher sum of cosines, but only by one pair that does not count."""
    cosines = np.array([[0.9, 0.6], [0.6, 0.0]])
    assert one_to_one(cosines, 0.7) == [(0, 0)]


def test_swapping_the_lists_swaps_the_answer(embedder: Embedder) -> None:
    there, back = align(embedder, OLD, NEW), align(embedder, NEW, OLD)
    assert {(p.left, p.right, p.score) for p in there.matches} == {(p.right, p.left, p.score) for p in back.matches}
    assert (there.left_only, there.right_only) == (back.right_only, back.left_only)


def test_equal_lists_match_completely_at_threshold_one(embedder: Embedder) -> None:
    found = align(embedder, OLD, OLD, threshold=1.0)
    assert {(pair.left, pair.right) for pair in found.matches} == {(i, i) for i in range(len(OLD))}
    assert all(pair.score == 1.0 for pair in found.matches)


def test_the_threshold_is_where_related_begins_unless_given(embedder: Embedder) -> None:
    assert align(embedder, OLD, NEW).threshold == pytest.approx(embedder.calibration().edges[1], abs=1e-4)


def test_a_text_beside_many_copies_is_matched_once(embedder: Embedder) -> None:
    found = align(embedder, ["Tomatoes need sun."], ["Tomatoes need sun."] * 500)
    assert len(found.matches) == 1
    assert found.counts.right_only == 499
