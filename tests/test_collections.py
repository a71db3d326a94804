"""Collections through the tools: what is stored, found, skipped, refused and removed."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calls import call, error, structured, text
from corpus import QUESTIONS, THEMES
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.results import CollectionRemoveResult
from test_answers import INPUTS
from waiting import wait_until
from wire import ServerProcess, error_text


@pytest.fixture(scope="module")
def stored(engine: Engine) -> Iterator[Engine]:
    """The engine with a collection of all texts of the corpus, by theme."""
    themes = [theme for theme in THEMES for _ in THEMES[theme]]
    texts = {f"{theme}-{number}": text for theme in THEMES for number, text in enumerate(THEMES[theme])}
    metadata = [{"theme": theme, "number": n % 5, "tags": [theme[:3], "all"]} for n, theme in enumerate(themes)]
    added = structured(call(engine, "collection_add", {"collection": "corpus", "texts": texts, "metadata": metadata}))
    assert (added["added"], added["size"]) == (20, 20)
    yield engine
    remove(engine, "corpus")


def remove(engine: Engine, name: str) -> dict[str, Any]:
    return structured(call(engine, "collection_remove", {"collection": name, "all": True}))


def listed(engine: Engine) -> dict[str, dict[str, Any]]:
    """The collections by name."""
    return {entry["name"]: entry for entry in structured(call(engine, "status", {})).get("collections", [])}


def encoded(engine: Engine) -> int:
    """How many pieces of text were encoded so far."""
    pieces: int = structured(call(engine, "status", {}))["queue"].get("pieces_done", 0)
    return pieces


def search(engine: Engine, query: str, **arguments: Any) -> dict[str, Any]:
    return structured(call(engine, "search", {"source": "corpus", "query": query, **arguments}))


def ids(found: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in found.get("hits", [])]


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_search_finds_by_meaning(stored: Engine, mode: str) -> None:
    found = search(stored, "the accumulator of the handset is flat", mode=mode)
    assert ids(found)[0].startswith("battery")


def test_search_by_words_finds_only_texts_with_those_words(stored: Engine) -> None:
    found = search(stored, "symphonies", mode="keyword")  # by its stem
    assert sorted(ids(found)) == ["orchestra-2", "orchestra-4"]
    assert "no_match" not in found
    nothing = search(stored, "xylophone", mode="keyword")
    assert (ids(nothing), nothing["no_match"]) == ([], True)


def test_hybrid_search_puts_a_text_with_the_very_words_among_the_first(stored: Engine) -> None:
    assert "garden-4" in ids(search(stored, "slugs", top=3))


def test_a_search_for_what_is_not_there_says_so(stored: Engine) -> None:
    assert search(stored, "interest rates of the central bank")["no_match"]


@pytest.mark.parametrize(
    ("where", "themes"),
    [
        ({"theme": "garden"}, {"garden"}),
        ({"theme": ["garden", "delivery"]}, {"garden", "delivery"}),
        ({"theme": {"in": ["garden"]}}, {"garden"}),
        ({"tags": "orc"}, {"orchestra"}),
        ({"number": {"gte": 4}, "theme": {"ne": "garden"}}, {"delivery", "battery", "orchestra"}),
        ('{"theme": "battery"}', {"battery"}),
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_where_narrows_a_search(stored: Engine, where: object, themes: set[str], mode: str) -> None:
    found = search(stored, "the garden", where=where, top=20, mode=mode)
    assert {hit["metadata"]["theme"] for hit in found["hits"]} == themes


def test_where_that_fits_nothing_is_said(stored: Engine) -> None:
    given = {"source": "corpus", "query": "tomatoes", "where": {"theme": "nothing"}}
    assert "collection 'corpus' has no items; nothing fits where" in error(call(stored, "search", given))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"theme": {"like": "x"}}, "allowed: eq, ne, gt, gte, lt, lte, in"),
        ({"theme": {}}, "allowed: eq"),
        ({"theme": {"gt": None}}, "null can only be eq or ne"),
        ({"theme": [["x"]]}, "not a text, number, boolean or null"),
        ({"topic": "garden"}, "where has the name 'topic', which no item of collection 'corpus' has"),
        ("theme=garden", "allowed: an object"),
    ],
)
def test_a_wrong_where_is_refused_with_what_is_allowed(stored: Engine, where: object, words: str) -> None:
    given = {"source": "corpus", "query": "x", "where": where}
    assert words in error(call(stored, "search", given))


@pytest.mark.slow
def test_search_text_is_never_read_as_syntax(stored: Engine) -> None:
    for query in ('tomatoes" OR "', "NEAR(a b)", "theme:*", "'; DROP TABLE chunks; --", "(((", "-^+*"):
        search(stored, query)
    assert search(stored, "tomatoes")["hits"]


@pytest.mark.slow
def test_the_same_again_is_unchanged_and_a_new_text_is_an_update(engine: Engine) -> None:
    def add(texts: dict[str, str], **more: object) -> dict[str, Any]:
        return structured(call(engine, "collection_add", {"collection": "changing", "texts": texts, **more}))

    assert add({"a": "red", "b": "blue"})["added"] == 2
    before = encoded(engine)
    again = add({"a": "red", "b": "blue"})
    assert (again["added"], again["updated"], again["unchanged"]) == (0, 0, 2)
    with_metadata = add({"a": "red"}, metadata={"x": 1})
    assert with_metadata["updated"] == 1
    assert encoded(engine) == before
    assert add({"a": "red"})["unchanged"] == 1  # no metadata given: kept
    changed = add({"a": "red", "b": "green"})
    assert (changed["updated"], changed["unchanged"], changed["size"]) == (1, 1, 2)
    remove(engine, "changing")


def test_the_same_text_under_two_ids_is_encoded_once_and_found_twice(engine: Engine) -> None:
    before = encoded(engine)
    texts = {"first": "A long way home.", "second": "A long way home."}
    twice = structured(call(engine, "collection_add", {"collection": "double", "texts": texts}))
    assert (twice["size"], encoded(engine) - before) == (2, 1)
    found = structured(call(engine, "search", {"source": "double", "query": "going home"}))
    assert [hit["id"] for hit in found["hits"]] == ["first", "second"]
    remove(engine, "double")


def test_texts_without_ids_have_ids_made_from_them(engine: Engine) -> None:
    given = {"collection": "nameless", "texts": ["red", "blue", "red"]}
    assert structured(call(engine, "collection_add", given))["size"] == 2
    assert structured(call(engine, "collection_add", given))["unchanged"] == 3
    remove(engine, "nameless")


@pytest.mark.slow
def test_a_long_text_is_one_item_of_several_passages(engine: Engine) -> None:
    long = " ".join(f"{question.capitalize()}? {answer}" for question, answer in QUESTIONS)
    added = structured(call(engine, "collection_add", {"collection": "long", "texts": {"faq": long}}))
    assert added["size"] == 1
    assert listed(engine)["long"]["passages"] > 1
    (hit,) = structured(call(engine, "search", {"source": "long", "query": "parental leave", "top": 9}))["hits"]
    assert hit["id"] == "faq"
    assert hit["text"] in long
    assert "fourteen months" in hit["text"] or "Parental leave" in hit["text"]
    remove(engine, "long")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"collection": "x"}, "pass either texts or source"),
        ({"collection": "x", "texts": ["a"], "source": ["b"]}, "pass either texts or source, not both"),
        ({"collection": "no spaces", "texts": ["a"]}, "1 to 64 letters"),
        ({"collection": "../x", "texts": ["a"]}, "1 to 64 letters"),
        ({"collection": "x", "texts": [{"id": "one", "text": "a"}, {"id": "one", "text": "b"}]}, "an id of its own"),
        ({"collection": "x", "texts": {" ": "a"}}, "visible characters"),
        ({"collection": "x", "texts": {"x" * 513: "a"}}, "at most 512"),
        ({"collection": "x", "texts": ["a"], "metadata": {"deep": {"er": 1}}}, "metadata[0].deep is nested"),
        ({"collection": "x", "texts": ["a"], "metadata": {"big": "x" * 1001}}, "at most 1,000"),
        ({"collection": "x", "texts": ["a", "b", "c"], "metadata": [{}, {}]}, "one a text, or one object for all"),
        ({"collection": "x", "texts": [" "]}, "visible character"),
        ({"collection": "x", "source": ["/etc/passwd"]}, "--allow-dir FOLDER"),
        ({"collection": "x", "source": ["a.md"], "id_field": "key"}, "id_field is for tables"),
    ],
)
def test_wrong_additions_are_refused_and_make_no_collection(
    engine: Engine, arguments: dict[str, object], words: str
) -> None:
    assert words in error(call(engine, "collection_add", arguments))
    assert "x" not in listed(engine)


def test_an_unknown_collection_is_answered_with_the_nearest(stored: Engine) -> None:
    assert "did you mean 'corpus'?" in error(call(stored, "search", {"source": "corpse", "query": "x"}))


def test_items_are_removed_by_id_and_unknown_ids_are_named(engine: Engine) -> None:
    call(engine, "collection_add", {"collection": "going", "texts": {"a": "red", "b": "blue"}})
    gone = structured(call(engine, "collection_remove", {"collection": "going", "ids": ["a", "nowhere"]}))
    assert (gone["removed"], gone["notes"], gone["size"]) == (1, ["1 ids were not there: nowhere"], 1)
    assert ids(structured(call(engine, "search", {"source": "going", "query": "red"}))) == ["b"]
    for wrong, words in (
        ({}, "neither of ids and all=true came"),
        ({"ids": ["b"], "all": True}, "both of ids and all=true came"),
        ({"ids": []}, "ids is an empty list"),
    ):
        assert words in error(call(engine, "collection_remove", {"collection": "going", **wrong}))
    assert remove(engine, "going")["removed"] == 1
    given = {"collection": "going", "all": True}
    assert "there is no collection 'going'" in error(call(engine, "collection_remove", given))


def test_another_models_collection_is_refused_with_both_names_and_the_way_out(stored: Engine, bge_folder: Path) -> None:
    with Engine(Settings(model=str(bge_folder), data_dir=stored.settings.data_dir)) as other:
        for tool, given in (
            ("search", {"query": "x", "source": "corpus"}),
            ("cluster", {"source": "corpus"}),
            ("collection_add", {"texts": ["x"], "collection": "corpus"}),
        ):
            message = error(call(other, tool, given))
            assert "all-MiniLM-L6-v2@" in message
            assert "bge-like@" in message
            assert "`mcp-server-embeddings reindex corpus`" in message
        assert listed(other)["corpus"]["usable"] is False
        by_words = {"query": "slugs", "source": "corpus", "mode": "keyword"}
        assert ids(structured(call(other, "search", by_words))) == ["garden-4"]


FILES = {
    "notes.md": "# Garden\n\nTomatoes need sun.\n\n## Roses\n\nPrune the roses in March.\n",
    "deep/letter.txt": "Dear neighbour, the parcel arrived late.",
    "rows.csv": "title,year\nThe violins played slowly,1999\nA full charge lasts a day,2020\n",
    ".gitignore": "secret.txt\n",
    "secret.txt": "The password is swordfish.",
    "picture.png": "\x00\x01\x02",
}


@pytest.mark.slow
def test_files_are_read_skipped_dropped_and_read_again_when_they_change(tmp_path: Path, data_dir: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    with ServerProcess(data_dir, "--allow-dir", str(tmp_path)) as server:
        server.handshake()

        def add(*paths: str, **more: object) -> dict[str, Any]:
            found = server.call("collection_add", {"collection": "files", "source": list(paths), **more})
            content: dict[str, Any] = found["structuredContent"]
            return content

        first = add(str(tmp_path))
        assert (first["added"], first["notes"]) == (
            4,
            ["2 files and folders are hidden or ignored by .gitignore and were left out"],
        )
        (skipped,) = first["skipped"]
        assert skipped["path"].endswith("picture.png")
        assert add(str(tmp_path))["unchanged"] == 4
        found = server.call("search", {"source": "files", "query": "cutting roses"})["structuredContent"]
        best = found["hits"][0]
        assert (found["folder"], best["id"], best["heading"], best["lines"]) == (
            f"{tmp_path}/",
            "notes.md",
            "Garden > Roses",
            [7, 7],
        )
        assert best["text"] == "Prune the roses in March."
        (tmp_path / "deep" / "letter.txt").unlink()
        (tmp_path / "rows.csv").write_text("title,year\nThe violins played slowly,1999\n", encoding="utf-8")
        (tmp_path / "notes.md").write_text("# Garden\n\nTomatoes need water.\n", encoding="utf-8")
        later = add(str(tmp_path))
        assert (later["updated"], later["removed"], later["unchanged"], later["size"]) == (1, 2, 1, 2)
        outside = server.call("collection_add", {"collection": "files", "source": [str(tmp_path.parent)]})
        assert str(tmp_path) in error_text(outside)
        server.call("collection_remove", {"collection": "files", "all": True})


@pytest.mark.slow
def test_a_tables_column_is_stored_by_row_with_the_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("ticket,message,year\nT1,My card is lost.,2020\nT2,The rate is high.,2021\n", encoding="utf-8")
    with Engine(Settings(data_dir=tmp_path / "data", allow_dir=(tmp_path,))) as engine:
        given = {"collection": "tickets", "source": ["t.csv#message"], "id_field": "ticket", "metadata": {"of": "shop"}}
        assert structured(call(engine, "collection_add", given))["added"] == 2
        assert structured(call(engine, "collection_add", given))["unchanged"] == 2
        found = structured(call(engine, "search", {"source": "tickets", "query": "rate", "where": {"year": 2021}}))
        assert found["hits"][0]["metadata"] == {"of": "shop", "ticket": "T2", "year": 2021}
        path.write_text("ticket,message,year\nT2,The rate is low.,2021\nT3,A loan.,2022\n", encoding="utf-8")
        later = structured(call(engine, "collection_add", given))
        assert (later["added"], later["updated"], later["removed"], later["size"]) == (1, 1, 1, 2)
        tagged = {"source": "tickets", "labels": ["loan", "card"], "tag": "kind"}
        structured(call(engine, "classify", tagged))
        by_tag = {"source": "tickets", "query": "x", "where": {"kind": ["loan", "card"]}}
        assert {hit["id"] for hit in structured(call(engine, "search", by_tag))["hits"]} <= {"T2", "T3"}


@pytest.mark.slow
def test_two_servers_on_one_folder_see_each_others_texts(data_dir: Path) -> None:
    with ServerProcess(data_dir) as one, ServerProcess(data_dir) as other:
        one.handshake()
        other.handshake()
        for number in range(3):
            writer, reader = (one, other) if number % 2 else (other, one)
            writer.call("collection_add", {"collection": "shared", "texts": {str(number): f"number {number}"}})
            found = reader.call("search", {"source": "shared", "query": f"number {number}"})
            assert found["structuredContent"]["hits"][0]["id"] == str(number)
        one.call("collection_remove", {"collection": "shared", "ids": ["1"]})
        found = other.call("search", {"source": "shared", "query": "number 1"})
        assert {hit["id"] for hit in found["structuredContent"]["hits"]} == {"0", "2"}
        one.call("collection_remove", {"collection": "shared", "all": True})
        assert "there is no collection" in error_text(other.call("search", {"source": "shared", "query": "x"}))


@pytest.mark.slow
def test_an_addition_reports_how_many_texts_are_encoded(tmp_path: Path) -> None:
    texts = [f"{number} is one of the numbers in a list that takes more than a second to read" for number in range(600)]
    with ServerProcess(tmp_path, "--threads", "1") as server:
        server.handshake()
        server.call("similarity", {"left": ["warm", "calibrated"]})
        parameters = server.call_params("collection_add", {"collection": "c", "texts": texts}, token="add")
        request = server.send("tools/call", parameters)
        seen = []
        while (message := server.next_message()).get("id") != request:
            if message.get("method") == "notifications/progress":
                seen.append(message["params"])
        assert seen
        assert {report["progressToken"] for report in seen} == {"add"}
        assert [report["progress"] for report in seen] == sorted({report["progress"] for report in seen})
        assert "texts and windows encoded" in seen[-1]["message"]


@pytest.mark.slow
def test_a_cancelled_addition_keeps_what_was_committed(tmp_path: Path) -> None:
    texts = [f"{json.dumps(number)} is a number among many others in a long list" for number in range(700)]
    with ServerProcess(tmp_path) as server:
        server.handshake()
        server.call("embed", {"texts": ["warm"]})
        request = server.send("tools/call", server.call_params("collection_add", {"collection": "c", "texts": texts}))

        def size_now() -> int:
            found = server.call("status", {})["structuredContent"].get("collections", [])
            return sum(entry["size"] for entry in found)

        wait_until(lambda: size_now() > 0, "a first commit")
        server.notify("notifications/cancelled", {"requestId": request})
        size = size_now()
        assert 0 < size < 700
        again = server.finished_call("collection_add", {"collection": "c", "texts": texts})
        assert again["size"] == 700
        # Where the machine is so busy that the first call went on in the background, it is the one that is answered.
        assert again["unchanged"] >= size or again["added"] == 700


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_a_search_answers_in_few_tokens_whatever_is_stored(engine: Engine, name: str) -> None:
    texts = {f"{number}{chr(0x1F600) * 100}": one for number, one in enumerate(INPUTS[name][:30])}
    query = INPUTS[name][0][:200]
    added = {"collection": "hostile", "texts": texts, "metadata": {"note": "会" * 900}}
    structured(call(engine, "collection_add", added))
    variants: list[dict[str, Any]] = [{}, {"full": True}, {"mode": "keyword"}, {"top": 50}]
    for arguments in variants:
        result = call(engine, "search", {"source": "hostile", "query": query, **arguments})
        assert len(text(result)) <= max(8_000, 200 * int(arguments.get("top", 5)))
    several = call(engine, "search", {"source": "hostile", "queries": [query, "a", "b"] * 4})
    assert len(text(several)) <= 16_000
    assert all(one["hits"] for one in structured(several)["results"])
    remove(engine, "hostile")


@pytest.fixture(scope="module")
def no_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose model is not on this machine, with a collection in its data folder."""
    folder = tmp_path_factory.mktemp("no-model")
    one = open_store(Settings(data_dir=folder)).open_or_create("kept", "identity", "other@1", 2)
    long = "Nothing of interest here. " * 20 + "The bicycles stand behind the house. " + "Nor is there here. " * 20
    one.put([document(key, text) for key, text in (("a", "A red fox."), ("b", "Foxes sleep."), ("long", long))])
    with Engine(Settings(model=str(folder / "none"), data_dir=folder)) as engine:
        yield engine


def document(key: str, text: str) -> NewDocument:
    return NewDocument(key, text, None, (NewChunk(0, len(text), "", np.ones(2, np.float32)),))


def test_listing_needs_no_model(no_model: Engine) -> None:
    (entry,) = listed(no_model).values()
    assert (entry["name"], entry["size"], entry["model"], "usable" in entry) == ("kept", 3, "other@1", False)


def test_searching_by_words_needs_no_model(no_model: Engine) -> None:
    given = {"source": "kept", "query": "fox", "mode": "keyword"}
    found = structured(call(no_model, "search", given))
    assert sorted(ids(found)) == ["a", "b"]
    assert all("band" not in hit for hit in found["hits"])
    assert (found["model"], "no_match" in found) == ("other@1", False)
    (hit,) = structured(call(no_model, "search", {**given, "query": "Bicycles house"}))["hits"]
    assert "The bicycles stand behind the house." in hit["text"]
    assert len(hit["text"]) <= 320


def test_removing_needs_no_model_and_says_what_it_did(no_model: Engine) -> None:
    store = open_store(no_model.settings)
    store.open_or_create("going", "identity", "other@1", 2).put([document("a", "one"), document("b", "two")])
    gone = structured(call(no_model, "collection_remove", {"collection": "going", "ids": ["a", "x"]}))
    assert (gone["removed"], gone["size"], gone["model"]) == (1, 1, "other@1")
    assert gone["notes"] == ["1 ids were not there: x"]
    whole = remove(no_model, "going")
    assert (whole["removed"], whole["size"]) == (1, 0)


@pytest.mark.parametrize("keys", [["a"], None])
def test_a_cancelled_removal_removes_nothing(no_model: Engine, keys: list[str] | None) -> None:
    given, removed = Call(), list[CollectionRemoveResult]()
    store = open_store(no_model.settings)

    def remove() -> None:
        with suppress(CallCancelledError):
            removed.append(collection_remove(no_model.embedder(given), store, "kept", keys, all=keys is None))

    with closing(sqlite3.connect(no_model.settings.data_dir / "collections.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")  # the removal waits for this to end
        thread = threading.Thread(target=remove)
        thread.start()
        given.cancel()
        other.rollback()
    thread.join()
    assert removed == []
    assert store.record("kept").documents == 3
