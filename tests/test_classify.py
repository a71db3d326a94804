"""The tool ``classify``."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import TEXTS, THEMES
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.classify import Example, classify
from mcp_server_embeddings.tools.results import ClassifyResult

LABELS = ["late delivery", "battery and charging", "garden plants", "classical music"]
TRUTH = [label for label, theme in zip(LABELS, THEMES.values(), strict=True) for _ in theme]


def examples(each: int) -> list[Example]:
    """The first texts of every theme with their labels."""
    themes = zip(LABELS, THEMES.values(), strict=True)
    return [Example(text=text, label=label) for label, theme in themes for text in theme[:each]]


def given_labels(found: ClassifyResult) -> list[str | None]:
    return [item.label for item in found.items]


def test_labels_alone_sort_the_themes(embedder: Embedder) -> None:
    found = classify(embedder, TEXTS, labels=LABELS, abstain=False)
    assert (found.method, found.more) == ("labels", 0)
    assert sum(label == truth for label, truth in zip(given_labels(found), TRUTH, strict=True)) >= 19


@pytest.mark.parametrize(("each", "method"), [(1, "means"), (3, "means"), (4, "probe")])
def test_examples_decide_by_their_means_and_from_four_each_by_a_probe(
    embedder: Embedder, each: int, method: str
) -> None:
    held_out = [text for theme in THEMES.values() for text in theme[each:]]
    truth = [label for label, theme in zip(LABELS, THEMES.values(), strict=True) for _ in theme[each:]]
    found = classify(embedder, held_out, labels=LABELS, examples=examples(each), abstain=False)
    assert found.method == method
    assert given_labels(found) == truth


def test_one_label_with_fewer_than_four_examples_keeps_the_means(embedder: Embedder) -> None:
    assert classify(embedder, TEXTS, labels=LABELS, examples=examples(5)[1:-2]).method == "means"


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(TEXTS))), labels=st.permutations(LABELS))
def test_permuting_texts_and_labels_permutes_the_answer(
    embedder: Embedder, order: list[int], labels: list[str]
) -> None:
    plain = classify(embedder, TEXTS, labels=LABELS, top=20)
    permuted = classify(embedder, [TEXTS[i] for i in order], labels=labels, top=20)
    for item in permuted.items:
        twin = plain.items[order[item.index]]
        assert (item.label, item.runner_up) == (twin.label, twin.runner_up)
        assert item.score == pytest.approx(twin.score, abs=1e-4)


def test_the_answer_to_one_text_does_not_depend_on_the_others(embedder: Embedder) -> None:
    (alone,) = classify(embedder, [TEXTS[7]], labels=LABELS, examples=examples(4)).items
    among = classify(embedder, TEXTS, labels=LABELS, examples=examples(4), top=20).items[7]
    assert among == alone.model_copy(update={"index": 7})


def test_a_text_on_another_subject_gets_no_label_and_the_nearest_is_named(embedder: Embedder) -> None:
    for shown in (None, examples(2), examples(5)):
        (item,) = classify(embedder, ["The parliament passed the pension law."], labels=LABELS, examples=shown).items
        assert item.label is None
        assert item.runner_up in LABELS


def test_two_labels_that_fit_alike_are_not_told_apart(embedder: Embedder) -> None:
    (item,) = classify(embedder, ["The battery is empty."], labels=["battery empty", "empty battery", "roses"]).items
    assert item.label is None
    assert item.margin < 0.02


def test_without_abstaining_every_text_gets_a_label(embedder: Embedder) -> None:
    found = classify(embedder, ["The parliament passed the pension law.", "x"], labels=LABELS, abstain=False)
    assert None not in given_labels(found)
    assert all(item.margin >= 0 for item in found.items)
    assert all(item.runner_up != item.label for item in found.items)


def test_counts_add_up_to_all_texts_when_items_are_left_out(embedder: Embedder) -> None:
    found = classify(embedder, TEXTS, labels=LABELS, top=3)
    assert len(found.items) == 3
    assert found.more == len(TEXTS) - 3
    assert sum(count.texts for count in found.counts) == len(TEXTS)


def test_underscores_in_labels_are_read_as_spaces(embedder: Embedder) -> None:
    spoken = classify(embedder, TEXTS, labels=LABELS, top=20)
    written = classify(embedder, TEXTS, labels=[label.replace(" ", "_") for label in LABELS], top=20)
    assert [item.score for item in written.items] == [item.score for item in spoken.items]
    assert written.counts[0].label in {"late_delivery", "battery_and_charging", "garden_plants", "classical_music"}
