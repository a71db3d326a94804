"""The tool ``classify``."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import TEXTS, THEMES, sentences
from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, json_length
from mcp_server_embeddings.tools.classify import classify
from mcp_server_embeddings.tools.example_arguments import Example
from mcp_server_embeddings.tools.results import Check, ClassifyResult
from mcp_server_embeddings.tools.sources import Sources

LABELS = ["late delivery", "battery and charging", "garden plants", "classical music"]
TRUTH = [label for label, theme in zip(LABELS, THEMES.values(), strict=True) for _ in theme]
OTHER = "The parliament passed the pension law."


@pytest.fixture(scope="module")
def fake_embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """For sizes, where the meaning does not matter."""
    with Engine(Settings(data_dir=tmp_path_factory.mktemp("fake")), FakeEncoder().load) as engine:
        yield engine.embedder()


def examples(each: int) -> list[Example]:
    """The first texts of every theme with their labels."""
    themes = zip(LABELS, THEMES.values(), strict=True)
    return [Example(text=text, label=label) for label, theme in themes for text in theme[:each]]


def given_labels(found: ClassifyResult) -> list[str | None]:
    """The label of each text, by position."""
    label_of: dict[str | int, str | None] = {key: label for label, keys in found.labels.items() for key in keys}
    label_of |= dict.fromkeys(found.abstained)
    return [label_of[position] for position in range(len(label_of))]


def checked(found: ClassifyResult) -> dict[str | int, Check]:
    return {entry.id: entry for entry in found.check}


def test_labels_alone_sort_the_themes(embedder: Embedder) -> None:
    found = classify(embedder, TEXTS, labels=LABELS, abstain=False)
    assert (found.method, found.notes, found.abstained) == ("labels", [], [])
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


def test_labels_are_optional_where_examples_name_them(embedder: Embedder) -> None:
    named = classify(embedder, TEXTS, labels=LABELS, examples=examples(2))
    assert classify(embedder, TEXTS, examples=examples(2)) == named


def test_a_sentence_says_what_belongs_under_a_bare_label(embedder: Embedder) -> None:
    sentences = {
        "A": "Parcels and orders that arrive late or not at all.",
        "B": "Phones whose battery must be charged too often.",
        "C": "Growing vegetables, flowers and trees in the garden.",
        "D": "Concerts of an orchestra, its conductor and its instruments.",
    }
    found = classify(embedder, TEXTS, labels=sentences, abstain=False)
    truth = [label for label, theme in zip(sentences, THEMES.values(), strict=True) for _ in theme]
    assert sum(label == right for label, right in zip(given_labels(found), truth, strict=True)) >= 19
    bare = classify(embedder, TEXTS, labels=list(sentences), abstain=False)
    assert sum(label == right for label, right in zip(given_labels(bare), truth, strict=True)) < 15


def test_examples_by_id_keep_their_label_and_are_not_asked_about(embedder: Embedder) -> None:
    shown = [Example(label, id=5 * theme + at) for theme, label in enumerate(LABELS) for at in range(4)]
    shown[0] = Example(LABELS[3], id=0)  # a delivery, which the caller says is music
    shown.append(Example(LABELS[0], id=4))
    found = classify(embedder, TEXTS, examples=shown, top=50)
    assert found.method == "probe"
    labels = given_labels(found)
    assert all(labels[int(str(example.id))] == example.label for example in shown)
    assert not {example.id for example in shown} & checked(found).keys()


def test_an_id_that_is_not_there_is_refused_and_not_taken_for_a_text(embedder: Embedder) -> None:
    texts: dict[str | int, str] = {f"T{at}": text for at, text in enumerate(TEXTS)}
    by_id = [Example(label, text=f"T{5 * theme}") for theme, label in enumerate(LABELS)]
    assert given_labels_by_id(classify(embedder, texts, examples=by_id))["T0"] == LABELS[0]
    with pytest.raises(InputError, match="'T99', which looks like an id"):
        classify(embedder, texts, examples=[*by_id, Example(LABELS[0], text="T99")])
    with pytest.raises(InputError, match="id '99', which is not in texts"):
        classify(embedder, TEXTS, examples=[*examples(1), Example(LABELS[0], id=99)])


def given_labels_by_id(found: ClassifyResult) -> dict[str | int, str]:
    return {key: label for label, keys in found.labels.items() for key in keys}


@settings(max_examples=15)
@given(order=st.permutations(range(len(TEXTS))), labels=st.permutations(LABELS))
def test_permuting_texts_and_labels_permutes_the_answer(
    embedder: Embedder, order: list[int], labels: list[str]
) -> None:
    plain = classify(embedder, TEXTS, labels=LABELS, top=20)
    permuted = classify(embedder, [TEXTS[i] for i in order], labels=labels, top=20)
    assert [given_labels(plain)[i] for i in order] == given_labels(permuted)
    twins = checked(plain)
    for position, entry in checked(permuted).items():
        twin = twins[order[int(position)]]
        assert (entry.label, entry.runner_up, entry.text) == (twin.label, twin.runner_up, twin.text)
        assert entry.margin == pytest.approx(twin.margin, abs=1e-3)


@settings(max_examples=15)
@given(abstain=st.booleans(), each=st.sampled_from([0, 1, 4]), top=st.integers(1, 30))
def test_labels_and_abstained_are_a_partition(embedder: Embedder, abstain: bool, each: int, top: int) -> None:
    shown = examples(each) or None
    found = classify(embedder, [*TEXTS, OTHER], labels=LABELS, examples=shown, abstain=abstain, top=top)
    every = [key for keys in found.labels.values() for key in keys] + found.abstained
    assert sorted(map(int, every)) == list(range(21))
    assert {label: len(keys) for label, keys in found.labels.items()} | (
        {"(abstained)": len(found.abstained)} if found.abstained else {}
    ) == found.counts
    margins = [entry.margin for entry in found.check]
    assert margins == sorted(margins)
    assert len(margins) == min(top, 21)
    assert all(0 <= margin <= 1 for margin in margins)


def test_the_answer_to_one_text_does_not_depend_on_the_others(embedder: Embedder) -> None:
    (alone,) = classify(embedder, [TEXTS[7]], labels=LABELS, examples=examples(4)).check
    among = checked(classify(embedder, TEXTS, labels=LABELS, examples=examples(4)))[7]
    assert among == alone.model_copy(update={"id": 7})


def test_a_text_on_another_subject_gets_no_label_and_the_nearest_is_named(embedder: Embedder) -> None:
    for shown in (None, examples(2), examples(5)):
        found = classify(embedder, [OTHER], labels=LABELS, examples=shown)
        assert (found.abstained, found.labels, found.counts) == ([0], {}, {"(abstained)": 1})
        assert found.check[0].label is None
        assert found.check[0].runner_up in LABELS


def test_two_labels_that_fit_alike_are_not_told_apart(embedder: Embedder) -> None:
    found = classify(embedder, ["The battery is empty."], labels=["battery empty", "empty battery", "roses"])
    assert found.abstained == [0]
    assert found.check[0].margin < 0.15


def test_without_abstaining_every_text_gets_a_label(embedder: Embedder) -> None:
    found = classify(embedder, [OTHER, "x"], labels=LABELS, abstain=False)
    assert None not in given_labels(found)
    assert all(entry.margin >= 0 and entry.runner_up != entry.label for entry in found.check)


@pytest.mark.parametrize("each", [0, 1, 5])
def test_from_a_margin_of_015_on_two_labels_do_not_fit_alike(embedder: Embedder, each: int) -> None:
    """One scale for every method: below it nothing is labelled."""
    found = classify(embedder, [*TEXTS, OTHER], labels=LABELS, examples=examples(each) or None)
    assert all(entry.label is None for entry in found.check if entry.margin < 0.15)
    assert any(entry.label is not None for entry in found.check)


def test_counts_add_up_to_all_texts_whatever_is_checked(embedder: Embedder) -> None:
    found = classify(embedder, TEXTS, labels=LABELS, top=3)
    assert len(found.check) == 3
    assert sum(found.counts.values()) == len(TEXTS)


def test_underscores_in_labels_are_read_as_spaces(embedder: Embedder) -> None:
    spoken = classify(embedder, TEXTS, labels=LABELS)
    written = classify(embedder, TEXTS, labels=[label.replace(" ", "_") for label in LABELS])
    assert [entry.margin for entry in written.check] == [entry.margin for entry in spoken.check]
    assert set(written.counts) <= {
        "late_delivery",
        "battery_and_charging",
        "garden_plants",
        "classical_music",
        "(abstained)",
    }


def test_the_texts_to_check_can_be_read(embedder: Embedder) -> None:
    long = [f"{text} {' '.join(TEXTS)}" for text in TEXTS]
    few = classify(embedder, long, labels=LABELS, top=5).check
    many = classify(embedder, long * 20, labels=LABELS, top=30).check
    assert (len(few), len(many)) == (5, 30)
    assert min(len(entry.text) for entry in few) > 120
    assert min(len(entry.text) for entry in many) > 50


def test_two_thousand_texts_fit_an_answer(fake_embedder: Embedder) -> None:
    found = classify(fake_embedder, sentences(2000), labels=["lost or found", "buying", "painting", "repair"])
    assert json_length(found) <= ANSWER_CHARACTERS
    assert (found.labels, found.abstained, len(found.check)) == ({}, [], 30)
    assert sum(found.counts.values()) == 2000
    assert "save_as" in " ".join(found.notes)


@pytest.mark.slow
def test_ten_thousand_rows_fit_an_answer(fake_embedder: Embedder, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ticket", "message"])
        writer.writerows((f"T{row}", text) for row, text in enumerate(sentences(2000) * 5))
    sources = Sources(open_store(Settings(data_dir=tmp_path / "data")), Reader([tmp_path]))
    found = classify(fake_embedder, source="rows.csv#message", id_field="ticket", labels=LABELS, sources=sources)
    assert json_length(found) <= ANSWER_CHARACTERS
    assert sum(found.counts.values()) == 10_000
    assert len(found.check) == 30
    assert all(str(entry.id).startswith("T") for entry in found.check)


def test_many_long_labels_fit_an_answer(fake_embedder: Embedder) -> None:
    labels = [f"{text} {'and more ' * 15}" for text in sentences(300)]
    found = classify(fake_embedder, sentences(300), labels=labels, abstain=False)
    assert json_length(found) <= ANSWER_CHARACTERS
    assert "do not fit into counts" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["card"]}, "has 1 label"),
        ({}, "neither labels nor examples name a label"),
        ({"labels": ["card", "Card "]}, "reads like"),
        ({"labels": ["card", "(abstained)"]}, "items without a label"),
        ({"labels": ["card", " "]}, "visible characters"),
        ({"labels": ["card", "loan"], "examples": [Example("lone", text="a loan")]}, "not in labels"),
        ({"labels": ["card", "loan"], "tag": "kind"}, "use save_as"),
        ({"labels": ["card", "loan"], "top": 0}, "out of range"),
    ],
)
def test_bad_input_names_the_fix(embedder: Embedder, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        classify(embedder, TEXTS, **arguments)  # type: ignore[arg-type]


def test_a_label_without_examples_is_shown_by_its_name(embedder: Embedder) -> None:
    texts = ["I lost my card.", "The loan has a high rate.", "Send me a new card."]
    found = classify(embedder, texts, labels=["card", "loan"], examples=[Example("loan", text="a loan for a house")])
    assert found.method == "means"
    assert found.labels == {"card": [0, 2], "loan": [1]}
