"""What vectors cannot see: numbers, negations and replaced words of a pair of texts."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.differences import CHANGED, Differences, differences, textual_differences

PAIRS = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "differences.jsonl").read_text("utf-8").splitlines()
]
CHANGES = ("number", "negation", "verb", "object")
REWORDINGS = ("synonym", "voice", "order", "polite", "abbreviation")
HALVES = ("tuning", "reporting")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a stock of 1,000", "a stock of 1000"),
        ("a stock of 1,000", "a stock of one thousand"),
        ("a stock of 1.000 Stück und mehr", "a stock of 1000 Stück und mehr"),
        ("1.234,50 € im Jahr", "1,234.5 € im Jahr"),
        ("up 50 %", "up 50 percent"),
        ("10 000 people", "10,000 people"),
        ("at 3 pm", "at 15:00"),
        ("at 3:30 p.m.", "at 15:30"),
        ("on 3 May 2024", "on 2024-05-03"),
        ("on May 3, 2024", "on 03.05.2024"),
        ("one hundred and twenty-five pages", "125 pages"),
        ("zwei und fünfundzwanzig Seiten", "2 und 25 Seiten"),
        ("les quatre-vingt-dix pages", "les 90 pages"),
        ("treinta y cinco de las casas", "35 de las casas"),
        ("the 2nd of the floors", "the second of the floors"),
        ("8-10 hours of it", "8 to 10 hours of it"),
        ("$2.4 million of it", "$2.4m of it"),
        ("he has been charged two times", "he has been charged twice"),
        ("half a litre of it", "1/2 litre of it"),
        ("the third of two and three", "of three and two the third"),
        ("利率为百分之三", "利率为3%"),
        ("一个月二十五天", "一个月25天"),
        ("٣ من", "3 من"),
    ],
)
def test_numbers_that_mean_the_same_are_equal(left: str, right: str) -> None:
    assert textual_differences(left, right).numbers == ()
    assert textual_differences(right, left).numbers == ()


@pytest.mark.parametrize(
    ("left", "right", "numbers"),
    [
        ("within 30 days", "within 60 days", ("30 days → 60 days",)),
        ("10 cm deep", "10 mm deep", ("10 cm → 10 mm",)),
        ("cost €5", "cost $5", ("€5 → $5",)),
        ("at 18:45", "at 19:15", ("18:45 → 19:15",)),
        ("in version 2.3", "in version 2.30", ("2.3 → 2.30",)),
        ("release 2.3.1", "release 2.3.2", ("2.3.1 → 2.3.2",)),
        ("on 3 May", "on 3 June", ("May → June",)),
        ("on a Monday", "on a Friday", ("Monday → Friday",)),
        ("three to one", "three to two", ("one → two",)),
        ("8 to 10 hours", "8 to 12 hours", ("10 hours → 12 hours",)),
        ("add salt", "add 2 g salt", ("∅ → 2 g",)),
        ("-5 °C outside", "5 °C outside", ("-5 °C → 5 °C",)),
        ("Die Frist beträgt drei Monate.", "Die Frist beträgt sechs Monate.", ("drei Monate → sechs Monate",)),
    ],
)
def test_changed_numbers_are_listed_as_written(left: str, right: str, numbers: tuple[str, ...]) -> None:
    assert textual_differences(left, right).numbers == numbers
    assert textual_differences(left, right).changed == 1.0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("The pump works.", "The pump doesn't work."),
        ("The pump can run.", "The pump can’t run."),
        ("Die Pumpe ist an.", "Die Pumpe ist nicht an."),
        ("La pompe est en marche.", "La pompe n'est pas en marche."),
        ("La bomba está en marcha.", "La bomba no está en marcha."),
        ("La pompa è in funzione.", "La pompa non è in funzione."),
        ("A bomba está ligada.", "A bomba não está ligada."),
        ("De pomp is aan.", "De pomp is niet aan."),
        ("Pumpen är på.", "Pumpen är inte på."),
        ("Pompa jest na dole.", "Pompa nie jest na dole."),
        ("Насос был здесь.", "Насоса здесь не было."),
        ("水泵在工作。", "水泵不在工作。"),
        ("ポンプは動きます。", "ポンプは動きません。"),
        ("펌프가 작동한다.", "펌프가 작동하지 않는다."),
        ("المضخة تعمل من هذا", "المضخة لا تعمل من هذا"),
    ],
)
def test_a_negation_is_seen_in_fifteen_languages(left: str, right: str) -> None:
    (added,) = textual_differences(left, right).negation
    (removed,) = textual_differences(right, left).negation
    assert added.startswith("∅ → ")
    assert removed.endswith(" → ∅")


@pytest.mark.parametrize(
    ("left", "right", "negation"),
    [
        ("It must be paid.", "It may be paid.", ("must → may",)),
        ("It is allowed.", "It is forbidden.", ("allowed → forbidden",)),
        ("before May", "after May", ("before → after",)),
        ("increases the dose", "reduces the dose", ("increases → reduces",)),
        ("the maximum size", "the minimum size", ("maximum → minimum",)),
        ("a valid form", "an invalid form", ("valid → invalid",)),
        ("It locks the door.", "It unlocks the door.", ("locks → unlocks",)),
        ("Er muss gehen und die Tür schließen.", "Er kann gehen und die Tür schließen.", ("muss → kann",)),
    ],
)
def test_opposites_are_listed_with_both_words(left: str, right: str, negation: tuple[str, ...]) -> None:
    assert textual_differences(left, right).negation == negation


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("It is not allowed.", "It is forbidden."),
        ("I can't log in.", "I am unable to log in."),
        ("The pump does not work.", "The pump fails."),
        ("You must not enter.", "You may not enter."),
        ("No one came.", "Nobody came."),
        ("He has to pay.", "He must pay."),
        ("No viene nadie de la casa.", "Nadie viene de la casa."),
        ("Prices rose in autumn.", "Prices climbed in the fall."),
        ("It is not only fast.", "It is only fast."),
    ],
)
def test_a_negation_of_the_opposite_is_no_change(left: str, right: str) -> None:
    assert textual_differences(left, right).negation == ()


def test_inflected_words_have_a_counterpart() -> None:
    found = textual_differences("A nurse measures the temperature.", "The temperatures were measured by nurses.")
    assert found == Differences()


def test_words_of_one_side_are_listed() -> None:
    found = textual_differences("The buyer signs the form.", "The buyer burns the form.")
    assert (found.removed, found.added) == (("signs",), ("burns",))
    assert 0 < found.changed < CHANGED


def test_synonyms_have_a_counterpart_by_their_vectors(embedder: Embedder) -> None:
    pairs = [("A physician came.", "A doctor came."), ("The buyer signs the form.", "The buyer burns the form.")]
    same, other = differences(embedder, pairs)
    assert same == Differences()
    assert (other.removed, other.added) == (("signs",), ("burns",))
    assert other.changed >= CHANGED


def test_known_cosines_give_the_same_answer(embedder: Embedder) -> None:
    pairs = [(row["left"], row["right"]) for row in PAIRS[::10]]
    vectors = embedder.embed([text for pair in pairs for text in pair]).vectors
    cosines = [float(left @ right) for left, right in zip(vectors[::2], vectors[1::2], strict=True)]
    assert differences(embedder, pairs, cosines=cosines) == differences(embedder, pairs)


def test_blank_and_overlong_texts_are_compared(embedder: Embedder) -> None:
    pairs = [
        ("", "A word."),
        (" ", "\n"),
        ("key " + "k" * 100_000, "key"),
        ("9" * 100_000, "🙂"),
        ("שלום עולם", "مرحبا"),
    ]
    found = differences(embedder, pairs)
    assert found[0].added == ("word",)
    assert found[1] == Differences()
    assert found[2].removed == ("k" * 39 + "…",)
    assert found[3].numbers == ("9" * 39 + "… → ∅",)
    assert found[4].removed == ("שלום", "עולם")


def test_a_model_that_knows_nothing_still_gives_numbers_and_negations(bge_embedder: Embedder) -> None:
    rows = [row for row in PAIRS if row["kind"] in ("number", "negation")]
    found = differences(bge_embedder, [(row["left"], row["right"]) for row in rows])
    assert sum(pair.changed == 1 for pair in found) >= 0.9 * len(found)
    assert all(0 <= pair.changed <= 1 for pair in found)


def test_no_pairs_have_no_differences(embedder: Embedder) -> None:
    assert differences(embedder, []) == []


def test_one_call_of_the_model_serves_all_pairs(embedder: Embedder) -> None:
    pairs = [(row["left"], row["right"]) for row in PAIRS]
    together = differences(embedder, pairs)
    assert together[:5] == [differences(embedder, [pair])[0] for pair in pairs[:5]]


@pytest.mark.parametrize(
    "text", ["", " \n", "🙂🙂", "مرحبا بالعالم", "שלום עולם", "İstanbul ǅ", "1" * 5_000, "½ ² ⅷ", "\0\ud800"]
)
def test_any_text_is_equal_to_itself(text: str) -> None:
    assert textual_differences(text, text) == Differences()


@given(st.text(), st.text())
def test_exchanging_the_sides_exchanges_the_lists(left: str, right: str) -> None:
    there, back = textual_differences(left, right), textual_differences(right, left)
    assert (len(there.removed), len(there.added)) == (len(back.added), len(back.removed))
    assert len(there.numbers) == len(back.numbers)
    assert there.changed == back.changed


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    ["word ", "12 123 ", "1.2:4'", "not ", "千", "n't ", "x" * 80 + " ", "é"],
)
def test_a_megabyte_is_read_in_linear_time(unit: str) -> None:
    """Were it quadratic, this would not end."""
    text = unit * (1_000_000 // len(unit))
    found = textual_differences(text, text[:500_000] + " sold")
    assert len(found.removed) + len(found.added) <= 16


def flagged(embedder: Embedder, half: str, kinds: Sequence[str]) -> float:
    rows = [row for row in PAIRS if row["half"] == half and row["kind"] in kinds]
    found = differences(embedder, [(row["left"], row["right"]) for row in rows])
    return sum(pair.changed >= CHANGED for pair in found) / len(rows)


@pytest.mark.parametrize("half", HALVES)
def test_changes_are_flagged(embedder: Embedder, half: str) -> None:
    assert flagged(embedder, half, CHANGES[:3]) >= 0.9
    assert flagged(embedder, half, CHANGES) >= 0.9


@pytest.mark.parametrize("half", HALVES)
def test_rewordings_are_seldom_flagged(embedder: Embedder, half: str) -> None:
    assert flagged(embedder, half, REWORDINGS) <= 0.2
