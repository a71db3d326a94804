"""Sources: collections, files, folders, patterns and tables, kept up to date, with the caller's own ids."""

import csv
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from calls import call, error, structured
from fakes import FakeEncoder, fake_identity
from files import tree
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading import found as reading_found
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.align import align
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.read import read
from mcp_server_embeddings.tools.results import SimilarityResult
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.tools.sources import Sources
from test_tables import parquet, sheet, xlsx
from wire import ServerProcess, error_text

FILES = {
    "a.md": "# Refunds\n\nYou get a refund within 30 days.\n",
    "b.txt": "Cats sleep most of the day.",
    "deep/c.md": "The violins played slowly.",
    "deep/d.csv": "title,year\nThe courier was late,1999\nA full charge lasts a day,2020\n",
}
ROWS = [("T1", "My card is lost.", 2020), ("T2", "The loan rate is high.", 2021), ("T3", "I lost my card.", 2022)]


class Place:
    """A folder that may be read, with a fake encoder that counts and no cache of vectors."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "texts"
        self.root.mkdir()
        self.fake = FakeEncoder()
        settings = Settings(data_dir=folder / "data", no_cache=True, allow_dir=(self.root,))
        self.engine = Engine(settings, self.fake.load)
        self.store = open_store(settings)

    @property
    def embedder(self) -> Embedder:
        return self.engine.embedder()

    @property
    def sources(self) -> Sources:
        return Sources(self.store, Reader([self.root]), search_patience=600)

    def write(self, files: Mapping[str, str]) -> None:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def table(self, rows: Sequence[Sequence[object]], name: str = "t.csv", header: str = "ticket,message,year") -> None:
        with (self.root / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split(","))
            writer.writerows(rows)

    def items(self, source: str, **more: Any) -> Items:
        return select_items(self.embedder, self.sources, None, Selection(source, **more))

    def texts(self, source: str, **more: Any) -> dict[str | int, str]:
        items = self.items(source, **more)
        return dict(zip(items.ids, items.texts(), strict=True))

    def encoded(self) -> list[str]:
        """The texts that were encoded since the last time."""
        texts = list(itertools.chain.from_iterable(self.fake.batches))
        self.fake.batches.clear()
        return texts


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path.resolve())
    place.engine.start()
    place.embedder.identity()
    place.embedder.calibration("retrieval")
    place.fake.batches.clear()
    yield place
    place.store.close()
    place.engine.close()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files that are parsed."""
    paths: list[str] = []
    for name in ("read_documents", "read_table"):
        original = getattr(reading_found, name)

        def parse(path: str, *rest: Any, original: Any = original) -> Any:
            paths.append(Path(path).name)
            return original(path, *rest)

        monkeypatch.setattr(reading_found, name, parse)
    return paths


def test_ids_are_paths_below_the_folder_that_was_named(place: Place) -> None:
    place.write(FILES)
    below = {"c.md": FILES["deep/c.md"], "d.csv:1": "title: The courier was late\nyear: 1999"}
    for source, folder, ids in (
        (".", place.root, ["a.md", "b.txt", "deep/c.md", "deep/d.csv:1", "deep/d.csv:2"]),
        (str(place.root), place.root, ["a.md", "b.txt", "deep/c.md", "deep/d.csv:1", "deep/d.csv:2"]),
        ("deep", place.root / "deep", ["c.md", "d.csv:1", "d.csv:2"]),
        ("deep/", place.root / "deep", ["c.md", "d.csv:1", "d.csv:2"]),
        ("deep/c.md", place.root / "deep", ["c.md"]),
        ("*.md", place.root, ["a.md"]),
        ("**/*.md", place.root, ["a.md", "deep/c.md"]),
    ):
        items = place.items(source)
        assert (items.folder, items.ids) == (f"{folder}/", ids), source
        texts = dict(zip(items.ids, items.texts(), strict=True))
        assert {key: texts[key] for key in below if key in texts} == {key: below[key] for key in below if key in texts}
    assert place.items("deep/c.md", ids=[f"{place.root}/deep/c.md"]).ids == ["c.md"]


def test_the_folder_of_ids_does_not_depend_on_which_items_are_asked_for(place: Place) -> None:
    place.write({"x/a.csv": "title,year\none,1\n", "y/b.csv": "title,year\ntwo,2\n"})
    some = place.items(".", where={"year": "2"})
    assert (some.folder, some.ids) == (f"{place.root}/", ["y/b.csv:1"])
    assert place.items(".", where={"year": "2"}, ids=["y/b.csv:1"]).ids == ["y/b.csv:1"]


def test_what_is_unchanged_is_neither_encoded_nor_parsed_again(place: Place, parsed: list[str]) -> None:
    place.write(FILES)
    place.table(ROWS)
    place.items(".")
    assert len(place.encoded()) == 8
    assert sorted(parsed) == ["a.md", "b.txt", "c.md", "d.csv", "t.csv"]
    parsed.clear()
    for name in ("t.csv", "deep/c.md"):
        os.utime(place.root / name)
    before = place.items(".")
    assert (place.encoded(), parsed) == ([], [])
    place.items("t.csv#message")
    assert len(place.encoded()) == 3  # other texts: the column alone
    parsed.clear()
    for _ in range(2):
        place.items("t.csv#message")
    assert (place.encoded(), parsed) == ([], [])
    place.store.close()  # as another process finds it
    assert place.items(".").ids == before.ids
    assert (place.encoded(), parsed) == ([], [])


def test_a_file_is_read_again_unless_its_time_would_show_a_change(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes within the resolution of the clock have one time, and may have one size."""
    read: list[str] = []
    original = reading_found.FoundFile.read

    def noted(file: reading_found.FoundFile) -> bytes:
        read.append(file.path)
        return original(file)

    monkeypatch.setattr(reading_found.FoundFile, "read", noted)
    place.write({"a.md": "one two"})
    place.items(".")
    status = (place.root / "a.md").stat()
    place.write({"a.md": "two one"})
    os.utime(place.root / "a.md", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert place.texts(".") == {"a.md": "two one"}
    assert len(read) == 2
    monkeypatch.setattr("mcp_server_embeddings.reading.snapshot.CLOCK_MARGIN_NS", -(10**12))  # all times are old
    place.items(".")
    place.items(".")
    assert len(read) == 3
    place.write({"a.md": "One two"})
    os.utime(place.root / "a.md", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert place.texts(".") == {"a.md": "One two"}


def test_changed_renamed_new_and_deleted_files_are_right_at_the_next_call(place: Place) -> None:
    place.write(FILES)
    place.items(".")
    place.encoded()
    place.write({"a.md": "# Refunds\n\nYou get a refund within 60 days.\n", "e.md": "A new file."})
    (place.root / "b.txt").rename(place.root / "z.txt")
    (place.root / "deep/d.csv").unlink()
    texts = place.texts(".")
    assert list(texts) == ["a.md", "deep/c.md", "e.md", "z.txt"]
    assert "60 days" in texts["a.md"]
    assert texts["z.txt"] == FILES["b.txt"]
    assert sorted(place.encoded()) == ["# Refunds\n\nYou get a refund within 60 days.", "A new file."]
    vectors = place.items(".").embed(place.embedder)
    fresh = Place.items(place, "**/*").embed(place.embedder)
    assert vectors.tolist() == fresh.tolist()


def test_a_file_that_can_no_longer_be_read_is_not_answered_from(place: Place) -> None:
    place.write(FILES)
    place.items(".")
    (place.root / "b.txt").write_bytes(b"\x00\x01\x02")
    items = place.items(".")
    assert "b.txt" not in items.ids
    assert items.notes[0].startswith("1 files were skipped: b.txt: ")


def test_files_that_are_ignored_now_are_gone(place: Place) -> None:
    place.write(FILES)
    place.items(".")
    place.write({".gitignore": "deep/\n"})
    assert place.items(".").ids == ["a.md", "b.txt"]


def test_numbered_rows_are_integers_as_the_file_counts_them(place: Place) -> None:
    place.table([*ROWS, ("T4", " ", 2023), ("T5", "The rate is low.", 2024)])
    items = place.items("t.csv#message")
    assert items.ids == [1, 2, 3, 5]
    assert (items.folder, items.table) == ("", str(place.root / "t.csv"))
    assert items.notes == [
        "1 rows without text in 'message' were left out",
        "ids are row numbers; id_field takes a column: ticket, year",
    ]
    assert place.items("t.csv#message", ids=[3, "1"]).ids == [1, 3]
    assert place.items("t.csv#message", where={"year": {"gte": 2022}}).ids == [3, 5]
    assert place.items("t.csv#message").notes == items.notes


def test_rows_are_called_by_their_id_column(place: Place) -> None:
    place.table(ROWS)
    assert place.items("t.csv#message", id_field="ticket").ids == ["T1", "T2", "T3"]
    place.table(ROWS, "u.csv", "id,message,year")
    assert place.items("u.csv#message").ids == ["T1", "T2", "T3"]
    place.table([*ROWS, ROWS[0]])
    with pytest.raises(InputError, match="T1"):
        place.items("t.csv#message", id_field="ticket")


@pytest.mark.parametrize("id_field", [None, "ticket"])
def test_changed_moved_new_and_deleted_rows_are_right_at_the_next_call(place: Place, id_field: str | None) -> None:
    place.table(ROWS)
    place.items("t.csv#message", id_field=id_field)
    place.encoded()
    later = [ROWS[2], ("T9", "Nothing of that.", 2023), (ROWS[0][0], "My card is found.", 2020), ROWS[1]]
    place.table(later)
    texts = place.texts("t.csv#message", id_field=id_field)
    assert list(texts.values()) == [row[1] for row in later]
    assert list(texts) == ([row[0] for row in later] if id_field else [1, 2, 3, 4])
    assert sorted(place.encoded()) == ["My card is found.", "Nothing of that."]
    some = place.items("t.csv#message", id_field=id_field, where={"year": {"lte": 2021}})
    assert [texts[key] for key in some.ids] == ["My card is found.", ROWS[1][1]]
    place.table(later[:1])
    assert list(place.texts("t.csv#message", id_field=id_field).values()) == [later[0][1]]
    assert place.encoded() == []


def test_a_change_of_another_column_is_seen_and_encodes_nothing(place: Place) -> None:
    place.table(ROWS)
    place.items("t.csv#message", id_field="ticket")
    place.encoded()
    place.table([(key, message, year + 100) for key, message, year in ROWS])
    assert place.items("t.csv#message", id_field="ticket", where={"year": 2121}).ids == ["T2"]
    assert place.encoded() == []


def test_the_lines_of_a_text_are_items_under_their_numbers(place: Place) -> None:
    place.write({"list.txt": "Pay in 30 days.\r\n\r\n  Keep logs.\n", "one.txt": "One line."})
    items = place.items("list.txt#lines")
    assert dict(zip(items.ids, items.texts(), strict=True)) == {1: "Pay in 30 days.", 3: "  Keep logs."}
    assert place.texts("list.txt#line") == place.texts("list.txt#lines")
    whole = place.items("list.txt")
    assert (list(whole.ids), whole.notes) == (
        ["list.txt"],
        ["list.txt is one item; list.txt#lines makes each of its lines one"],
    )
    place.write({"list.txt": "Pay in 30 days.\nKeep no logs.\n"})
    assert place.texts("list.txt#lines") == {1: "Pay in 30 days.", 2: "Keep no logs."}
    assert place.texts("one.txt#lines") == {1: "One line."}


def test_an_answer_says_which_column_it_took_and_offers_only_columns_of_ids(place: Place) -> None:
    place.table(
        [("T1", "My card is lost.", "mail"), ("T2", "The loan rate is high.", "mail")], header="ticket,message,via"
    )
    assert place.items("t.csv").notes == [
        "the texts are those of the column 'message'",
        "ids are row numbers; id_field takes a column: ticket",
    ]
    assert place.items("t.csv#message", id_field="ticket").notes == []


def test_ids_may_begin_with_the_name_of_the_source(place: Place) -> None:
    place.write(FILES)
    assert place.items("deep", ids=["deep/c.md"]).ids == ["c.md"]
    read_whole = read(place.embedder, "deep", ["deep/c.md", "c.md"], sources=place.sources)
    assert [item.text for item in read_whole.items] == [FILES["deep/c.md"]] * 2


def test_what_is_there_is_read_and_what_is_not_is_named(place: Place) -> None:
    place.table(ROWS)
    found = read(place.embedder, "t.csv#message", ["T1", "T9"], id_field="ticket", sources=place.sources)
    assert [item.id for item in found.items] == ["T1"]
    assert found.notes == ["T9 is not in t.csv#message; known: T1, T2, T3"]
    with pytest.raises(InputError, match=r"T1 is not in t.csv#message; its ids are row numbers, from 1; pass id_field"):
        read(place.embedder, "t.csv#message", ["T1"], sources=place.sources)
    with pytest.raises(
        InputError, match=r"1 of 2 ids are not in t.csv#message, the first is 'T1'; its ids are row numbers"
    ):
        place.items("t.csv#message", ids=["T1", 2])


def test_paths_in_place_of_texts_are_refused_and_of_questions_noted(place: Place) -> None:
    place.write(FILES)
    with pytest.raises(InputError, match=r"texts has 2 paths that can be read, such as 'a.md'; pass source"):
        cluster(place.embedder, ["a.md", "b.txt"], sources=place.sources)
    with pytest.raises(InputError, match=r"left has 2 paths that can be read"):
        align(place.embedder, ["a.md", "b.txt"], ["c", "d"], sources=place.sources)
    assert len(select_items(place.embedder, place.sources, ["a.md", "not a path"], Selection())) == 2
    found = search(place.embedder, queries=["what is new", "b.txt"], source="deep", sources=place.sources)
    assert found.notes[0] == "'b.txt' is also a path, but was searched as text; pass a table's path as queries"


def test_both_sides_of_a_comparison_take_ids_from_a_column(place: Place) -> None:
    place.table(ROWS)

    def compared(id_field: str | None) -> SimilarityResult:
        source = "t.csv#message"
        return similarity(
            place.embedder, left_source=source, right_source=source, id_field=id_field, top=1, sources=place.sources
        )

    found = compared("ticket")
    assert {found.pairs[0].left, found.pairs[0].right} <= {"T1", "T2", "T3"}
    assert found.notes == []
    assert compared(None).notes == ["ids are row numbers; id_field takes a column: ticket, year"]


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "xlsx", "parquet"])
def test_every_kind_of_table_is_a_source(place: Place, suffix: str) -> None:
    names = ("ticket", "message", "year")
    if suffix == "tsv":
        content = "".join(f"{a}\t{b}\t{c}\n" for a, b, c in [names, *ROWS]).encode()
    elif suffix == "jsonl":
        content = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in ROWS).encode()
    elif suffix == "parquet":
        content = parquet({name: [row[at] for row in ROWS] for at, name in enumerate(names)})
    else:
        string = '<c t="inlineStr"><is><t>{}</t></is></c>'
        rows = "".join(f"<row>{string.format(a)}{string.format(b)}<c><v>{c}</v></c></row>" for a, b, c in ROWS)
        content = xlsx(sheet(f"<row>{''.join(map(string.format, names))}</row>{rows}"))
    (place.root / f"t.{suffix}").write_bytes(content)
    assert place.texts(f"t.{suffix}#message", id_field="ticket") == {row[0]: row[1] for row in ROWS}
    assert place.items(f"t.{suffix}#message", where={"year": 2021}).ids == [2]


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ("t.csv", {}, "2 columns that hold text; name one, such as 't.csv#reply'"),
        ("t.csv#mesage", {}, "did you mean 'message'|message"),
        ("t.csv#message", {"id_field": "tiket"}, "tiket"),
        ("t.csv#message", {"where": {"yeer": 2020}}, "where has the name 'yeer', .* did you mean 'year'"),
        ("t.csv#message", {"ids": [7]}, "1 of 1 ids are not in t.csv#message, the first is '7'"),
        ("t.csv#message", {"where": {"year": 1}}, "has no items; nothing fits where"),
        ("a.md", {"id_field": "ticket"}, "id_field is for tables; 'a.md' is not one"),
        (".", {"where": {"colour": "red"}}, "'colour'"),
        ("none.md", {}, "none.md"),
        ("nothing", {}, "there is no collection or file 'nothing'"),
        ("*.xyz", {}, "matches no file"),
        ("/etc/passwd", {}, "outside|may be read"),
        ("C:\\Users\\me\\notes.txt", {}, "invalid source .* a path such as 'docs/notes.md' .* folder that may be read"),
        ("file:///etc/passwd", {}, "outside"),
        ("file://host/x", {}, "invalid source"),
        ("", {}, "invalid source"),
    ],
)
def test_wrong_sources_are_refused_with_the_fix(place: Place, source: str, more: dict[str, Any], words: str) -> None:
    place.write(FILES)
    place.table([(*row, "a long text beside") for row in ROWS], header="ticket,message,year,reply")
    with pytest.raises(InputError, match=words):
        place.items(source, **more)


def test_a_collection_is_a_source_in_the_order_in_which_it_was_filled(place: Place) -> None:
    collection_add(place.embedder, place.store, "notes", {"b": "one", "a": "two"}, metadata=[{"n": 1}, {"n": 2}])
    assert place.texts("notes") == {"b": "one", "a": "two"}
    assert place.items("notes", where={"n": 2}).ids == ["a"]
    assert place.items("notes").folder == ""
    with pytest.raises(InputError, match=r"id_field is for tables; 'notes' is a collection"):
        place.items("notes", id_field="n")
    with pytest.raises(InputError, match=r"'m', which no item of collection 'notes' has; known: n"):
        place.items("notes", where={"m": 2})


def test_items_of_a_collection_of_files_are_paths_below_their_folder(place: Place) -> None:
    place.write(FILES)
    collection_add(place.embedder, place.store, "files", source=["deep", "a.md"], sources=place.sources)
    items = place.items("files")
    assert items.folder == f"{place.root}/"
    assert sorted(map(str, items.ids)) == ["a.md", "deep/c.md", "deep/d.csv:1", "deep/d.csv:2"]
    assert place.items("files", where={"path": f"{place.root}/a.md"}).ids == ["a.md"]


def test_hidden_collections_are_listed_nowhere_and_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write({f"{number}.txt": f"number {number}" for number in range(6)})
    monkeypatch.setattr("mcp_server_embeddings.store.sql.store._MAX_SOURCES", 4)
    for number in range(6):
        assert place.texts(f"{number}.txt") == {f"{number}.txt": f"number {number}"}
    assert place.store.list() == []
    with place.store._database.reading() as database:  # type: ignore[attr-defined]
        (count,) = database.execute("SELECT count(*) FROM collections").fetchone()
        (documents,) = database.execute("SELECT count(*) FROM documents").fetchone()
    assert (count, documents) == (4, 4)
    place.encoded()
    assert place.texts("5.txt") == {"5.txt": "number 5"}
    assert place.encoded() == []
    assert place.texts("0.txt") == {"0.txt": "number 0"}  # was removed, and is made again
    listed = structured(call(place.engine, "status", {}))
    assert listed.get("collections", []) == []
    for name in (":source:x", "notes:successor"):
        assert "there is no collection" in error(call(place.engine, "search", {"query": "a", "source": name}))


def test_another_model_reads_the_files_for_itself(place: Place, tmp_path: Path) -> None:
    place.write(FILES)
    place.items(".")
    other = FakeEncoder()
    other.identity = fake_identity("1" * 64)
    with Engine(Settings(data_dir=tmp_path / "data", no_cache=True), other.load) as engine:
        assert len(select_items(engine.embedder(), place.sources, None, Selection("."))) == 5
        assert {text for batch in other.batches for text in batch} >= {FILES["b.txt"]}


@pytest.mark.slow
def test_two_processes_use_the_same_files(tmp_path: Path, data_dir: Path) -> None:
    root = tree(tmp_path.resolve() / "texts", FILES)

    def ids(server: ServerProcess, source: str = ".") -> list[str]:
        found = server.call("search", {"query": "violins", "source": source, "top": 20})["structuredContent"]
        return sorted(hit["id"] for hit in found["hits"])

    with (
        ServerProcess(data_dir, "--allow-dir", str(root)) as one,
        ServerProcess(data_dir, "--allow-dir", str(root)) as other,
    ):
        one.handshake()
        other.handshake()
        requests = [
            (server, server.send("tools/call", server.call_params("search", {"query": "violins", "source": "."})))
            for server in (one, other)
        ]
        for server, request in requests:
            assert not server.answer(request)["result"].get("isError")
        every = ["a.md", "b.txt", "deep/c.md", "deep/d.csv:1", "deep/d.csv:2"]
        for number in range(3):
            (root / f"n{number}.txt").write_text(f"A violin, number {number}.", encoding="utf-8")
            every.append(f"n{number}.txt")
            assert ids(one if number % 2 else other) == sorted(every)
        (root / "b.txt").unlink()
        every.remove("b.txt")
        assert ids(one) == ids(other) == sorted(every)
        assert "there is no collection or file" in error_text(one.call("search", {"query": "x", "source": "zzz"}))
