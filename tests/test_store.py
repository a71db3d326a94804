"""Collections on disk: what goes in comes out, is found by words and by metadata, and changes as asked."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.errors import CollectionError, InputError
from mcp_server_embeddings.store.collection import Collection
from mcp_server_embeddings.store.fulltext import query_words
from mcp_server_embeddings.store.records import (
    Metadata,
    NewChunk,
    NewDocument,
    PutResult,
    RemoveResult,
    Snapshot,
    Vector,
    digest,
)
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.store.writing import MAX_CHUNKS

DIMENSIONS = 8
MODEL = "all-MiniLM-L6-v2@1a2b3c4d"


def vector(text: str) -> Vector:
    """The same for the same text, as of a model; not of length 1."""
    seed = int.from_bytes(digest(text)[:8], "little")
    return 3 * np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)


def document(key: str, *parts: str, metadata: Metadata | None = None, file: str = "") -> NewDocument:
    """A document of these parts, each a chunk."""
    text, chunks = "", []
    for part in parts:
        chunks.append(NewChunk(len(text), len(text) + len(part), f"# {part[:3]}", vector(part)))
        text += part
    return NewDocument(key, text, metadata, tuple(chunks), file, digest(text) if file else b"")


def collection(folder: Path, name: str = "notes", store: Store | None = None) -> Collection:
    return (store or Store(folder)).made(name, "identity", MODEL, DIMENSIONS)


def found_ids(one: Collection, rows: Sequence[int]) -> list[str]:
    return [chunk.id for chunk in one.chunks(rows)]


def by_words(one: Collection, query: str, where: Where | None = None) -> list[str]:
    return found_ids(one, one.matching_words(query, 10, where)[0])


def by_where(one: Collection, where: Where) -> str:
    """The ids that fit, as one word: documents here are called by one letter."""
    rows = one.selected(where)
    assert rows is not None
    return "".join(found_ids(one, rows.tolist()))


def living(snapshot: Snapshot) -> dict[int, Vector]:
    pairs = zip(snapshot.rows.tolist(), snapshot.vectors, snapshot.alive, strict=True)
    return {row: one.copy() for row, one, alive in pairs if alive}


def assert_follows(one: Collection) -> Snapshot:
    """The vectors in memory are those on disk, with length 1."""
    snapshot = one.snapshot()
    chunks = one.first(100_000)
    assert list(living(snapshot)) == [chunk.row for chunk in chunks]
    for chunk in chunks:
        wanted = vector(chunk.text)
        np.testing.assert_allclose(living(snapshot)[chunk.row], wanted / np.linalg.norm(wanted), rtol=1e-5)
    return snapshot


def test_what_was_put_comes_back_from_another_store(tmp_path: Path) -> None:
    metadata: Metadata = {"year": 2024, "tags": ["a", "b"], "draft": False, "of": None}
    collection(tmp_path).put([document("fox", "a red fox. ", "über 狐 𝔣ox", metadata=metadata)])
    other = collection(tmp_path)
    first, second = other.chunks_of("fox")
    assert (first.id, first.text, first.heading, first.part, first.parts) == ("fox#1", "a red fox. ", "# a r", 0, 2)
    assert (second.id, second.text, second.start, second.stop) == ("fox#2", "über 狐 𝔣ox", 11, 21)
    assert first.metadata == metadata
    np.testing.assert_array_equal(other.vectors([second.row, first.row]), [vector(second.text), vector(first.text)])


def test_documents_are_added_updated_or_unchanged(tmp_path: Path) -> None:
    one = collection(tmp_path)
    assert one.put([document("a", "one"), document("b", "two")]) == PutResult(added=2)
    assert one.put([document("a", "one"), document("b", "three"), document("c", "four")]) == PutResult(1, 1, 1)
    assert [(chunk.id, chunk.text) for chunk in one.first(10)] == [("a", "one"), ("b", "three"), ("c", "four")]
    assert by_words(one, "two") == []
    now = one.now()
    assert (now.documents, now.chunks, now.bytes) == (3, 3, len("onethreefour") + 3 * 4 * DIMENSIONS)


def test_a_write_that_changes_nothing_leaves_the_revision(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "one", file="x.md")])
    before = one.now()
    one.put([document("a", "one", file="x.md")])
    one.put([])
    one.remove(["b"])
    one.forget_files(["y.md"])
    assert one.now() == before
    one.put([document("a", "one", file="y.md")])
    assert one.now().revision > before.revision


def test_metadata_left_out_stays_and_changed_metadata_updates(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "one", metadata={"year": 2024})])
    assert one.put([document("a", "one")]) == PutResult(unchanged=1)
    assert one.put([document("a", "one", metadata={"year": 2024})]) == PutResult(unchanged=1)
    assert one.put([document("a", "other")]) == PutResult(updated=1)
    assert by_where(one, {"year": 2024}) == "a"
    assert one.put([document("a", "other", metadata={"year": 2025})]) == PutResult(updated=1)
    assert (by_where(one, {"year": 2024}), by_where(one, {"year": 2025})) == ("", "a")
    assert one.put([document("a", "other", metadata={})]) == PutResult(updated=1)
    assert one.stored(["a", "x"])["a"].metadata == "{}"


def test_the_same_text_may_have_two_ids(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "twin"), document("b", "twin")])
    assert by_words(one, "twin") == ["a", "b"]
    one.remove(["a"])
    assert by_words(one, "twin") == ["b"]
    assert one.known_vectors([digest("twin")]).keys() == {digest("twin")}


def test_vectors_are_known_by_the_digests_of_texts(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "one ", "two")])
    known = one.known_vectors([digest(text) for text in ("two", "three")])
    assert known.keys() == {digest("two")}
    np.testing.assert_array_equal(known[digest("two")], vector("two"))
    assert collection(tmp_path, "others").known_vectors([digest("two")]) == {}


def test_removing_names_what_was_there(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document(key, f"text {key} ", "more") for key in "abc"])
    assert sorted(one.remove(["c", "x", "a"]).ids) == ["a", "c"]
    assert one.remove(["c"]) == RemoveResult([], 1)
    assert sorted(by_words(one, "text more")) == ["b#1", "b#2"]
    assert (one.now().documents, one.now().chunks) == (1, 2)
    assert one.chunks_of("a") == []


def test_a_part_of_a_document_has_an_id_of_its_own(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("doc", "first ", "second"), document("doc#9", "a name"), document("li\nne", "x ", "y")])
    assert [chunk.text for chunk in one.chunks_of("doc")] == ["first ", "second"]
    assert [chunk.text for chunk in one.chunks_of("doc#2")] == ["second"]
    assert [chunk.text for chunk in one.chunks_of("doc#9")] == ["a name"]
    assert [chunk.text for chunk in one.chunks_of("li\nne#2")] == ["y"]
    for none in ("doc#3", "doc#0", "doc#", "doc#02", "#1", f"doc#{'9' * 5000}"):
        assert one.chunks_of(none) == []


def test_files_have_digests_and_take_their_documents_along(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "one", file="x.md"), document("b", "two", file="x.md"), document("c", "three")])
    one.keep_files({"empty.md": b"e" * 16})
    assert one.files() == {"x.md": digest("two"), "empty.md": b"e" * 16}
    assert one.ids_of_file("x.md") == ["a", "b"]
    assert by_where(one, {"path": "x.md"}) == "ab"
    assert one.forget_files(["x.md", "empty.md", "never.md"]) == 2
    assert (one.files(), [chunk.id for chunk in one.first(10)]) == ({}, ["c"])
    one.put([document("a", "one", file="x.md")])
    one.remove(["a"])
    assert one.files() == {}


def test_an_unchanged_document_may_come_from_another_file(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "one", metadata={"year": 1}, file="x.md")])
    assert one.put([document("a", "one", file="y.md")]) == PutResult(unchanged=1)
    assert (one.ids_of_file("y.md"), list(one.files())) == (["a"], ["y.md"])
    assert (by_where(one, {"path": "x.md"}), by_where(one, {"path": "y.md", "year": 1})) == ("", "a")


def test_a_document_without_chunks_is_stored_only_if_it_is_there(tmp_path: Path) -> None:
    one, bare = collection(tmp_path), NewDocument("a", "one", None, ())
    one.put([document("a", "one")])
    assert one.put([bare]) == PutResult(unchanged=1)
    one.remove(["a"])
    with pytest.raises(CollectionError, match="send the call again"):
        one.put([document("b", "two"), bare])
    assert one.first(10) == []


HUGE = 1 << 70

FILTERED: Mapping[str, Metadata] = {
    "a": {"year": 2019, "kind": "note", "tags": ["x", "y"]},
    "b": {"year": 2024.5, "kind": "mail", "tags": ["y"], "owner": None},
    "c": {"year": "2021", "kind": 'it\'s "quoted"', "big": HUGE},
    "d": {"year": 2021, "done": True, "big": -(10**400)},
}


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    one = collection(tmp_path_factory.mktemp("where"))
    one.put([document(key, f"text of {key}", metadata=metadata) for key, metadata in FILTERED.items()])
    collection(tmp_path_factory.mktemp("others"), "others").put([document("z", "z", metadata={"kind": "note"})])
    return one


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"kind": "note"}, "a"),
        ({"kind": ["note", "mail", "none"]}, "ab"),
        ({"kind": {"in": ["mail"]}, "year": {"gt": 2000}}, "b"),
        ({"kind": {"ne": "note"}}, "bc"),
        ({"tags": "y"}, "ab"),
        ({"tags": ["x", "z"]}, "a"),
        ({"year": {"gte": 2019, "lt": 2022}}, "ad"),
        ({"year": {"gt": 2019}}, "bd"),
        ({"year": {"lte": "3"}}, "c"),
        ({"year": 2021.0}, "d"),
        ({"year": "2021"}, "c"),
        ({"year": {"gt": 2021, "lt": 2021}}, ""),
        ({"done": True}, "d"),
        ({"done": "true"}, ""),
        ({"owner": None}, "b"),
        ({"owner": {"ne": None}}, ""),
        ({"owner": [None, "me"]}, "b"),
        ({"tags": {"ne": None}}, "ab"),
        ({"nothing": None}, ""),
        ({"big": HUGE}, "c"),
        ({"big": {"lt": -HUGE}}, "d"),
        ({"kind": 'it\'s "quoted"'}, "c"),
        ({"kind": "' OR 1=1 --"}, ""),
        ({"kind' OR '1'='1": "note"}, ""),
        ({"kind": {"in": ["note'); DROP TABLE documents; --", "mail"]}}, "b"),
    ],
)
def test_metadata_is_filtered(where: Where, ids: str, filtered: Collection) -> None:
    assert by_where(filtered, where) == ids
    assert sorted(by_words(filtered, "text", where)) == sorted(ids)


def test_without_a_filter_everything_is_selected(filtered: Collection) -> None:
    assert filtered.selected(None) is None
    assert filtered.selected({}) is None


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"year": {"above": 3}}, r"where\.year has the comparison 'above'; allowed: eq, ne, gt, gte, lt, lte, in"),
        ({"year": {}}, r"where\.year is an empty object; allowed: eq"),
        ({"year": []}, r"where\.year has 0 values; allowed: 1 to 500"),
        ({"year": list(range(501))}, r"where\.year has 501 values"),
        ({"year": {"gt": None}}, r"null can only be eq or ne"),
        ({"year": {"gt": [1, 2]}}, r"give one value, or use in"),
        ({str(i): i for i in range(17)}, r"17 conditions; at most 16"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(where: Where, message: str, filtered: Collection) -> None:
    with pytest.raises(InputError, match=message):
        filtered.selected(where)


def test_words_are_found_in_their_forms_and_scripts(tmp_path: Path) -> None:
    one = collection(tmp_path)
    texts = {
        "fox": "The quick foxes were jumping",
        "chinese": "我喜欢红色的狐狸",
        "chinese2": "狐疑的狸猫",
        "japanese": "きつねが走る",
        "accent": "Un résumé à Café",
        "macos": "un re\u0301sume\u0301 de travail",
        "code": "call my_function(x) twice",
    }
    one.put([document(key, text) for key, text in texts.items()])
    assert by_words(one, "jump") == ["fox"]
    assert by_words(one, "FOX, jumped?") == ["fox"]
    assert by_words(one, "狐狸") == ["chinese"]
    assert by_words(one, "つね") == ["japanese"]
    assert sorted(by_words(one, "resume")) == ["accent", "macos"]
    assert sorted(by_words(one, "re\u0301sume\u0301")) == ["accent", "macos"]
    assert by_words(one, "my_function") == ["code"]
    assert by_words(one, "unknown") == []


@pytest.mark.parametrize(
    "query", ['"', "fox AND", "NOT fox", "text: fox", "fox*", "(fox", "NEAR(fox, 2)", "-fox ^", "'; --", "\0", "\u0301"]
)
def test_search_syntax_in_a_query_is_only_words(query: str, tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "a red fox")])
    assert by_words(one, query) == (["a"] if "fox" in query else [])


def test_the_best_match_comes_first_and_a_search_gives_no_more_than_asked(tmp_path: Path) -> None:
    one = collection(tmp_path)
    texts = ["red", "red fox", "blue whale", "red fox", "a red fox runs over the long field", "green"]
    one.put([document(str(i), text) for i, text in enumerate(texts)])
    assert by_words(one, "red fox") == ["1", "3", "0", "4"]
    assert len(one.matching_words("red fox", 2)[0]) == 2


def test_a_search_says_whether_one_chunk_has_all_words(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "a red fox", metadata={"n": 1}), document("b", "a blue whale", metadata={"n": 2})])
    assert one.matching_words("red fox", 5)[1]
    assert not one.matching_words("red whale", 5)[1]
    assert not one.matching_words("red fox unicorn", 5)[1]
    assert not one.matching_words("?!", 5)[1]
    assert not one.matching_words("a red", 5, {"n": 2})[1]


def test_words_in_nearly_every_text_do_not_decide_a_search(tmp_path: Path) -> None:
    one = collection(tmp_path)
    count, part = 41_000, "the and "
    chunks = (NewChunk(i * len(part), (i + 1) * len(part), "", vector(part)) for i in range(count))
    one.put([document("rare", "the and heron"), NewDocument("all", part * count, None, tuple(chunks))])
    assert by_words(one, "the and heron") == ["rare"]
    assert one.matching_words("the heron and", 5)[1]
    assert len(by_words(one, "the")) == 10


def test_a_long_query_is_its_first_words(tmp_path: Path) -> None:
    assert len(query_words(" ".join(f"w{i}" for i in range(1000)))) == 32
    one = collection(tmp_path)
    one.put([document("a", "w1 and w31")])
    assert by_words(one, " ".join(f"w{i}" for i in range(1000))) == ["a"]


def test_the_vectors_in_memory_follow_the_file(tmp_path: Path) -> None:
    one, other = collection(tmp_path), collection(tmp_path)
    assert assert_follows(one).vectors.shape == (0, DIMENSIONS)
    one.put([document(str(i), f"text {i}") for i in range(20)])
    before = assert_follows(one)
    kept = living(before)
    other.remove(["3", "4"])
    other.put([document("5", "changed"), document("new", "of another ", "process")])
    after = assert_follows(one)
    assert len(after.alive) == 23
    np.testing.assert_equal(living(before), kept)
    one.remove([str(i) for i in range(12)])
    compacted = assert_follows(one)
    assert compacted.alive.all()
    one.put([document(str(i), f"again {i}") for i in range(40)])
    np.testing.assert_equal(living(before), kept)
    assert_follows(one)
    assert_follows(other)
    one.remove([chunk.document for chunk in one.first(100)])
    assert len(assert_follows(one).rows) == 0
    one.put([document("last", "last")])
    assert_follows(one)


def test_a_collection_in_the_middle_of_others_follows_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    several = [collection(tmp_path, name, store) for name in ("a", "b", "c")]
    for step in range(6):
        for one in several:
            one.put([document(f"{step}-{i}", f"{one.name} {step} {i}") for i in range(5)])
            one.remove([f"{step - 1}-2"])
    for one in several:
        assert_follows(one)
        assert by_words(one, "5")
    assert [(record.name, record.chunks) for record in store.list()] == [("a", 25), ("b", 25), ("c", 25)]


def test_the_version_changes_with_every_write_of_any_store(tmp_path: Path) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    assert store.version() == 0
    one, seen = collection(tmp_path, store=other), set()
    for step in range(20):
        one.put([document(str(step), "text")])
        seen.add(store.version())
        assert store.version() in seen
    collection(tmp_path, store=store).remove(["1"])
    seen.add(store.version())
    store.close()
    seen.add(store.version())
    assert len(seen) == 22


def test_one_collection_takes_the_place_of_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = collection(tmp_path, "notes", store), store.made("notes.new", "other", "other@1", 4)
    old.put([document("a", "old text")])
    new.put([NewDocument("a", "new text", None, (NewChunk(0, 8, "", np.ones(4, np.float32)),))])
    seen = old.now().revision
    assert store.replace("notes", by="notes.new", unless_changed_since=seen - 1) is False
    assert store.replace("notes", by="missing", unless_changed_since=seen) is False
    assert store.replace("notes", by="notes", unless_changed_since=seen) is False
    assert [record.name for record in store.list()] == ["notes", "notes.new"]
    assert store.replace("notes", by="notes.new", unless_changed_since=seen) is True
    assert [(record.name, record.dimensions, record.documents) for record in store.list()] == [("notes", 4, 1)]
    now = store.collection("notes", "other", "other@1")
    assert (by_words(now, "new"), by_words(now, "old")) == (["a"], [])
    assert now.snapshot().vectors.tolist() == [[0.5] * 4]


def test_a_collection_removed_meanwhile_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = collection(tmp_path, store=store)
    one.put([document("a", "one")])
    (row,) = (chunk.row for chunk in one.first(1))
    assert store.remove("notes").documents == 1
    assert store.list() == []
    for call in (one.now, one.snapshot, lambda: one.put([]), lambda: one.remove(["a"]), lambda: one.vectors([row])):
        with pytest.raises(CollectionError, match="meanwhile; send the call again"):
            call()
    with pytest.raises(CollectionError, match="meanwhile; send the call again"):
        one.matching_words("one", 5)
    again = collection(tmp_path, store=store)
    assert (again.first(10), again.chunks([row])) == ([], [])
    with pytest.raises(CollectionError, match="meanwhile"):
        one.now()


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "a\n", "x" * 65, "a'b", '"'])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="allowed: 1 to 64 letters, digits"):
        collection(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_names_may_be_of_any_script(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["handbook-2026", "заметки", "笔记", "v1.2_x"]
    for name in names:
        collection(tmp_path, name, store)
    assert {record.name for record in store.list()} == set(names)


def test_an_unknown_collection_names_the_nearest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(CollectionError, match="no collection 'note'; there is none yet; collection_add makes one"):
        store.record("note")
    collection(tmp_path, "notes", store)
    for call in (store.record, store.opened, store.remove, lambda name: store.collection(name, "identity", MODEL)):
        with pytest.raises(CollectionError, match="no collection 'note'; did you mean 'notes'"):
            call("note")
    with pytest.raises(CollectionError, match="known: notes"):
        store.record("xyz")


def test_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    collection(tmp_path, store=store)
    with pytest.raises(CollectionError, match="`mcp-server-embeddings reindex notes`") as opening:
        store.collection("notes", "other", "bge@99")
    with pytest.raises(CollectionError, match="`mcp-server-embeddings reindex notes`") as making:
        store.made("notes", "other", "bge@99", DIMENSIONS)
    for refused in (opening, making):
        assert MODEL in str(refused.value)
        assert "bge@99" in str(refused.value)
    assert store.opened("notes").name == "notes"


def test_a_collection_at_its_limit_takes_nothing_more(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("a", "one")])
    with closing(sqlite3.connect(tmp_path / "collections.sqlite")) as database, database:
        database.execute("UPDATE collections SET chunks = ?", (MAX_CHUNKS - 1,))
    with pytest.raises(CollectionError, match=r"1,000,001 chunks, at most 1,000,000 .*docs/scaling\.md"):
        one.put([document("b", "two ", "three")])
    assert [chunk.id for chunk in one.first(10)] == ["a"]
    assert by_words(one, "two") == []
    one.put([document("b", "two")])
    assert one.put([document("b", "changed")]) == PutResult(updated=1)
    one.remove(["b"])
