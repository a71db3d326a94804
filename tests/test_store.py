"""Collections in every store: documents are stored, found by vectors, words and metadata, changed and removed."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.errors import CollectionError, InputError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import (
    Metadata,
    Nearest,
    NewChunk,
    NewDocument,
    PutResult,
    RemoveResult,
    StoredFile,
    Vector,
    digest,
    passage_text,
)
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.store.where import Where, checked_conditions
from mcp_server_embeddings.vectors.scores import scores
from stores import STORES, OpenStore

DIMENSIONS = 8
MODEL = "all-MiniLM-L6-v2@1a2b3c4d"

IN_SEGMENTS = "sqlite, in segments of four"


@pytest.fixture(scope="module", params=[*STORES, IN_SEGMENTS])
def open_at(request: pytest.FixtureRequest) -> OpenStore:
    """Run a test with every implementation, and with SQLite in segments, as it stores large collections."""
    return STORES.get(request.param, lambda folder: SqliteStore(folder, segment_rows=4))


@pytest.fixture
def store(open_at: OpenStore, tmp_path: Path) -> CollectionStore:
    return open_at(tmp_path)


@pytest.fixture
def one(store: CollectionStore) -> Collection:
    return collection(store)


@pytest.fixture
def other(open_at: OpenStore, tmp_path: Path) -> Collection:
    """The same collection as ``one``, opened as another process would."""
    return collection(open_at(tmp_path))


def vector(text: str) -> Vector:
    """Return a vector that depends on the text only, like a model's, but not of length 1."""
    seed = int.from_bytes(digest(text)[:8], "little")
    return 3 * np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)


def document(key: str, *parts: str, metadata: Metadata | None = None, file: str = "") -> NewDocument:
    """Return a document of these parts, each of which is a chunk."""
    text, chunks = "", []
    for part in parts:
        chunks.append(NewChunk(len(text), len(text) + len(part), f"# {part[:3]}", vector(part)))
        text += part
    return NewDocument(key, text, metadata, tuple(chunks), file, digest(text) if file else b"")


def embedded(part: str) -> bytes:
    """Return the digest of the text that is embedded for a part of ``document``."""
    return digest(passage_text(f"# {part[:3]}", part))


def collection(store: CollectionStore, name: str = "notes") -> Collection:
    return store.open_or_create(name, "identity", MODEL, DIMENSIONS)


def ids(one: Collection, keys: list[int]) -> list[str]:
    return [chunk.id for chunk in one.chunks(keys)]


def by_words(one: Collection, query: str, where: Where | None = None) -> list[str]:
    return ids(one, one.matching(query, 10, where).keys)


def nearest(one: Collection, text: str = "", k: int = 100_000, where: Where | None = None) -> Nearest:
    (found,) = one.nearest(vector(text)[None, :], k, where)
    return found


def by_where(one: Collection, where: Where) -> str:
    """Return the ids of the documents that match, joined: ids are single letters here."""
    found = nearest(one, where=where)
    assert found.total == len(found.keys)
    return "".join(ids(one, sorted(found.keys)))


def assert_follows(one: Collection) -> Nearest:
    """Assert that searches use the stored vectors, scaled to length 1."""
    found, chunks = nearest(one, "any"), one.first(100_000)
    assert found.total == len(chunks)
    assert sorted(found.keys) == [chunk.key for chunk in chunks]
    rows = dict(zip(found.keys, found.vectors, strict=True))
    for chunk in chunks:
        expected = vector(chunk.text)
        np.testing.assert_allclose(rows[chunk.key], expected / np.linalg.norm(expected), rtol=1e-5)
    return found


def test_stored_documents_are_read_by_another_store(one: Collection, other: Collection) -> None:
    metadata: Metadata = {"year": 2024, "tags": ["a", "b"], "draft": False, "of": None}
    one.put([document("fox", "a red fox. ", "über 狐 𝔣ox", metadata=metadata)])
    first, second = other.chunks_of("fox")
    assert (first.id, first.text, first.heading, first.part, first.parts) == ("fox#1", "a red fox. ", "# a r", 0, 2)
    assert (second.id, second.text, second.start, second.stop) == ("fox#2", "über 狐 𝔣ox", 11, 21)
    assert first.metadata == metadata
    np.testing.assert_array_equal(other.vectors([second.key, first.key]), [vector(second.text), vector(first.text)])


def test_documents_are_added_updated_or_unchanged(one: Collection) -> None:
    assert one.put([document("a", "one"), document("b", "two")]) == PutResult(added=2)
    assert one.put([document("a", "one"), document("b", "three"), document("c", "four")]) == PutResult(1, 1, 1)
    assert [(chunk.id, chunk.text) for chunk in one.first(10)] == [("a", "one"), ("b", "three"), ("c", "four")]
    assert by_words(one, "two") == []
    now = one.current()
    assert (now.documents, now.chunks, now.bytes) == (3, 3, len("onethreefour") + 3 * 4 * DIMENSIONS)


def test_a_write_that_changes_nothing_leaves_the_revision(one: Collection) -> None:
    one.put([document("a", "one", file="x.md")])
    before = one.current()
    one.put([document("a", "one", file="x.md")])
    one.put([])
    one.remove(["b"])
    one.forget_files(["y.md"])
    assert one.current() == before
    one.put([document("a", "one", file="y.md")])
    assert one.current().revision > before.revision


def test_metadata_left_out_stays_and_changed_metadata_updates(one: Collection) -> None:
    one.put([document("a", "one", metadata={"year": 2024})])
    assert one.put([document("a", "one")]) == PutResult(unchanged=1)
    assert one.put([document("a", "one", metadata={"year": 2024})]) == PutResult(unchanged=1)
    assert one.put([document("a", "other")]) == PutResult(updated=1)
    assert by_where(one, {"year": 2024}) == "a"
    assert one.put([document("a", "other", metadata={"year": 2025})]) == PutResult(updated=1)
    assert (by_where(one, {"year": 2024}), by_where(one, {"year": 2025})) == ("", "a")
    assert one.put([document("a", "other", metadata={})]) == PutResult(updated=1)
    assert one.stored(["a", "x"])["a"].metadata == "{}"


def test_the_same_text_may_have_two_ids(one: Collection) -> None:
    one.put([document("a", "twin"), document("b", "twin")])
    assert by_words(one, "twin") == ["a", "b"]
    one.remove(["a"])
    assert by_words(one, "twin") == ["b"]
    assert one.known_vectors([embedded("twin")]).keys() == {embedded("twin")}


def test_vectors_are_known_by_the_digests_of_texts(store: CollectionStore) -> None:
    one = collection(store)
    one.put([document("a", "one ", "two")])
    two = embedded("two")
    known = one.known_vectors([two, embedded("three")])
    assert known.keys() == {two}
    np.testing.assert_array_equal(known[two], vector("two"))
    assert collection(store, "others").known_vectors([two]) == {}


def test_removing_returns_the_ids_that_were_there(one: Collection) -> None:
    one.put([document(key, f"text {key} ", "end") for key in "abc"])
    assert sorted(one.remove(["c", "x", "a"]).ids) == ["a", "c"]
    assert one.remove(["c"]) == RemoveResult([], 1)
    assert sorted(by_words(one, "text end")) == ["b#1", "b#2"]
    assert (one.current().documents, one.current().chunks) == (1, 2)
    assert one.chunks_of("a") == []


def test_each_part_of_a_document_has_its_own_id(one: Collection) -> None:
    one.put([document("doc", "first ", "second"), document("doc#9", "a name"), document("li\nne", "x ", "y")])
    assert [chunk.text for chunk in one.chunks_of("doc")] == ["first ", "second"]
    assert [chunk.text for chunk in one.chunks_of("doc#2")] == ["second"]
    assert [chunk.text for chunk in one.chunks_of("doc#9")] == ["a name"]
    assert [chunk.text for chunk in one.chunks_of("li\nne#2")] == ["y"]
    for none in ("doc#3", "doc#0", "doc#", "doc#02", "#1", f"doc#{'9' * 5000}"):
        assert one.chunks_of(none) == []


def test_files_have_digests_and_take_their_documents_along(one: Collection) -> None:
    one.put([document("a", "one", file="x.md"), document("b", "two", file="x.md"), document("c", "three")])
    one.keep_files({"empty.md": StoredFile(b"e" * 16, 7, 99)})
    assert {path: file.digest for path, file in one.files().items()} == {"x.md": digest("two"), "empty.md": b"e" * 16}
    empty = one.files()["empty.md"]
    assert (empty.size, empty.changed_ns, empty.documents) == (7, 99, 0)
    assert (one.files()["x.md"].size, one.files()["x.md"].documents) == (-1, 2)
    assert time.time() - 600 < empty.indexed <= time.time()
    assert one.ids_of_file("x.md") == ["a", "b"]
    assert by_where(one, {"path": "x.md"}) == "ab"
    assert one.forget_files(["x.md", "empty.md", "never.md"]) == 2
    assert (one.files(), [chunk.id for chunk in one.first(10)]) == ({}, ["c"])
    one.put([document("a", "one", file="x.md")])
    one.put([document("a", "changed", file="x.md")])
    assert one.ids_of_file("x.md") == ["a"]
    one.remove(["a"])
    assert one.files() == {}


def test_an_unchanged_document_may_come_from_another_file(one: Collection) -> None:
    one.put([document("a", "one", metadata={"year": 1}, file="x.md")])
    assert one.put([document("a", "one", file="y.md")]) == PutResult(unchanged=1)
    assert (one.ids_of_file("y.md"), list(one.files())) == (["a"], ["y.md"])
    assert (by_where(one, {"path": "x.md"}), by_where(one, {"path": "y.md", "year": 1})) == ("", "a")


def test_one_write_may_move_a_document_out_of_a_file_and_put_another_into_it(one: Collection) -> None:
    one.put([document("a", "one", file="x.md")])
    one.put([document("a", "one", file="y.md"), document("b", "two", file="x.md")])
    assert {path: file.documents for path, file in one.files().items()} == {"x.md": 1, "y.md": 1}


def test_ids_that_differ_by_a_nul_are_stored_in_one_write(one: Collection) -> None:
    one.put([document("a\0", "one"), document("a", "two")])
    assert one.texts_of(["a"]) == ["two"]


def test_the_beginning_of_a_text_goes_on_after_a_nul(one: Collection) -> None:
    one.put([document("a", "one\0two 狐𝔣x")])
    (whole,) = one.item_texts(one.items().keys)  # PostgreSQL has no NUL
    for length in range(len(whole) + 2):
        assert one.item_texts(one.items().keys, length) == [whole[:length]]


def test_a_document_without_chunks_is_stored_only_if_it_is_there(one: Collection) -> None:
    bare = NewDocument("a", "one", None, ())
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
def filtered(open_at: OpenStore, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    store = open_at(tmp_path_factory.mktemp("where"))
    one = collection(store)
    one.put([document(key, f"text of {key}", metadata=metadata) for key, metadata in FILTERED.items()])
    collection(store, "others").put([document("z", "z", metadata={"kind": "note"})])
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


@pytest.mark.parametrize(
    ("alias", "standard"),
    [
        ({"$gte": 2021}, {"gte": 2021}),
        ({">=": 2021}, {"gte": 2021}),
        ({">": 2020, "<": 2022}, {"gt": 2020, "lt": 2022}),
        ({"<=": 2020}, {"lte": 2020}),
        ({"==": 2020}, {"eq": 2020}),
        ({"=": 2020}, 2020),
        ({"!=": 2020}, {"ne": 2020}),
        ({"<>": 2020}, {"ne": 2020}),
        ({"$in": [2020, 2021]}, [2020, 2021]),
    ],
)
def test_comparisons_are_understood_by_the_names_of_other_filters(alias: object, standard: object) -> None:
    assert checked_conditions({"year": alias}) == checked_conditions({"year": standard})


def test_without_a_filter_everything_is_searched(filtered: Collection) -> None:
    assert nearest(filtered).total == nearest(filtered, where={}).total == 4


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
def test_an_invalid_filter_is_refused(where: Where, message: str, filtered: Collection) -> None:
    with pytest.raises(InputError, match=message):
        nearest(filtered, where=where)
    with pytest.raises(InputError, match=message):
        filtered.matching("text", 9, where)


def test_words_are_found_in_their_forms_and_scripts(one: Collection) -> None:
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


def test_a_passage_is_found_by_the_words_of_its_heading(one: Collection) -> None:
    heading, text = "Ships > Sails", "Canvas, mostly."
    one.put([NewDocument("a", text, None, (NewChunk(0, len(text), heading, vector(text)),))])
    assert by_words(one, "ships sail") == ["a"]
    assert one.matching("sails of canvas mostly", 5).keys
    one.remove(["a"])
    assert by_words(one, "ships") == []


@pytest.mark.parametrize(
    ("heading", "text", "expected"),
    [
        ("", "text", "text"),
        ("Install > Linux", "Use apt.", "Install > Linux\nUse apt."),
        ("Install > Linux", "## *Linux*\n\nUse apt.", "Install\n## *Linux*\n\nUse apt."),
        ("Install", "Install\n=======\nUse apt.", "Install\n=======\nUse apt."),
        ("Install", "Install it with apt.", "Install\nInstall it with apt."),
        ("page 3", "text", "text"),
        ("Manual > page 3", "text", "Manual\ntext"),
        (f"{'a' * 90} > {'b' * 90} > c", "text", f"{'b' * 90} > c\ntext"),
        ("a" * 200, "text", f"{'a' * 120}\ntext"),
    ],
)
def test_embedded_and_indexed_text_begins_with_the_heading_path(heading: str, text: str, expected: str) -> None:
    assert passage_text(heading, text) == expected


@pytest.mark.parametrize(
    "query", ['"', "fox AND", "NOT fox", "text: fox", "fox*", "(fox", "NEAR(fox, 2)", "-fox ^", "'; --", "\0", "\u0301"]
)
def test_search_syntax_in_a_query_is_only_words(query: str, one: Collection) -> None:
    one.put([document("a", "a red fox")])
    assert by_words(one, query) == (["a"] if "fox" in query else [])


def test_the_best_match_comes_first_and_a_search_gives_no_more_than_asked(one: Collection) -> None:
    texts = ["red", "red fox", "blue whale", "red fox", "a red fox runs over the long field", "green"]
    one.put([document(str(i), text) for i, text in enumerate(texts)])
    assert by_words(one, "red fox") == ["1", "3", "0", "4"]
    assert len(one.matching("red fox", 2).keys) == 2


def test_a_search_says_whether_one_chunk_has_all_words(one: Collection) -> None:
    one.put([document("a", "a red fox", metadata={"n": 1}), document("b", "a blue whale", metadata={"n": 2})])
    assert one.matching("red fox", 5).complete
    assert not one.matching("red whale", 5).complete
    assert not one.matching("red fox unicorn", 5).complete
    assert not one.matching("?!", 5).complete
    assert not one.matching("a red", 5, {"n": 2}).complete


# Not in segments of four rows: with 10,000 segments this took a minute.
@pytest.mark.slow
@pytest.mark.parametrize("open_at", ["sqlite", pytest.param("postgres", marks=pytest.mark.harden)], indirect=True)
def test_words_in_nearly_every_text_do_not_decide_a_search(one: Collection) -> None:
    count, part = 41_000, "the and "
    chunks = (NewChunk(i * len(part), (i + 1) * len(part), "", vector(part)) for i in range(count))
    one.put([document("rare", "the and heron"), NewDocument("all", part * count, None, tuple(chunks))])
    assert by_words(one, "the and heron") == ["rare"]
    assert one.matching("the heron and", 5).complete
    assert len(by_words(one, "the")) == len(by_words(one, "and the")) == 10


def test_a_long_query_is_its_first_words(one: Collection) -> None:
    one.put([document("a", "w1 and w31")])
    assert by_words(one, " ".join(f"w{i}" for i in range(1000))) == ["a"]


def test_searches_follow_every_write(one: Collection, other: Collection) -> None:
    assert assert_follows(one).vectors.shape == (0, DIMENSIONS)
    one.put([document(str(i), f"text {i}") for i in range(20)])
    before = assert_follows(one)
    kept = before.vectors.copy()
    other.remove(["3", "4"])
    other.put([document("5", "changed"), document("new", "of another ", "process")])
    assert assert_follows(one).total == 20
    one.remove([str(i) for i in range(12)])
    assert_follows(one)
    one.put([document(str(i), f"again {i}") for i in range(40)])
    assert nearest(one, k=0).total == 42
    assert_follows(one)
    assert_follows(other)
    one.remove([chunk.document for chunk in one.first(100)])
    assert len(assert_follows(one).keys) == 0
    one.put([document("last", "last")])
    assert_follows(one)
    np.testing.assert_array_equal(before.vectors, kept)


def test_the_nearest_come_first_and_equal_texts_in_the_order_of_keys(one: Collection) -> None:
    texts = [f"text {i}" for i in range(50)]
    one.put([document(str(i), text) for i, text in enumerate([*texts, *reversed(texts)])])
    one.remove(["0", "99"])
    query = vector("query")
    left = one.first(1_000)
    exact = scores(np.stack([vector(chunk.text) for chunk in left]), query[None, :], "cosine")[:, 0]
    expected = sorted(range(98), key=lambda i: (-exact[i], i))
    for k in (1, 7, 98, 500):
        found = nearest(one, "query", k)
        assert found.keys == [left[i].key for i in expected[:k]]
        np.testing.assert_allclose(found.cosines, exact[expected[:k]], atol=2e-6)
        assert found.total == 98
    keys = [left[i].key for i in (9, 3)]
    np.testing.assert_allclose(one.cosines(keys, query), exact[[9, 3]], atol=2e-6)
    both = one.nearest(np.stack([vector("text 8"), query]), 2)
    assert [ids(one, found.keys) for found in both] == [["8", "91"], ids(one, nearest(one, "query", 2).keys)]


@pytest.mark.parametrize("by", ["another process", "another thread"])
def test_all_reads_in_a_block_see_one_state(by: str, store: CollectionStore, other: Collection) -> None:
    one = collection(store)
    other = collection(store) if by == "another thread" else other
    one.put([document("a", "one fox"), document("b", "two foxes"), *(document(f"{i}", f"{i}") for i in range(10))])
    with one.reading() as view:
        before = nearest(view)
        other.remove(["a"])
        other.put([document("b", "changed"), document("c", "three foxes")])
        assert nearest(other).total == 12
        assert nearest(view).keys == before.keys
        assert ids(view, before.keys) == ids(view, nearest(view).keys)
        assert by_words(view, "fox") == ["a", "b"]
        assert view.current().chunks == nearest(view).total == 12
        np.testing.assert_array_equal(view.cosines(before.keys, vector("")), before.cosines)
    assert sorted(ids(one, nearest(one).keys)) == [*map(str, range(10)), "b", "c"]
    assert by_words(one, "fox") == ["c"]


def test_a_collection_in_the_middle_of_others_follows_too(store: CollectionStore) -> None:
    several = [collection(store, name) for name in ("a", "b", "c")]
    for step in range(6):
        for one in several:
            one.put([document(f"{step}-{i}", f"{one.name} {step} {i}") for i in range(5)])
            one.remove([f"{step - 1}-2"])
    for one in several:
        assert_follows(one)
        assert by_words(one, "5")
    assert [(record.name, record.chunks) for record in store.list()] == [("a", 25), ("b", 25), ("c", 25)]


def test_the_version_changes_with_every_write_of_any_store(open_at: OpenStore, tmp_path: Path) -> None:
    store = open_at(tmp_path)
    assert store.version() == 0
    one, seen = collection(open_at(tmp_path)), set()
    for step in range(20):
        one.put([document(str(step), "text")])
        seen.add(store.version())
        assert store.version() in seen
    collection(store).remove(["1"])
    seen.add(store.version())
    store.close()
    seen.add(store.version())
    assert len(seen) == 22


def test_one_collection_takes_the_place_of_another(store: CollectionStore) -> None:
    old, new = collection(store, "notes"), store.open_or_create("notes.new", "other", "other@1", 4)
    old.put([document("a", "old text")])
    new.put([NewDocument("a", "new text", None, (NewChunk(0, 8, "", np.ones(4, np.float32)),))])
    seen = old.current().revision
    assert store.replace("notes", by="notes.new", unless_changed_since=seen - 1) is False
    assert store.replace("notes", by="missing", unless_changed_since=seen) is False
    assert store.replace("notes", by="notes", unless_changed_since=seen) is False
    assert [record.name for record in store.list()] == ["notes", "notes.new"]
    assert store.replace("notes", by="notes.new", unless_changed_since=seen) is True
    assert [(record.name, record.dimensions, record.documents) for record in store.list()] == [("notes", 4, 1)]
    now = store.open_for("notes", "other", "other@1")
    assert (by_words(now, "new"), by_words(now, "old")) == (["a"], [])
    assert now.nearest(np.ones((1, 4), np.float32), 9)[0].vectors.tolist() == [[0.5] * 4]


def test_a_collection_removed_meanwhile_says_so(store: CollectionStore) -> None:
    one = collection(store)
    one.put([document("a", "one")])
    (key,) = (chunk.key for chunk in one.first(1))
    assert store.remove("notes").documents == 1
    assert store.list() == []
    searches = (lambda: nearest(one), lambda: one.cosines([key], vector("one")))
    writes = (lambda: one.put([]), lambda: one.remove(["a"]))
    for call in (one.current, *searches, *writes, lambda: one.vectors([key])):
        with pytest.raises(CollectionError, match="meanwhile; send the call again"):
            call()
    with pytest.raises(CollectionError, match="meanwhile; send the call again"):
        one.matching("one", 5)
    again = collection(store)
    assert (again.first(10), again.chunks([key])) == ([], [])
    with pytest.raises(CollectionError, match="meanwhile"):
        one.current()


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "a\n", "x" * 65, "a'b", '"'])
def test_an_invalid_name_is_refused(name: str, store: CollectionStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="allowed: 1 to 64 letters, digits"):
        collection(store, name)
    assert list(tmp_path.iterdir()) == []


def test_names_may_be_of_any_script(store: CollectionStore) -> None:
    names = ["handbook-2026", "заметки", "笔记", "v1.2_x"]
    for name in names:
        collection(store, name)
    assert {record.name for record in store.list()} == set(names)


def test_an_unknown_collection_names_the_nearest(store: CollectionStore) -> None:
    with pytest.raises(CollectionError, match="no collection 'note'; there is none yet; collection_add makes one"):
        store.record("note")
    collection(store, "notes")
    for call in (store.record, store.open, store.remove, lambda name: store.open_for(name, "identity", MODEL)):
        with pytest.raises(CollectionError, match="no collection 'note'; did you mean 'notes'"):
            call("note")
    with pytest.raises(CollectionError, match="known: notes"):
        store.record("xyz")


def test_vectors_of_another_model_are_refused(store: CollectionStore) -> None:
    collection(store)
    with pytest.raises(CollectionError, match="`mcp-server-embeddings reindex notes`") as opening:
        store.open_for("notes", "other", "bge@99")
    with pytest.raises(CollectionError, match="`mcp-server-embeddings reindex notes`") as making:
        store.open_or_create("notes", "other", "bge@99", DIMENSIONS)
    for refused in (opening, making):
        assert MODEL in str(refused.value)
        assert "bge@99" in str(refused.value)
    assert store.open("notes").name == "notes"


def test_items_are_documents_in_the_order_in_which_they_came(one: Collection) -> None:
    one.put([document("b", "one ", "two", metadata={"year": 2020}), document("a", "three", metadata={"year": 2021})])
    items = one.items()
    assert items.ids == ["b", "a"]
    assert one.item_texts(items.keys) == ["one two", "three"]
    assert one.item_texts(items.keys[::-1], length=3) == ["thr", "one"]
    assert one.item_metadata(items.keys) == [{"year": 2020}, {"year": 2021}]
    assert one.items({"year": {"gte": 2021}}).ids == ["a"]
    assert one.items({"year": 1999}).ids == []
    assert one.id_range() == (min(items.ids), max(items.ids))
    assert one.id_range({"year": {"gte": 2021}}) == ("a", "a")
    assert one.id_range({"year": 1999}) is None


def test_the_vector_of_an_item_is_the_mean_of_its_chunks_by_length(one: Collection) -> None:
    one.put([document("long", "some words ", "x"), document("short", "one")])
    items = one.items()
    long, short = one.item_vectors(items.keys)
    units = [vector(part) / np.linalg.norm(vector(part)) for part in ("some words ", "x", "one")]
    mean = len("some words ") * units[0] + len("x") * units[1]
    np.testing.assert_allclose(long, mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(short, units[2], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(one.item_vectors(items.keys[::-1]), [short, long])
    assert one.item_vectors([]).shape == (0, DIMENSIONS)


def test_items_removed_meanwhile_are_an_error(one: Collection) -> None:
    one.put([document("a", "one"), document("b", "two")])
    keys = one.items().keys
    one.remove(["a"])
    for read in (one.item_texts, one.item_vectors, one.item_metadata):
        with pytest.raises(CollectionError, match=r"removed meanwhile; send the call again"):
            read(keys)


def test_an_annotation_is_metadata_that_filters_and_changes_nothing_else(one: Collection, other: Collection) -> None:
    one.put([document("a", "one", metadata={"year": 2020}, file="x.md"), document("b", "two")])
    before = one.current()
    assert one.annotate("kind", {"a": "fruit", "b": "tool", "c": "none"}) == 2
    assert other.item_metadata(other.items().keys) == [{"kind": "fruit", "year": 2020}, {"kind": "tool"}]
    assert other.items({"kind": "fruit", "path": "x.md"}).ids == ["a"]
    assert other.metadata_names() == ["kind", "path", "year"]
    assert one.annotate("kind", {"a": "tool"}) == 1
    assert one.items({"kind": "tool"}).ids == ["a", "b"]
    assert (one.current().chunks, one.current().removals) == (before.chunks, before.removals)
    assert one.current().revision > before.revision
    assert_follows(other)
