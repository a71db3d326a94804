"""Collections through the tools: what is stored, found, skipped, refused and removed."""

import functools
import itertools
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
from corpus import QUESTIONS, TEXTS, THEMES
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.collection_results import CollectionRemoveResult
from test_answers import INPUTS, MOST_TOKENS, compact, tokens
from waiting import wait_until
from wire import ServerProcess, error_text


@pytest.fixture(scope="module")
def stored(engine: Engine) -> Iterator[Engine]:
    """The engine with a collection of all texts of the corpus, by theme."""
    themes = [theme for theme in THEMES for _ in THEMES[theme]]
    ids = [f"{theme}-{number}" for theme in THEMES for number in range(len(THEMES[theme]))]
    metadata = [{"theme": theme, "number": n % 5, "tags": [theme[:3], "all"]} for n, theme in enumerate(themes)]
    added = structured(
        call(engine, "collection_add", {"collection": "corpus", "texts": TEXTS, "ids": ids, "metadata": metadata})
    )
    assert (added["added"], added["size"], added["chunks"]) == (20, 20, 20)
    yield engine
    call(engine, "collection_remove", {"collection": "corpus"})


def search(engine: Engine, query: str, **arguments: Any) -> dict[str, Any]:
    given = {"collection": "corpus", "query": query, **arguments}
    return structured(call(engine, "collection_search", given))


def ids(found: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in found["hits"]]


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_search_finds_by_meaning(stored: Engine, mode: str) -> None:
    found = search(stored, "the accumulator of the handset is flat", mode=mode)
    assert ids(found)[0].startswith("battery")
    assert found["hits"][0]["found_by"] in ("meaning", "both")


def test_search_by_words_finds_only_texts_with_those_words(stored: Engine) -> None:
    found = search(stored, "symphonies", mode="keyword")  # by its stem
    assert sorted(ids(found)) == ["orchestra-2", "orchestra-4"]
    assert not found["no_match"]
    assert {hit["found_by"] for hit in found["hits"]} == {"words"}
    nothing = search(stored, "xylophone", mode="keyword")
    assert (nothing["hits"], nothing["no_match"]) == ([], True)


def test_hybrid_search_puts_a_text_with_the_very_words_among_the_first(stored: Engine) -> None:
    assert "garden-4" in ids(search(stored, "slugs", top=3))


def test_a_search_for_what_is_not_there_says_so(stored: Engine) -> None:
    result = call(stored, "collection_search", {"collection": "corpus", "query": "interest rates of the central bank"})
    assert structured(result)["no_match"]
    assert text(result).startswith("No match in corpus.")


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
    assert found["more"] == 0


def test_where_that_fits_nothing_finds_nothing(stored: Engine) -> None:
    found = search(stored, "tomatoes", where={"theme": "nothing"})
    assert (found["hits"], found["no_match"], found["more"]) == ([], True, 0)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"theme": {"like": "x"}}, "allowed: eq, ne, gt, gte, lt, lte, in"),
        ({"theme": {}}, "allowed: eq"),
        ({"theme": {"gt": None}}, "null can only be eq or ne"),
        ({"theme": [["x"]]}, "no text, number, boolean or null"),
        ("theme=garden", "allowed: an object"),
    ],
)
def test_a_wrong_where_is_refused_with_what_is_allowed(stored: Engine, where: object, words: str) -> None:
    given = {"collection": "corpus", "query": "x", "where": where}
    assert words in error(call(stored, "collection_search", given))


def test_search_text_is_never_read_as_syntax(stored: Engine) -> None:
    for query in ('tomatoes" OR "', "NEAR(a b)", "theme:*", "'; DROP TABLE chunks; --", "(((", "-^+*"):
        search(stored, query)
    assert search(stored, "tomatoes")["hits"]


def test_the_same_again_is_unchanged_and_a_new_text_is_an_update(engine: Engine) -> None:
    def add(texts: list[str], **more: object) -> dict[str, Any]:
        return structured(call(engine, "collection_add", {"collection": "changing", "texts": texts, **more}))

    assert add(["red", "blue"], ids=["a", "b"])["added"] == 2
    again = add(["red", "blue"], ids=["a", "b"])
    assert (again["added"], again["updated"], again["unchanged"], again["usage"]["tokens"]) == (0, 0, 2, 0)
    changed = add(["red", "green"], ids=["a", "b"])
    assert (changed["updated"], changed["unchanged"], changed["size"]) == (1, 1, 2)
    with_metadata = add(["red"], ids=["a"], metadata={"x": 1})
    assert (with_metadata["updated"], with_metadata["usage"]["tokens"]) == (1, 0)
    assert add(["red"], ids=["a"])["unchanged"] == 1  # no metadata given: kept
    call(engine, "collection_remove", {"collection": "changing"})


def test_the_same_text_under_two_ids_is_encoded_once(engine: Engine) -> None:
    once = structured(call(engine, "collection_add", {"collection": "single", "texts": ["A long way home."]}))
    twice = structured(
        call(
            engine,
            "collection_add",
            {"collection": "double", "texts": ["A long way home."] * 2, "ids": ["first", "second"]},
        )
    )
    assert (twice["size"], twice["usage"]["tokens"]) == (2, once["usage"]["tokens"])
    found = structured(call(engine, "collection_search", {"collection": "double", "query": "going home"}))
    assert [hit["id"] for hit in found["hits"]] == ["first", "second"]
    for name in ("single", "double"):
        call(engine, "collection_remove", {"collection": name})


def test_a_long_text_is_cut_into_chunks_that_together_are_the_text(engine: Engine) -> None:
    long = " ".join(f"{question.capitalize()}? {answer}" for question, answer in QUESTIONS)
    arguments = {"collection": "long", "texts": [long], "ids": ["faq"]}
    added = structured(call(engine, "collection_add", arguments))
    assert added["size"] == 1
    assert added["chunks"] > 1
    given = {"collection": "long", "query": "parental leave", "top": 1, "neighbours": True}
    (hit,) = structured(call(engine, "collection_search", given))["hits"]
    assert hit["id"].startswith("faq#")
    assert long[hit["span"]["start"] : hit["span"]["end"]] == hit["snippet"]
    assert "fourteen months" in hit["snippet"] or "Parental leave" in hit["snippet"]
    assert hit["before"]
    assert hit["after"]
    call(engine, "collection_remove", {"collection": "long"})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"collection": "x"}, "neither of texts and paths came"),
        ({"collection": "x", "texts": ["a"], "paths": ["b"]}, "both of texts and paths came"),
        ({"collection": "no spaces", "texts": ["a"]}, "1 to 64 letters"),
        ({"collection": "../x", "texts": ["a"]}, "1 to 64 letters"),
        ({"collection": "x", "texts": ["a", "b"], "ids": ["one"]}, "give one a text"),
        ({"collection": "x", "texts": ["a", "b"], "ids": ["one", "one"]}, "an id of its own"),
        ({"collection": "x", "texts": ["a"], "ids": [" "]}, "visible characters"),
        ({"collection": "x", "texts": ["a"], "metadata": {"deep": {"er": 1}}}, "metadata[0].deep is nested"),
        ({"collection": "x", "texts": ["a"], "metadata": {"big": "x" * 1001}}, "at most 1,000"),
        ({"collection": "x", "texts": ["a", "b", "c"], "metadata": [{}, {}]}, "one a text, or one object for all"),
        ({"collection": "x", "texts": [" "]}, "visible character"),
        ({"collection": "x", "paths": ["/etc/passwd"]}, "--allow-dir FOLDER"),
    ],
)
def test_wrong_additions_are_refused_and_make_no_collection(
    engine: Engine, arguments: dict[str, object], words: str
) -> None:
    assert words in error(call(engine, "collection_add", arguments))
    names = [entry["name"] for entry in structured(call(engine, "collection_list", {}))["collections"]]
    assert "x" not in names


def test_an_unknown_collection_is_answered_with_the_nearest(stored: Engine) -> None:
    assert "did you mean 'corpus'?" in error(call(stored, "collection_search", {"collection": "corpse", "query": "x"}))


def test_documents_are_removed_by_id_and_unknown_ids_are_named(engine: Engine) -> None:
    call(engine, "collection_add", {"collection": "going", "texts": ["red", "blue"], "ids": ["a", "b"]})
    gone = structured(call(engine, "collection_remove", {"collection": "going", "ids": ["a", "nowhere"]}))
    assert (gone["removed"], gone["missing"], gone["size"]) == (1, ["nowhere"], 1)
    left = structured(call(engine, "collection_search", {"collection": "going", "query": "red"}))
    assert ids(left) == ["b"]
    whole = call(engine, "collection_remove", {"collection": "going"})
    assert text(whole) == "Collection going removed with 1 document."
    assert "there is no collection 'going'" in error(call(engine, "collection_remove", {"collection": "going"}))


def test_another_models_collection_is_refused_with_both_names_and_the_way_out(stored: Engine, bge_folder: Path) -> None:
    with Engine(Settings(model=str(bge_folder), data_dir=stored.settings.data_dir)) as other:
        for tool, more in (("collection_search", {"query": "x"}), ("collection_add", {"texts": ["x"]})):
            message = error(call(other, tool, {"collection": "corpus", **more}))
            assert "all-MiniLM-L6-v2@" in message
            assert "bge-like@" in message
            assert "`mcp-server-embeddings reindex corpus`" in message
        listed = structured(call(other, "collection_list", {}))["collections"]
        (entry,) = [entry for entry in listed if entry["name"] == "corpus"]
        assert not entry["usable"]


FILES = {
    "notes.md": "# Garden\n\nTomatoes need sun.\n\n## Roses\n\nPrune the roses in March.\n",
    "deep/letter.txt": "Dear neighbour, the parcel arrived late.",
    "rows.csv": "title,year\nThe violins played slowly,1999\nA full charge lasts a day,2020\n",
    ".gitignore": "secret.txt\n",
    "secret.txt": "The password is swordfish.",
    "picture.png": "\x00\x01\x02",
}


def test_files_are_read_skipped_dropped_and_read_again_when_they_change(tmp_path: Path, data_dir: Path) -> None:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    with ServerProcess(data_dir, "--allow-dir", str(tmp_path)) as server:
        server.handshake()

        def add(*paths: str, **more: object) -> dict[str, Any]:
            found = server.call("collection_add", {"collection": "files", "paths": list(paths), **more})
            content: dict[str, Any] = found["structuredContent"]
            return content

        first = add(str(tmp_path))
        assert (first["added"], first["skipped_count"], first["ignored"]) == (4, 1, 2)
        assert first["skipped"][0]["path"].endswith("picture.png")
        assert add(str(tmp_path))["unchanged"] == 4
        found = server.call("collection_search", {"collection": "files", "query": "cutting roses"})
        best = found["structuredContent"]["hits"][0]
        assert best["id"] == f"{tmp_path}/notes.md#2"
        assert best["metadata"] == {"heading": "Garden > Roses"}
        assert FILES["notes.md"][best["span"]["start"] : best["span"]["end"]] == best["snippet"]
        (tmp_path / "deep" / "letter.txt").unlink()
        (tmp_path / "rows.csv").write_text("title,year\nThe violins played slowly,1999\n", encoding="utf-8")
        (tmp_path / "notes.md").write_text("# Garden\n\nTomatoes need water.\n", encoding="utf-8")
        later = add(str(tmp_path))
        assert (later["updated"], later["removed"], later["unchanged"], later["size"]) == (1, 2, 1, 2)
        outside = server.call("collection_add", {"collection": "files", "paths": [str(tmp_path.parent)]})
        assert str(tmp_path) in error_text(outside)
        server.call("collection_remove", {"collection": "files"})


def test_two_servers_on_one_folder_see_each_others_texts(data_dir: Path) -> None:
    with ServerProcess(data_dir) as one, ServerProcess(data_dir) as other:
        one.handshake()
        other.handshake()
        for number in range(3):
            writer, reader = (one, other) if number % 2 else (other, one)
            writer.call("collection_add", {"collection": "shared", "texts": [f"number {number}"], "ids": [str(number)]})
            found = reader.call("collection_search", {"collection": "shared", "query": f"number {number}"})
            assert found["structuredContent"]["hits"][0]["id"] == str(number)
        one.call("collection_remove", {"collection": "shared", "ids": ["1"]})
        found = other.call("collection_search", {"collection": "shared", "query": "number 1"})
        assert {hit["id"] for hit in found["structuredContent"]["hits"]} == {"0", "2"}
        one.call("collection_remove", {"collection": "shared"})
        assert "there is no collection" in error_text(
            other.call("collection_search", {"collection": "shared", "query": "x"})
        )


def test_an_addition_reports_how_many_texts_are_encoded(tmp_path: Path) -> None:
    texts = [
        f"{number} is one of the numbers in a list that takes more than a second to read" for number in range(2000)
    ]
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


def test_a_cancelled_addition_keeps_what_was_committed(tmp_path: Path) -> None:
    texts = [f"{json.dumps(number)} is a number among many others in a long list" for number in range(2000)]
    with ServerProcess(tmp_path) as server:
        server.handshake()
        server.call("embed", {"texts": ["warm"]})
        request = server.send("tools/call", server.call_params("collection_add", {"collection": "c", "texts": texts}))
        listed = functools.partial(server.call, "collection_list", {})
        wait_until(lambda: any(c["size"] for c in listed()["structuredContent"]["collections"]), "a first commit")
        server.notify("notifications/cancelled", {"requestId": request})
        size = server.call("collection_list", {})["structuredContent"]["collections"][0]["size"]
        assert 0 < size < 2000
        again = server.call("collection_add", {"collection": "c", "texts": texts})["structuredContent"]
        assert (again["size"], again["unchanged"] >= size) == (2000, True)


@pytest.mark.parametrize("name", INPUTS)
def test_a_search_answers_in_few_tokens_whatever_is_stored(engine: Engine, name: str) -> None:
    texts = INPUTS[name][:60]
    metadata = {"note": "会" * 900}
    ids = [f"{number}{chr(0x1F600) * 100}" for number in range(len(texts))]
    added = {"collection": "hostile", "texts": texts, "ids": ids, "metadata": metadata}
    structured(call(engine, "collection_add", added))
    for arguments in ({}, {"neighbours": True}, {"mode": "keyword"}):
        given = {"collection": "hostile", "query": texts[0][:200], **arguments}
        result = call(engine, "collection_search", given)
        assert tokens(text(result)) <= MOST_TOKENS
        assert tokens(compact(structured(result))) <= MOST_TOKENS
    call(engine, "collection_remove", {"collection": "hostile"})


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
    listed = structured(call(no_model, "collection_list", {}))
    (entry,) = listed["collections"]
    assert (entry["name"], entry["size"], entry["model"], entry["usable"]) == ("kept", 3, "other@1", None)


def test_searching_by_words_needs_no_model(no_model: Engine) -> None:
    given = {"collection": "kept", "query": "fox", "mode": "keyword"}
    found = structured(call(no_model, "collection_search", given))
    assert sorted(ids(found)) == ["a", "b"]
    assert {(hit["score"], hit["band"], hit["found_by"]) for hit in found["hits"]} == {(None, None, "words")}
    assert (found["model"], found["no_match"]) == ("other@1", False)
    (hit,) = structured(call(no_model, "collection_search", {**given, "query": "Bicycles house"}))["hits"]
    assert hit["snippet"] == "The bicycles stand behind the house."


def test_removing_needs_no_model_and_says_what_it_did(no_model: Engine) -> None:
    store = open_store(no_model.settings)
    store.open_or_create("going", "identity", "other@1", 2).put([document("a", "one"), document("b", "two")])
    gone = structured(call(no_model, "collection_remove", {"collection": "going", "ids": ["a", "x"]}))
    assert (gone["removed"], gone["missing"], gone["size"], gone["model"]) == (1, ["x"], 1, "other@1")
    whole = structured(call(no_model, "collection_remove", {"collection": "going"}))
    assert (whole["removed"], whole["size"]) == (1, 0)


@pytest.mark.parametrize("keys", [["a"], None])
def test_a_cancelled_removal_removes_nothing(no_model: Engine, keys: list[str] | None) -> None:
    given, removed = Call(), list[CollectionRemoveResult]()
    store = open_store(no_model.settings)

    def remove() -> None:
        with suppress(CallCancelledError):
            removed.append(collection_remove(no_model.embedder(given), store, "kept", keys))

    with closing(sqlite3.connect(no_model.settings.data_dir / "collections.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")  # the removal waits for this to end
        thread = threading.Thread(target=remove)
        thread.start()
        given.cancel()
        other.rollback()
    thread.join()
    assert removed == []
    assert store.record("kept").documents == 3


def test_neighbours_are_the_parts_beside_each_hit_and_no_others(tmp_path: Path) -> None:
    parts = [f"part {number} " for number in range(3_000)]
    starts = [0, *itertools.accumulate(map(len, parts))]
    chunks = tuple(NewChunk(start, stop, "", np.ones(2, np.float32)) for start, stop in itertools.pairwise(starts))
    one = open_store(Settings(data_dir=tmp_path)).open_or_create("long", "identity", "model@1", 2)
    one.put([NewDocument("doc", "".join(parts), None, chunks), document("short", "alone")])
    rows = [chunk.key for chunk in one.first(4_000)]
    beside = one.neighbours([rows[0], rows[1_000], rows[2_999], rows[3_000]])
    assert sorted(chunk.part for chunk in beside) == [1, 999, 1_001, 2_998]
    assert {chunk.text for chunk in beside} == {parts[part] for part in (1, 999, 1_001, 2_998)}
