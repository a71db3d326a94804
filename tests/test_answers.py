"""Every answer is small by default whatever the input, and says what it left out; its text is the same JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calls import Arguments, call, structured, text
from corpus import TEXTS, sentences
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.tools.texts import snippet
from wire import ServerProcess

MOST_CHARACTERS = 8_000
"""Of an answer by default."""

LABELS = ["lost and found", "buying and selling", "repair work"]

Calls = Callable[[list[str]], Arguments]

DEFAULT_CALLS: dict[str, Calls] = {
    "similarity": lambda texts: {"left": texts},
    "search": lambda texts: {"query": texts[0][:200], "texts": texts[1:]},
    "classify": lambda texts: {"texts": texts[2 * len(LABELS) :], "labels": LABELS},
    "cluster": lambda texts: {"texts": texts},
    "deduplicate": lambda texts: {"texts": texts},
    "align": lambda texts: {"left": texts[::2], "right": texts[1::2]},
    "condense": lambda texts: {"texts": texts, "count": min(len(texts), 1_000)},
}
"""By tool: a call with these texts and nothing but defaults."""


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def numbered(pattern: str, count: int) -> list[str]:
    return [pattern.format(number) for number in range(count)]


INPUTS: dict[str, list[str]] = {
    "plain sentences": sentences(200),
    "one text two thousand times": ["The same text again and again."] * 2000,
    "texts of one character": [chr(code) for code in range(0x4E00, 0x4E00 + 500)],
    "every token a sign": numbered("!?;:,.-+*/()[]{{}}<>=#%&@^~|!?;:,.-+*/()[]{{}}<>= {}", 60),
    "Chinese": numbered(
        "会议改到星期五的早上九点半在二楼大会议室举行请各位同事准时参加并带好材料以便讨论下一步计划第{}项", 50
    ),
    "control characters": numbered("\x01" * 300 + "{}", 100),
    "keys": numbered("xk9-Qz7{0}-vB3w-8YtR-pL5n-Kd{0}f-W2hJ-m4Gs-Tc6x", 80),
    "long texts": numbered("number {} " + "of many words that go on and on about nothing much " * 25, 40),
    "many languages": [
        f"{text} {n}" for n in range(50) for text in ("Guten Tag", "おはよう", "Доброе утро", "صباح الخير", "🙂")
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("tool", DEFAULT_CALLS)
@pytest.mark.parametrize("name", INPUTS)
def test_an_answer_has_at_most_8000_characters(engine: Engine, name: str, tool: str) -> None:
    result = call(engine, tool, DEFAULT_CALLS[tool](INPUTS[name]))
    structured(result)
    assert len(text(result)) <= MOST_CHARACTERS


@pytest.mark.parametrize("tool", DEFAULT_CALLS)
def test_long_ids_leave_room_for_fewer_items(engine: Engine, tool: str) -> None:
    texts = sentences(120)
    arguments = {
        name: {f"{'long/' * 90}{name}-{at}": one for at, one in enumerate(value)} if name != "labels" else value
        for name, value in DEFAULT_CALLS[tool](texts).items()
        if isinstance(value, list)
    }
    result = call(engine, tool, {**DEFAULT_CALLS[tool](texts), **arguments})
    structured(result)
    assert len(text(result)) <= MOST_CHARACTERS


@pytest.mark.parametrize("tool", [*DEFAULT_CALLS, "status", "embed"])
def test_the_text_is_the_same_json_and_compact(engine: Engine, tool: str) -> None:
    calls: dict[str, Calls] = {**DEFAULT_CALLS, "status": lambda _: {}, "embed": lambda texts: {"texts": texts[:2]}}
    result = call(engine, tool, calls[tool](TEXTS))
    assert json.loads(text(result)) == structured(result)
    assert len(text(result)) == len(compact(structured(result)))


def test_the_largest_matrix_fits_beside_the_pairs(engine: Engine) -> None:
    for texts in (INPUTS["Chinese"][:40], INPUTS["long texts"][:40], sentences(40)):
        result = call(engine, "similarity", {"left": texts[:20], "right": texts[20:]})
        assert len(structured(result)["scores"]) == 20
        assert len(text(result)) <= MOST_CHARACTERS


@pytest.mark.slow
def test_long_labels_leave_room_for_fewer_items(engine: Engine) -> None:
    labels = [f"这是一个很长的标签用来说明文本的种类{number}" * 9 for number in range(40)]
    result = call(engine, "classify", {"texts": sentences(300), "labels": labels})
    structured(result)
    assert len(text(result)) <= MOST_CHARACTERS


def test_twenty_texts_are_answered_for_in_full(engine: Engine) -> None:
    """An answer is cut where it must be, not where it can be."""
    labelled = structured(call(engine, "classify", DEFAULT_CALLS["classify"](TEXTS)))
    everyone = [key for ids in labelled.get("labels", {}).values() for key in ids] + labelled.get("abstained", [])
    assert sorted(everyone) == list(range(14))
    assert "notes" not in labelled
    clusters = structured(call(engine, "cluster", {"texts": TEXTS}))
    assert sum(entry["size"] for entry in clusters["clusters"]) + clusters["outliers"] == 20
    assert all(len(entry["members"]) == min(3, entry["size"]) for entry in clusters["clusters"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "extra"),
    [
        ("classify", {"labels": LABELS}),
        ("deduplicate", {"threshold": 0.6}),
        ("condense", {"count": 1_000}),
        ("similarity", {}),
    ],
)
def test_what_is_left_out_is_said(engine: Engine, tool: str, extra: dict[str, Any]) -> None:
    texts = [f"{one} It was noted on day {day}." for day in range(20) for one in TEXTS] + sentences(700)
    by_id = {f"{'folder/' * 70}{at}": one for at, one in enumerate(texts)}
    sent = {"similarity": {"left": by_id}, "deduplicate": {"texts": by_id, **extra}}.get(
        tool, {"texts": texts, **extra}
    )
    found = structured(call(engine, tool, sent))
    assert any("fit" in note or "kept to" in note or "save_as" in note for note in found["notes"]), found.get("notes")


def test_fields_without_content_are_absent(engine: Engine) -> None:
    found = structured(call(engine, "deduplicate", {"texts": ["red apples", "the sea at night"]}))
    assert "notes" not in found
    assert "file" not in found
    assert None not in found.values()


def test_ids_of_cut_texts_are_noted_ten_and_counted(engine: Engine) -> None:
    notes = structured(call(engine, "cluster", {"texts": INPUTS["long texts"]}))["notes"]
    assert any("40 of texts are longer" in note and "0, 1, 2" in note and "and 30 more" in note for note in notes)


@pytest.mark.slow
def test_similarity_of_a_hundred_texts_is_under_six_kilobytes_on_the_wire(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        server.call("similarity", {"left": sentences(100)})
        assert len(server.lines[-1]) < 6000


@pytest.mark.slow
def test_two_thousand_equal_texts_are_one_meaning_to_every_tool(engine: Engine) -> None:
    texts = ["The same text again and again."] * 2000
    found = {tool: structured(call(engine, tool, DEFAULT_CALLS[tool](texts))) for tool in DEFAULT_CALLS}
    assert {pair["score"] for pair in found["similarity"]["pairs"]} == {1.0}
    assert [hit["id"] for hit in found["search"]["hits"]] == [0, 1, 2, 3, 4]
    assert len(found["classify"]["counts"]) <= 3
    assert [entry["size"] for entry in found["cluster"]["clusters"]] == [2000]
    assert found["deduplicate"]["unique"] == 1
    counts = found["align"]["counts"]
    assert (counts["same"] + counts["changed"], counts["left_only"], counts["right_only"]) == (1000, 0, 0)
    assert (found["condense"]["selected"], found["condense"]["coverage"]) == ([0], 1.0)


@pytest.mark.slow
def test_texts_of_one_character_and_many_languages_are_partitioned(engine: Engine, tmp_path: Path) -> None:
    with Engine(Settings(data_dir=tmp_path)) as other:
        for name in ("texts of one character", "many languages"):
            texts = INPUTS[name]
            clusters = structured(call(other, "cluster", {"texts": texts}))
            assert sum(entry["size"] for entry in clusters["clusters"]) + clusters["outliers"] == len(texts)
            saved = structured(call(other, "deduplicate", {"texts": texts, "save_as": f"{name}.csv"}))
            assert saved["file"]["rows"] == len(texts)
            groups = [set(group) for group in saved["groups"]]
            assert sum(len(group) for group in groups) == len(set().union(*groups))


@pytest.mark.parametrize("tool", DEFAULT_CALLS)
def test_half_a_character_inside_a_list_in_a_string_is_repaired(engine: Engine, tool: str) -> None:
    arguments = DEFAULT_CALLS[tool]([f"cut \ud83d {word} is here." for word in range(12)])
    sent = {name: json.dumps(value) if isinstance(value, list) else value for name, value in arguments.items()}
    if tool == "search":
        sent["query"] = "cut"
    result = call(engine, tool, sent)
    structured(result)
    assert ("\ufffd" in text(result)) or tool in ("similarity", "align")


def test_null_is_as_good_as_nothing(engine: Engine) -> None:
    plain = call(engine, "search", {"query": "a parcel", "texts": TEXTS})
    assert call(engine, "search", {"query": "a parcel", "texts": TEXTS, "top": None, "source": None}) == plain


def test_a_snippet_shows_what_can_be_seen() -> None:
    assert snippet(" " * 300 + "hello") == "hello"
    assert snippet("a" + " " * 300) == "a"
    assert snippet("red\x1b[31m\x01text") == "red [31m text"
