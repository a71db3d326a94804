"""The tool ``align``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import REWORDED, THEMES, sentences
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.align import align
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, json_length
from mcp_server_embeddings.tools.results import AlignResult, ItemText
from mcp_server_embeddings.vectors.matching import one_to_one
from mcp_server_embeddings.vectors.scores import Scores

OLD = [*(old for old, _ in REWORDED), *THEMES["garden"][:2]]
NEW = [*(new for _, new in reversed(REWORDED)), *THEMES["orchestra"][:3]]
cosine_matrices = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1).map(lambda x: round(x, 3)))
)

REQUIREMENTS = [
    ("The server must answer within 2 seconds.", "The server must answer within 5 seconds."),
    ("Users can delete their account.", "Users cannot delete their account."),
    ("The administrator approves every invoice.", "The administrator rejects every invoice."),
    ("Access is logged before the door opens.", "Access is logged after the door opens."),
    ("The backup runs every night.", "Every night the backup runs."),
    ("The meeting was moved to Friday.", "They moved the meeting to Friday."),
]
"""Four that changed in a number, a negation, a verb and an opposite, and two that were merely reworded."""


def matches(found: AlignResult) -> set[tuple[int, int]]:
    pairs = [(pair.left, pair.right) for pair in found.changed] + [(left, right) for left, right in found.same]
    assert len(pairs) == len(set(pairs))
    return {(int(left), int(right)) for left, right in pairs}


def only(items: Sequence[ItemText]) -> list[int]:
    return [int(item.id) for item in items]


def test_what_one_side_only_has_comes_with_texts_as_long_as_fit(embedder: Embedder) -> None:
    long = [f"{number} {word} " * 30 for number, word in enumerate(("ships", "violins", "roses", "bread"))]
    few = align(embedder, ["Cats sleep."], long[:2], threshold=0.9).right_only
    assert [item.text for item in few] == [f"{text[:159].rstrip()}…" for text in long[:2]]
    many = align(embedder, ["Cats sleep."], long * 6, threshold=0.9).right_only
    assert {len(item.text) for item in many} <= {79, 80}
    crowd = align(embedder, ["Cats sleep."], [f"Ship number {number}" for number in range(101)], threshold=0.9)
    assert [item.text for item in crowd.right_only] == [""] * 101
    assert crowd.notes == []


def test_rewordings_are_matched_and_the_rest_is_told(embedder: Embedder) -> None:
    found = align(embedder, OLD, NEW)
    assert matches(found) == {(0, 3), (1, 2), (2, 1), (3, 0)}
    assert [(item.id, item.text) for item in found.left_only] == [(at, OLD[at]) for at in (4, 5)]
    assert [(item.id, item.text) for item in found.right_only] == [(at, NEW[at]) for at in (4, 5, 6)]
    assert (found.counts.changed + found.counts.same, found.counts.left_only, found.counts.right_only) == (4, 2, 3)
    assert found.notes == []


def test_what_changed_comes_first_with_its_texts_and_rewordings_are_the_same(embedder: Embedder) -> None:
    olds, news = ([pair[side] for pair in REQUIREMENTS] for side in (0, 1))
    found = align(embedder, olds, news)
    assert {pair.left for pair in found.changed} == {0, 1, 2, 3}
    assert found.same == [[4, 4], [5, 5]]
    by_left = {pair.left: pair for pair in found.changed}
    assert all(pair.texts == [olds[int(pair.left)], news[int(pair.right)]] for pair in found.changed)
    differs = {left: pair.differs for left, pair in by_left.items()}
    assert all(differs.values())
    numbers, negation, words, opposite = (differs[left] for left in range(4))
    assert numbers is not None
    assert numbers.numbers == ["2 seconds → 5 seconds"]
    assert negation is not None
    assert negation.negation == ["∅ → not"]
    assert words is not None
    assert words.removed + words.added + words.negation
    assert opposite is not None
    assert opposite.negation == ["before → after"]


@settings(max_examples=20)
@given(lefts=st.permutations(range(len(OLD))), rights=st.permutations(range(len(NEW))))
def test_permuting_the_lists_permutes_the_matches(embedder: Embedder, lefts: list[int], rights: list[int]) -> None:
    plain = align(embedder, OLD, NEW)
    found = align(embedder, [OLD[i] for i in lefts], [NEW[i] for i in rights])
    assert {(lefts[left], rights[right]) for left, right in matches(found)} == matches(plain)
    assert sorted(lefts[at] for at in only(found.left_only)) == only(plain.left_only)
    assert sorted(rights[at] for at in only(found.right_only)) == only(plain.right_only)
    assert found.counts == plain.counts


@settings(max_examples=300)
@given(cosines=cosine_matrices, threshold=st.floats(0, 1))
def test_a_matching_is_one_to_one_and_reaches_the_threshold(cosines: Scores, threshold: float) -> None:
    pairs = one_to_one(cosines, threshold)
    rows, columns = [row for row, _ in pairs], [column for _, column in pairs]
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert all(cosines[pair] >= threshold - 1e-6 for pair in pairs)


@settings(max_examples=15)
@given(
    lefts=st.sets(st.integers(0, len(OLD) - 1), min_size=1),
    rights=st.sets(st.integers(0, len(NEW) - 1), min_size=1),
    threshold=st.sampled_from([None, 0.0, 0.3, 0.9]),
)
def test_every_item_is_matched_once_or_on_one_side_only(
    embedder: Embedder, lefts: set[int], rights: set[int], threshold: float | None
) -> None:
    found = align(embedder, {at: OLD[at] for at in lefts}, {at: NEW[at] for at in rights}, threshold=threshold)
    pairs = matches(found)
    assert sorted([left for left, _ in pairs] + only(found.left_only)) == sorted(lefts)
    assert sorted([right for _, right in pairs] + only(found.right_only)) == sorted(rights)
    assert found.counts.changed == len(found.changed)
    assert found.counts.same == len(found.same)


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
    assert matches(there) == {(left, right) for right, left in matches(back)}
    assert (there.left_only, there.right_only) == (back.right_only, back.left_only)


def test_equal_lists_match_completely_at_threshold_one(embedder: Embedder) -> None:
    found = align(embedder, OLD, OLD, threshold=1.0)
    assert found.same == [[i, i] for i in range(len(OLD))]
    assert (found.changed, found.left_only, found.right_only) == ([], [], [])


def test_the_threshold_is_where_related_begins_unless_given(embedder: Embedder) -> None:
    assert align(embedder, OLD, NEW).threshold == pytest.approx(embedder.calibration().edges[1], abs=1e-4)


def test_a_text_beside_many_copies_is_matched_once(embedder: Embedder) -> None:
    found = align(embedder, ["Tomatoes need sun."], ["Tomatoes need sun."] * 500)
    assert (found.counts.same, found.changed) == (1, [])
    assert found.counts.right_only == 499


def test_the_callers_ids_come_back(embedder: Embedder) -> None:
    found = align(embedder, {"R1": OLD[0], "R2": OLD[1]}, {"S2": REWORDED[1][1], "S1": REWORDED[0][1]})
    pairs = [[pair.left, pair.right] for pair in found.changed] + [list(pair) for pair in found.same]
    assert sorted(pairs, key=str) == [["R1", "S1"], ["R2", "S2"]]


@pytest.mark.slow
def test_a_thousand_a_side_fit_an_answer_and_are_all_counted(embedder: Embedder) -> None:
    every = sentences(600)
    found = align(embedder, every[:300], every[300:], threshold=0.5, top=1000)
    assert json_length(found) <= ANSWER_CHARACTERS
    assert found.counts.changed + found.counts.same + found.counts.left_only == 300
    assert len(found.changed) < found.counts.changed
    assert "not everything fits" in found.notes[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"left \(or left_source\) and right \(or right_source\) are missing"),
        ({"left": OLD}, r"right \(or right_source\) is missing"),
        ({"left": OLD, "right": NEW, "threshold": -0.1}, "a cosine from 0 to 1"),
        ({"left": OLD, "right": NEW, "left_source": "a.csv"}, "either left or left_source"),
        ({"left": OLD, "right": [" "]}, "right has only blank texts"),
        ({"left": OLD, "right": NEW, "save_as": "a.txt", "output_dir": Path("out")}, "another ending"),
    ],
)
def test_bad_input_names_the_fix(embedder: Embedder, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        align(embedder, **arguments)  # type: ignore[arg-type]
