"""The tool ``deduplicate``."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import COMPONENTS, REWORDED, TEXTS
from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, json_length
from mcp_server_embeddings.tools.deduplicate import deduplicate
from mcp_server_embeddings.tools.results import DeduplicateResult
from mcp_server_embeddings.vectors.duplicates import complete_groups, suggested_threshold
from mcp_server_embeddings.vectors.scores import Vectors, scores

LIST = [*TEXTS, *(text for pair in REWORDED for text in pair), TEXTS[3], TEXTS[3]]
thresholds = st.floats(0, 1)
matrices = st.integers(1, 10).flatmap(lambda n: arrays(np.float32, (n, 4), elements=st.sampled_from(COMPONENTS)))


@pytest.fixture(scope="module")
def fake_embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """For sizes, where the meaning does not matter."""
    with Engine(Settings(data_dir=tmp_path_factory.mktemp("fake")), FakeEncoder().load) as engine:
        yield engine.embedder()


def parts(found: DeduplicateResult) -> set[frozenset[int]]:
    return {frozenset(map(int, group)) for group in found.groups}


def test_copies_and_rewordings_are_found_and_nothing_else(embedder: Embedder) -> None:
    found = deduplicate(embedder, LIST)
    assert parts(found) == {frozenset([3, 28, 29])} | {frozenset([i, i + 1]) for i in (20, 22, 24, 26)}
    assert found.unique == len(LIST) - 6
    assert found.threshold == found.suggested_threshold


@settings(max_examples=20)
@given(order=st.permutations(range(len(LIST))))
def test_permuting_the_texts_permutes_the_groups(embedder: Embedder, order: list[int]) -> None:
    plain, permuted = deduplicate(embedder, LIST), deduplicate(embedder, [LIST[i] for i in order])
    assert {frozenset(order[i] for i in part) for part in parts(permuted)} == parts(plain)
    assert permuted.suggested_threshold == plain.suggested_threshold


@settings(max_examples=30)
@given(one=thresholds, other=thresholds)
def test_a_higher_threshold_never_finds_more(embedder: Embedder, one: float, other: float) -> None:
    low, high = sorted((one, other))
    loose, strict = (deduplicate(embedder, LIST, threshold=t) for t in (low, high))
    assert strict.unique >= loose.unique
    for part in parts(strict):
        assert any(part <= larger for larger in parts(loose))


@settings(max_examples=200)
@given(vectors=matrices, threshold=thresholds)
def test_every_two_of_a_group_reach_the_threshold_and_groups_do_not_overlap(vectors: Vectors, threshold: float) -> None:
    cosines = scores(vectors, vectors, "cosine")
    groups = complete_groups(cosines, threshold)
    for group in groups:
        assert all(cosines[pair] >= threshold - 2e-6 for pair in combinations(group, 2))
    every = [position for group in groups for position in group]
    assert len(every) == len(set(every))


def test_a_chain_is_not_a_group() -> None:
    """a fits b and b fits c, but a does not fit c."""
    cosines = np.array([[1.0, 0.9, 0.7], [0.9, 1.0, 0.88], [0.7, 0.88, 1.0]])
    assert complete_groups(cosines, 0.85) == [[0, 1]]
    assert complete_groups(cosines, 0.7) == [[0, 1, 2]]


def test_the_longest_or_the_first_is_kept(embedder: Embedder) -> None:
    texts = ["Move the meeting.", "Please move the meeting.", "Please move the meeting!"]
    assert deduplicate(embedder, texts, threshold=0.5).groups == [[1, 2, 0]]
    assert deduplicate(embedder, texts, threshold=0.5, keep="first").groups == [[0, 1, 2]]


def test_the_suggestion_lies_in_the_widest_gap_in_doubt() -> None:
    def suggested(*values: float) -> float:
        size = len(values) + 1
        cosines = np.eye(size)
        cosines[0, 1:] = cosines[1:, 0] = values
        return suggested_threshold(cosines, 0.6, 0.8)

    assert suggested(0.95, 0.1) == pytest.approx(0.7)
    assert suggested(0.95, 0.79, 0.66, 0.61, 0.2) == pytest.approx((0.79 + 0.66) / 2)
    assert suggested(*np.linspace(0.6, 0.8, 100)) == 0.8  # crowded: no gap stands out


def test_at_threshold_one_only_equal_meanings_are_duplicates(embedder: Embedder) -> None:
    found = deduplicate(embedder, ["Same text", "same text", "Same text", "other words"], threshold=1.0)
    assert parts(found) == {frozenset([0, 1, 2])}  # the model's tokenizer folds case


def test_copies_are_found_without_being_encoded(tmp_path_factory: pytest.TempPathFactory) -> None:
    encoder = FakeEncoder()
    with Engine(Settings(data_dir=tmp_path_factory.mktemp("fake")), encoder.load) as engine:
        embedder = engine.embedder()
        embedder.calibration()
        encoder.batches.clear()
        found = deduplicate(embedder, ["one fish"] * 1000 + ["two birds"])
    assert sorted(text for batch in encoder.batches for text in batch) == ["one fish", "two birds"]
    assert (found.unique, found.groups) == (2, [list(range(1000))])


def test_doubtful_pairs_are_nearest_the_threshold_on_both_sides_and_can_be_read(embedder: Embedder) -> None:
    tail = " It was decided at the last assembly of the housing cooperative, after a long discussion of every item."
    texts = [f"{text}{tail}" for pair in REWORDED for text in pair]
    everything = sorted(pair.score for pair in deduplicate(embedder, texts, threshold=0.0, top=100).doubtful)
    found = deduplicate(embedder, texts, threshold=sum(everything[-5:-3]) / 2)
    nearest = found.doubtful[5:]  # before them, up to half that differ in numbers or negation
    distances = [round(abs(pair.score - found.threshold), 4) for pair in nearest]
    assert distances == sorted(distances)
    assert all(len(text) > 100 for pair in found.doubtful for text in pair.texts)
    assert all(pair.texts == [texts[int(pair.left)], texts[int(pair.right)]] for pair in found.doubtful)
    grouped = {pair for group in parts(found) for pair in combinations(sorted(group), 2)}
    scores = {(int(pair.left), int(pair.right)): pair.score for pair in found.doubtful}
    assert {score >= found.threshold for score in scores.values()} == {True, False}
    assert all(scores[pair] >= found.threshold for pair in grouped & scores.keys())


def test_a_doubtful_pair_says_which_numbers_differ(embedder: Embedder) -> None:
    found = deduplicate(embedder, ["Pay the invoice within 30 days.", "Pay the invoice within 60 days."])
    (pair,) = found.doubtful
    assert pair.differs is not None
    assert pair.differs.numbers == ["30 days → 60 days"]


def test_merged_items_with_other_numbers_or_negations_come_first_wherever_the_threshold_is(embedder: Embedder) -> None:
    contrary = {
        "N1": "The invoice must be paid within 30 days of its receipt.",
        "N2": "The invoice must be paid within 60 days of its receipt.",
        "P1": "Users may delete their own comments.",
        "P2": "Users may not delete their own comments.",
    }
    texts = {f"R{at}": text for at, text in enumerate(LIST)} | contrary
    found = deduplicate(embedder, texts, top=5)
    assert {frozenset(map(str, group)) for group in found.groups} >= {frozenset(["N1", "N2"]), frozenset(["P1", "P2"])}
    assert found.notes == ["2 of the merged pairs differ in numbers or negation; they come first in doubtful"]
    first, second, *others = found.doubtful
    assert {(first.left, first.right), (second.left, second.right)} == {("N1", "N2"), ("P1", "P2")}
    distances = [abs(pair.score - found.threshold) for pair in others]
    assert distances == sorted(distances)
    assert len(found.doubtful) == 5
    (only,) = deduplicate(embedder, texts, top=1).doubtful
    assert only in (first, second)


def test_a_pair_just_below_a_given_threshold_is_doubtful(embedder: Embedder) -> None:
    texts = list(REWORDED[0])
    (pair,) = deduplicate(embedder, texts, threshold=0.99).doubtful
    assert pair.score == pytest.approx(0.9632, abs=1e-3)
    assert deduplicate(embedder, texts, threshold=0.99).groups == []
    low = deduplicate(embedder, TEXTS, threshold=0.3)
    assert any(pair.score < 0.3 for pair in low.doubtful)


def test_the_callers_ids_come_back(embedder: Embedder) -> None:
    found = deduplicate(embedder, {f"R{at}": text for at, text in enumerate(LIST)})
    assert found.groups[0] == ["R3", "R28", "R29"]
    assert found.unique == len(LIST) - 6
    assert {key[0] for group in found.groups for key in map(str, group)} == {"R"}


def test_large_groups_and_many_groups_fit_an_answer(fake_embedder: Embedder) -> None:
    one = deduplicate(fake_embedder, ["one fish"] * 1998 + ["two birds"])
    assert one.unique == 2
    assert [len(group) for group in one.groups] == [20]
    assert "20 items at most" in one.notes[0]
    many = deduplicate(fake_embedder, [f"word{at // 2} w{at // 2}x" for at in range(2000)], top=1000)
    assert many.unique <= 1000
    assert max(map(json_length, (one, many))) <= ANSWER_CHARACTERS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.1}, "a cosine from 0 to 1"),
        ({"threshold": float("nan")}, "a cosine from 0 to 1"),
        ({"top": 0}, "1 to 1,000"),
        ({"save_as": "../x.csv", "output_dir": Path("out")}, "contains '/'"),
        ({"source": "notes"}, "not both"),
    ],
)
def test_bad_input_names_the_fix(embedder: Embedder, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        deduplicate(embedder, TEXTS, **arguments)  # type: ignore[arg-type]


def test_one_item_has_no_duplicate(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="has 1 item"):
        deduplicate(embedder, [TEXTS[0], " "])
