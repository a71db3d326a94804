"""Arguments as language models send them: each form that has one meaning is understood, everything else refused."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from calls import Arguments, call, error, structured
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.coercion import (
    coerce_ids,
    coerce_labels,
    coerce_object,
    coerce_objects,
    coerce_texts,
    parse_literal,
)
from mcp_server_embeddings.tools.declaration import declared_tools
from mcp_server_embeddings.tools.parameters import SYNONYMS

TWO = ["an apple", "an orange"]


@pytest.mark.parametrize(
    "sent",
    [
        TWO,
        tuple(TWO),
        json.dumps(TWO),
        repr(TWO),
        repr(tuple(TWO)),
        f"```json\n{json.dumps(TWO, indent=1)}\n```",
        f"```\n{TWO!r}\n```",
        f"  {json.dumps(TWO)}\n",
        [{"text": "an apple"}, {"text": "an orange"}],
        json.dumps([{"content": text} for text in TWO]),
    ],
)
def test_every_form_of_a_list_of_texts_is_that_list(sent: object) -> None:
    assert coerce_texts("texts", sent) == TWO


@pytest.mark.parametrize(
    "sent",
    [
        {"a1": "an apple", "o1": "an orange"},
        '{"a1": "an apple", "o1": "an orange"}',
        [{"id": "a1", "text": "an apple"}, {"id": "o1", "text": "an orange"}],
        [{"id": "a1", "text": "an apple", "year": 2020}, {"id": "o1", "text": "an orange"}],
        "[{'id': 'a1', 'text': 'an apple'}, {'id': 'o1', 'text': 'an orange'}]",
    ],
)
def test_texts_with_ids_keep_them(sent: object) -> None:
    assert coerce_texts("texts", sent) == {"a1": "an apple", "o1": "an orange"}


def test_whole_numbers_are_ids_too() -> None:
    assert coerce_texts("texts", [{"id": 7, "text": "an apple"}]) == {7: "an apple"}
    assert coerce_ids("ids", "[7, 'a1']") == [7, "a1"]
    assert coerce_ids("ids", 7) == [7]


@pytest.mark.parametrize(
    "text", ["an apple", "[sic] an apple", "{broken", "42", '"quoted"', "```\ncode\n```", "[1, 2", "{[]}"]
)
def test_a_text_that_is_no_list_stays_one_text(text: str) -> None:
    assert coerce_texts("texts", text) == [text]


@pytest.mark.parametrize(
    ("sent", "parts"),
    [
        (5, ("texts is 5 (int)", "a list of strings")),
        (None, ("texts is None", "a list of strings")),
        ([1, "a", None], ("texts[0] is 1 (int)", "texts[2] is None", "allowed: a string")),
        (list(range(2000)), ("texts[0] is 0 (int)", "and 1,996 more")),
        ({}, ("texts is an empty object", "from id to text")),
        ({"a": 1}, ("texts['a'] is 1 (int)", "from id to text")),
        ([{"id": 1}], ("texts[0] is {'id': 1}", "with id and text")),
        ([{"id": 1, "text": "a"}, {"text": "b"}], ("1 objects without id", "or none")),
        ([{"id": 1, "text": "a"}, {"id": 1, "text": "b"}], ("the id 1 twice", "of its own")),
        (["a"] * 2001, ("texts has 2,001 elements", "at most 2,000", "source")),
        ({str(n): "a" for n in range(2001)}, ("texts has 2,001 texts", "source")),
        ("[1, 2]", ("texts[0] is 1 (int)",)),
    ],
)
def test_anything_else_is_refused_with_the_fix(sent: object, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as refused:
        coerce_texts("texts", sent)
    assert all(part in str(refused.value) for part in parts), refused.value
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "sent",
    [
        ["bug", "question", "praise"],
        "bug, question, praise",
        "bug; question; praise",
        "- bug\n- question\n- praise\n",
        '["bug", "question", "praise"]',
        "['bug', 'question', 'praise']",
    ],
)
def test_every_form_of_labels_is_their_names(sent: object) -> None:
    assert coerce_labels("labels", sent) == ["bug", "question", "praise"]


@pytest.mark.parametrize(
    "sent",
    [
        {"bug": "something broke", "praise": ""},
        '{"bug": "something broke", "praise": ""}',
        [{"name": "bug", "description": "something broke"}, {"label": "praise"}],
    ],
)
def test_labels_may_have_a_sentence_each(sent: object) -> None:
    assert coerce_labels("labels", sent) == {"bug": "something broke", "praise": ""}


def test_labels_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"labels\.bug is 3"):
        coerce_labels("labels", {"bug": 3})
    with pytest.raises(InputError, match="'bug' twice"):
        coerce_labels("labels", [{"name": "bug"}, {"name": "bug"}])
    with pytest.raises(InputError, match="name and description"):
        coerce_labels("labels", [{"title": "bug"}])


def test_objects_come_one_by_one_in_lists_and_in_strings() -> None:
    assert coerce_objects("metadata", '{"year": 2020}') == [{"year": 2020}]
    assert coerce_objects("metadata", [{"year": 2020}]) == [{"year": 2020}]
    assert coerce_object("where", "{'year': 2020}") == {"year": 2020}
    with pytest.raises(InputError, match=r"where is 'year' \(str\); allowed: an object, as in {\"year\""):
        coerce_object("where", "year")
    with pytest.raises(InputError, match=r"metadata\[1\] is 3"):
        coerce_objects("metadata", [{}, 3])


@pytest.mark.parametrize("text", ["[" * 100_000, "(" * 1000, "[" + "1," * 49_990, "{" * 5000 + "}" * 5000])
def test_hostile_literals_stay_texts_in_little_memory(text: str) -> None:
    tracemalloc.start()
    try:
        assert parse_literal(text) == text
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


# The clumsy arguments of the contract, each through a client.


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that may be read: a note, a table with one column of texts, and one with two."""
    folder = tmp_path_factory.mktemp("allowed")
    (folder / "note.md").write_text("Cats sleep most of the day.", encoding="utf-8")
    (folder / "tickets.csv").write_text(
        "ticket,subject,message\nT1,The card is gone again,I lost my card in the train\n"
        "T2,A loan for two of us,How do I get a loan for a house\n",
        encoding="utf-8",
    )
    (folder / "one.csv").write_text("id,message\n1,I lost my card in town\n2,The loan is too high\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reading(allowed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that may read it, with a collection."""
    with Engine(Settings(data_dir=tmp_path_factory.mktemp("data"), allow_dir=(allowed,))) as engine:
        stored = {"texts": {"a": "Call the plumber.", "b": "Buy milk."}, "metadata": [{"year": 2020}, {"year": 2021}]}
        structured(call(engine, "collection_add", {"collection": "notes", **stored}))
        yield engine


TEXTS_SENT: list[object] = [
    '["an apple", "an orange"]',
    "['an apple', 'an orange']",
    '```json\n["an apple", "an orange"]\n```',
    {"0": "an apple", "1": "an orange"},
    [{"id": 0, "text": "an apple"}, {"id": 1, "text": "an orange"}],
    [{"text": "an apple"}, {"text": "an orange"}],
]


@pytest.mark.parametrize("sent", TEXTS_SENT)
def test_texts_are_understood_in_every_form(engine: Engine, sent: object) -> None:
    plain = structured(call(engine, "similarity", {"left": TWO}))
    found = structured(call(engine, "similarity", {"left": sent}))
    assert found["scores"] == plain["scores"]
    assert [str(pair["left"]) for pair in found["pairs"]] == [str(pair["left"]) for pair in plain["pairs"]]


@pytest.mark.parametrize(
    ("tool", "sent", "meant"),
    [
        ("search", {"q": "fruit", "documents": TWO, "k": 1}, {"query": "fruit", "texts": TWO, "top": 1}),
        ("search", {"question": "fruit", "docs": TWO, "limit": 1}, {"query": "fruit", "texts": TWO, "top": 1}),
        (
            "search",
            {"query": "milk", "path": "notes", "filter": {"year": 2021}},
            {"query": "milk", "source": "notes", "where": {"year": 2021}},
        ),
        ("similarity", {"text1": "a", "text2": "b"}, {"left": ["a"], "right": ["b"]}),
        ("similarity", {"a": ["a"], "b": ["b"], "top_k": 3}, {"left": ["a"], "right": ["b"], "top": 3}),
        ("align", {"old": TWO, "new": TWO}, {"left": TWO, "right": TWO}),
        ("align", {"before": TWO, "after": TWO}, {"left": TWO, "right": TWO}),
        ("cluster", {"items": TWO, "n_clusters": 2}, {"texts": TWO, "clusters": 2}),
        ("classify", {"texts": TWO, "categories": "apple, orange"}, {"texts": TWO, "labels": ["apple", "orange"]}),
        ("condense", {"inputs": TWO, "budget": 50}, {"texts": TWO, "max_tokens": 50}),
        ("embed", {"input": "a"}, {"texts": ["a"]}),
        ("embed", {"text": "a"}, {"texts": ["a"]}),
        ("read", {"file": "notes", "id": "a"}, {"source": "notes", "ids": ["a"]}),
        (
            "deduplicate",
            {"path": "tickets.csv#message", "id_column": "ticket"},
            {"source": "tickets.csv#message", "id_field": "ticket"},
        ),
    ],
)
def test_synonyms_of_parameters_are_understood(reading: Engine, tool: str, sent: Arguments, meant: Arguments) -> None:
    assert structured(call(reading, tool, sent)) == structured(call(reading, tool, meant))


@pytest.mark.parametrize(
    ("tool", "sent", "meant"),
    [
        ("similarity", {"texts": TWO}, {"left": TWO}),
        ("similarity", {"documents": TWO}, {"left": TWO}),
        ("similarity", {"source": "notes"}, {"left_source": "notes"}),
        ("search", {"query": "milk", "collection": "notes"}, {"query": "milk", "source": "notes"}),
        ("search", {"query": ["milk", "cats"], "source": "notes"}, {"queries": ["milk", "cats"], "source": "notes"}),
        ("search", {"query": "milk", "source": ["notes"]}, {"query": "milk", "source": "notes"}),
        ("search", {"query": "milk", "source": '["notes"]'}, {"query": "milk", "source": "notes"}),
        ("read", {"source": ["notes"], "ids": ["a"]}, {"source": "notes", "ids": ["a"]}),
        ("similarity", {"left_source": ["notes"]}, {"left_source": "notes"}),
    ],
)
def test_what_another_tool_calls_so_or_takes_as_a_list_is_understood(
    reading: Engine, tool: str, sent: Arguments, meant: Arguments
) -> None:
    assert structured(call(reading, tool, sent)) == structured(call(reading, tool, meant))


def test_several_sources_are_refused_with_how_to_name_them_as_one(reading: Engine) -> None:
    message = error(call(reading, "search", {"query": "milk", "source": ["note.md", "notes"]}))
    for part in ("source has 2 elements", "'docs/*.md'", "collection_add"):
        assert part in message


def test_both_a_name_and_its_synonym_are_one_too_many(reading: Engine) -> None:
    message = error(call(reading, "search", {"query": "milk", "source": "notes", "collection": "notes"}))
    assert "unknown argument 'collection'" in message


def test_every_synonym_stands_for_a_parameter_of_some_tool() -> None:
    known = {name for tool in declared_tools().values() for name in tool.arguments.model_fields}
    assert set(SYNONYMS.values()) <= known


@pytest.mark.parametrize(
    "labels",
    ["apple, orange", "apple\norange", '["apple", "orange"]', "['apple', 'orange']", {"apple": "", "orange": ""}],
)
def test_labels_are_understood_in_every_form(engine: Engine, labels: object) -> None:
    found = structured(call(engine, "classify", {"texts": TWO, "labels": labels, "abstain": False}))
    assert found["labels"] == {"apple": [0], "orange": [1]}


@pytest.mark.parametrize(
    "examples",
    [
        {"apple": [0], "orange": [1]},
        {"apple": ["a red apple"], "orange": ["a sweet orange"]},
        [{"id": 0, "label": "apple"}, {"id": 1, "label": "orange"}],
        [{"apple": ["a red apple"]}, {"orange": ["a sweet orange"]}],
        [{"apple": [0], "orange": []}, {"text": "a sweet orange", "label": "orange"}],
        [{"text": "a red apple", "label": "apple"}, {"text": "a sweet orange", "label": "orange"}],
        '{"apple": ["a red apple"], "orange": ["a sweet orange"]}',
    ],
)
def test_examples_are_understood_in_every_form(engine: Engine, examples: object) -> None:
    found = structured(call(engine, "classify", {"texts": TWO, "examples": examples, "abstain": False}))
    assert found["labels"] == {"apple": [0], "orange": [1]}


@pytest.mark.parametrize("tool", ["cluster", "deduplicate", "condense", "embed", "similarity"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("notes", "the name of a collection"),
        ("note.md", "a path that can be read"),
        ("tickets.csv#message", "a path that can be read"),
    ],
)
def test_a_lone_path_or_collection_is_not_taken_for_a_text(reading: Engine, tool: str, text: str, what: str) -> None:
    name = "left" if tool == "similarity" else "texts"
    sent: Arguments = {name: [text], **({"count": 1} if tool == "condense" else {})}
    message = error(call(reading, tool, sent))
    assert what in message
    assert f"pass {'left_source' if tool == 'similarity' else 'source'}" in message


def test_a_word_that_is_no_source_is_a_text(reading: Engine) -> None:
    assert structured(call(reading, "embed", {"texts": ["note"]}))["vectors"]
    assert structured(call(reading, "embed", {"texts": ["missing.md"]}))["vectors"]


def test_blank_texts_among_many_are_skipped_with_a_note_and_ids_stay(engine: Engine) -> None:
    found = structured(call(engine, "similarity", {"left": ["an apple", " ", "an orange", ""]}))
    assert found["notes"] == ["2 blank texts of left were skipped: 1, 3"]
    assert [(pair["left"], pair["right"]) for pair in found["pairs"]] == [(0, 2)]


def test_a_table_without_column_lists_its_columns_unless_only_one_holds_text(reading: Engine) -> None:
    message = error(call(reading, "cluster", {"source": "tickets.csv"}))
    for part in ("subject", "message", "tickets.csv#message"):
        assert part in message
    assert error(call(reading, "cluster", {"source": "tickets.csv#mesage"})).count("message")
    groups = structured(call(reading, "deduplicate", {"source": "one.csv", "threshold": 0}))["groups"]
    assert sorted(map(str, groups[0])) == ["1", "2"]


@pytest.mark.parametrize(
    "source",
    [r"C:\Users\me\docs", "C:/Users/me/docs", r"\\server\share", "file://server/docs", "https://example.org/a.md", ""],
)
def test_what_is_no_path_here_is_refused_with_what_a_path_looks_like(
    reading: Engine, allowed: Path, source: str
) -> None:
    message = error(call(reading, "cluster", {"source": source}))
    for part in ("tickets.csv#message", str(allowed), "collection"):
        assert part in message


@pytest.mark.parametrize("name", ["note.md", "tickets.csv#message", "*.md", "a%20note.md"])
def test_the_uri_of_a_file_is_its_path(reading: Engine, allowed: Path, name: str) -> None:
    (allowed / "a note.md").write_text("Dogs sleep less.", encoding="utf-8")
    sent, meant = f"{allowed.as_uri()}/{name}", f"{allowed}/{name.replace('%20', ' ')}"
    found, named = (structured(call(reading, "search", {"query": "sleep", "source": one})) for one in (sent, meant))
    assert found == named
    added = structured(call(reading, "collection_add", {"collection": "by-uri", "source": [sent]}))
    assert added["size"] >= 1


@pytest.mark.parametrize(
    "source", ["file:///etc/passwd", "~/docs", "/etc/passwd", "../other", "missing.md", "missing/*.md", "nots"]
)
def test_what_cannot_be_read_is_refused_with_the_folders_that_can(reading: Engine, allowed: Path, source: str) -> None:
    message = error(call(reading, "cluster", {"source": source}))
    assert str(allowed) in message
    assert "root:" not in message


def test_a_misspelt_collection_is_named(reading: Engine) -> None:
    assert "did you mean 'notes'?" in error(call(reading, "cluster", {"source": "nots"}))


def test_unknown_names_in_where_and_unknown_ids_are_errors_that_name_known_ones(reading: Engine) -> None:
    message = error(call(reading, "search", {"query": "milk", "source": "notes", "where": {"yeer": 2021}}))
    assert "'yeer'" in message
    assert "did you mean 'year'?" in message
    assert "where" in error(call(reading, "search", {"query": "milk", "source": "notes", "where": "year"}))
    message = error(call(reading, "cluster", {"source": "notes", "ids": ["a", "bb"]}))
    assert "1 of 2 ids are not in collection 'notes', the first is 'bb'" in message


def test_an_empty_selection_is_an_error(reading: Engine) -> None:
    message = error(call(reading, "cluster", {"source": "notes", "where": {"year": 1999}}))
    assert "no items; nothing fits where" in message


def test_both_missing_sides_of_align_are_named(engine: Engine) -> None:
    message = error(call(engine, "align", {}))
    for part in ("left", "left_source", "right", "right_source"):
        assert part in message
    assert "right" in error(call(engine, "align", {"left": TWO}))
    assert "left" in error(call(engine, "align", {"right": TWO}))


def test_where_and_ids_come_as_strings_too(reading: Engine) -> None:
    plain = structured(call(reading, "search", {"query": "milk", "source": "notes", "where": {"year": 2021}}))
    assert plain["hits"][0]["id"] == "b"
    fenced = '```json\n{"year": 2021}\n```'
    assert structured(call(reading, "search", {"query": "milk", "source": "notes", "where": fenced})) == plain
    read = structured(call(reading, "read", {"source": "notes", "ids": "['b', 'a']"}))
    assert [item["id"] for item in read["items"]] == ["b", "a"]
