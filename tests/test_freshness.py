"""Collections and folders follow their files: what was edited, renamed or deleted is right at the next call."""

import os
import threading
from pathlib import Path

import pytest

from fakes import fake_identity
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.reading.snapshot import Snapshot
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.collection_reindex import collection_reindex
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.freshness import Freshness, Update, includes
from mcp_server_embeddings.tools.results import Hit, SearchResult
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.sources import Sources
from test_sources import FILES, ROWS, Place, place

__all__ = ["place"]

PATIENT = 600.0


def add(place: Place, *paths: str, **more: object) -> None:
    collection_add(place.embedder, place.store, "notes", source=list(paths), sources=place.sources, **more)  # type: ignore[arg-type]
    place.encoded()


def asked(place: Place, query: str, sources: Sources | None = None, **more: object) -> SearchResult:
    return search(place.embedder, query, source="notes", sources=sources or place.sources, **more)  # type: ignore[arg-type]


def late(found: SearchResult) -> list[str]:
    """Return the notes but the one on hits that chance explains: these vectors are random."""
    return [note for note in found.notes if "nearer than chance" not in note]


def hits(place: Place, query: str) -> dict[str, str]:
    return {str(hit.id): hit.text for hit in asked(place, query, top=20).hits}


def first(place: Place, query: str) -> Hit:
    return asked(place, query).hits[0]


def test_a_collection_follows_its_files_and_encodes_only_new_texts(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    place.write({"a.md": "# Refunds\n\nYou get a refund within 60 days.\n", "e.md": "A new file on harbours."})
    (place.root / "b.txt").rename(place.root / "z.txt")
    (place.root / "deep/d.csv").unlink()
    found = hits(place, "refund")
    assert sorted(found) == ["a.md", "deep/c.md", "e.md", "z.txt"]
    assert found["a.md"] == "You get a refund within 60 days."
    encoded = [text for text in place.encoded() if not text.startswith("find: ")]
    assert sorted(encoded) == ["# Refunds\n\nYou get a refund within 60 days.", "A new file on harbours."]
    assert late(asked(place, "refund")) == []
    assert first(place, "harbours").indexed == ""


def test_a_pattern_and_its_metadata_hold_for_new_files(place: Place) -> None:
    place.write(FILES)
    add(place, "**/*.md", metadata={"kind": "guide"})
    place.write({"deep/n.md": "A note on harbours.", "deep/n.txt": "A text on harbours."})
    (hit, *_) = asked(place, "harbours", where={"kind": "guide"}).hits
    assert (hit.id, hit.metadata) == ("deep/n.md", {"kind": "guide"})
    assert not any("n.txt" in key for key in hits(place, "harbours"))


def test_the_nearest_path_says_how_a_file_is_read(place: Place) -> None:
    place.write(FILES)
    add(place, ".", metadata={"from": "all"})
    add(place, "deep", metadata={"from": "deep"})
    place.write({"deep/n.md": "A note on harbours.", "m.md": "A letter on lighthouses."})
    assert first(place, "note harbours").metadata == {"from": "deep"}
    assert first(place, "letter lighthouses").metadata == {"from": "all"}


def test_rows_of_a_column_follow_their_table(place: Place) -> None:
    place.table(ROWS)
    add(place, "t.csv#message", id_field="ticket")
    place.table([*ROWS[1:], ("T7", "The harbour is closed.", 2023)])
    assert sorted(hits(place, "harbour")) == ["T2", "T3", "T7"]
    (place.root / "t.csv").unlink()
    with pytest.raises(InputError, match="has no items"):
        asked(place, "harbour")


def test_what_was_removed_from_a_collection_stays_out_until_it_is_added_again(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    collection_remove(place.embedder, place.store, "notes", [f"{place.root}/b.txt"])
    place.write({"b.txt": "Cats sleep all day.", "e.md": "Another."})
    assert sorted(hits(place, "cats")) == ["a.md", "deep/c.md", "deep/d.csv:1", "deep/d.csv:2", "e.md"]
    add(place, ".")
    assert hits(place, "cats")["b.txt"] == "Cats sleep all day."


def test_texts_that_were_sent_stay_whatever_becomes_of_files(place: Place) -> None:
    place.write(FILES)
    add(place, "deep")
    collection_add(place.embedder, place.store, "notes", {"sent": "A text on harbours."})
    for path in (place.root / "deep").iterdir():
        path.unlink()
    (place.root / "deep").rmdir()
    assert list(hits(place, "harbours")) == ["sent"]


def test_a_session_that_may_not_read_the_files_searches_what_is_stored_and_says_when_that_was(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    place.write({"b.txt": "Dogs sleep most of the day."})
    for reader in (Reader([]), Reader([place.root / "deep"])):
        found = asked(place, "cats sleep", Sources(place.store, reader, search_patience=600))
        hit = found.hits[0]
        assert (hit.id, hit.text, late(found)) == ("b.txt", FILES["b.txt"], [])
        assert hit.indexed.endswith("Z")
    assert first(place, "sleep").text == "Dogs sleep most of the day."


def test_a_folder_that_cannot_be_reached_is_not_taken_for_an_empty_one(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    sources = place.sources
    place.root.rename(place.root.with_name("elsewhere"))
    found = asked(place, "cats sleep", sources)
    assert (found.hits[0].id, bool(found.hits[0].indexed)) == ("b.txt", True)


def test_more_than_fits_into_a_search_goes_on_in_the_background_and_is_said(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    place.write({"e.md": "A new file on harbours."})
    sources = place.sources
    place.fake.gate.clear()
    early = sources.open(place.embedder, "notes", patience=0.0)
    assert not early.fresh
    assert "in the background" in early.notes[0]
    assert len(early.collection.items().ids) == 5
    place.fake.gate.set()
    late = sources.open(place.embedder, "notes", patience=PATIENT)
    assert (late.fresh, late.notes, len(late.collection.items().ids)) == (True, [], 6)


def test_a_folder_that_was_read_once_is_searched_while_what_changed_is_read(place: Place) -> None:
    place.write(FILES)
    sources = place.sources
    assert sources.open(place.embedder, ".", patience=0.0).fresh  # nothing to search before
    place.write({"e.md": "A new file on harbours."})
    place.fake.gate.clear()
    assert not sources.open(place.embedder, ".", patience=0.0).fresh
    place.fake.gate.set()
    assert len(sources.open(place.embedder, ".", patience=PATIENT).collection.items().ids) == 6


def test_a_check_that_fails_is_said_and_breaks_no_search(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    place.write({"e.md": "A broken text."})
    place.fake.fail_on = "broken"
    found = asked(place, "cats sleep")
    assert found.hits[0].id == "b.txt"
    assert found.notes[0].startswith("files could not be checked for changes: ")
    assert found.hits[0].indexed
    place.fake.fail_on = ""
    assert "e.md" in hits(place, "broken")


def test_reindexing_keeps_what_a_collection_follows(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    place.engine.close()
    place.fake.identity = fake_identity("1" * 64)
    with Engine(place.engine.settings, place.fake.load) as engine:
        embedder = engine.embedder()
        sources = place.sources
        place.write({"e.md": "A new file on harbours."})
        words = search(embedder, "cats", source="notes", sources=sources, mode="keyword")
        assert "holds vectors of the model" in words.notes[0]
        collection_reindex(embedder, place.store, "notes")
        found = search(embedder, "harbours", source="notes", sources=sources)
        assert found.hits[0].id == "e.md"


def test_what_is_unchanged_is_seen_from_listings_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_server_embeddings.reading.snapshot.CLOCK_MARGIN_NS", -(10**12))  # all times are old
    place.write({**FILES, "deep/.gitignore": "x\n", "deep/x/y.md": "ignored"})
    add(place, ".", "deep/*.csv", "a.md")
    sources = place.sources
    before = asked(place, "cats", sources)

    def updated(*_: object) -> Update:
        raise InputError("walked")

    monkeypatch.setattr("mcp_server_embeddings.tools.sources.update_from_files", updated)
    assert asked(place, "cats", sources) == before
    collection_add(place.embedder, place.store, "notes", {"sent": "A text."})  # another process may have written too
    assert asked(place, "cats", sources).notes
    monkeypatch.undo()
    monkeypatch.setattr("mcp_server_embeddings.reading.snapshot.CLOCK_MARGIN_NS", -(10**12))
    asked(place, "cats", sources)
    monkeypatch.setattr("mcp_server_embeddings.tools.sources.update_from_files", updated)

    def noticed() -> bool:
        return any("walked" in note for note in asked(place, "cats", sources).notes)

    (place.root / "deep/x/y.md").write_text("ignored still", encoding="utf-8")
    assert not noticed()
    for change in (
        lambda: (place.root / "a.md").write_text("new", encoding="utf-8"),
        lambda: os.utime(place.root / "b.txt"),
        lambda: (place.root / "deep/.gitignore").write_text("", encoding="utf-8"),
        lambda: (place.root / "deep/c.md").rename(place.root / "deep/e.md"),
        (place.root / "deep/e.md").unlink,
        (place.root / "deep/new").mkdir,
    ):
        monkeypatch.undo()
        monkeypatch.setattr("mcp_server_embeddings.reading.snapshot.CLOCK_MARGIN_NS", -(10**12))
        asked(place, "cats", sources)
        monkeypatch.setattr("mcp_server_embeddings.tools.sources.update_from_files", updated)
        assert not noticed()
        change()
        assert noticed()


def test_ignore_rules_above_a_folder_are_followed(place: Place) -> None:
    place.write({".gitignore": "*.tmp\n", "deep/a.md": "Violins.", "deep/b.tmp": "Violins."})
    add(place, "deep")
    sources = place.sources
    assert len(asked(place, "violins", sources).hits) == 1
    place.write({".gitignore": "*.md\n"})
    assert [str(hit.id) for hit in asked(place, "violins", sources).hits] == ["b.tmp"]


def test_work_that_another_call_began_before_a_change_is_not_taken_for_the_newest() -> None:
    freshness, calls = Freshness(), []
    started, go = threading.Event(), threading.Event()

    def slow(_: Call) -> Update:
        started.set()
        go.wait(PATIENT)
        calls.append("slow")
        return Update()

    def later(_: Call) -> Update:
        calls.append("later")
        return Update()

    freshness.update("key", slow, Call(), 0.0)
    assert started.wait(PATIENT)
    threading.Timer(0.0, go.set).start()
    assert freshness.update("key", later, Call(), PATIENT).fresh
    assert calls == ["slow", "later"]


def test_a_check_of_many_files_is_not_waited_for_longer_than_the_work_that_it_spares(place: Place) -> None:
    place.write(FILES)
    add(place, ".")
    freshness, go, notes = Freshness(), threading.Event(), place.store.open("notes")

    class Slow(Snapshot):
        def is_current(self) -> bool:
            return go.wait(PATIENT)

    found = Update(snapshots=[Slow()], collection=notes, revision=notes.current().revision)
    assert freshness.update("key", lambda _: found, Call(), None) is found
    early = freshness.update("key", lambda _: found, Call(), 0.0)
    assert (early.fresh, len(early.notes)) == (False, 1)
    go.set()
    assert freshness.update("key", lambda _: Update(fresh=False), Call(), PATIENT) is found


@pytest.mark.parametrize(
    ("path", "file", "inside"),
    [
        ("/a", "/a/b/c.md", True),
        ("/a", "/ab/c.md", False),
        ("/a/b.md", "/a/b.md", True),
        ("/", "/a", True),
        ("/a/*.md", "/a/b.md", True),
        ("/a/*.md", "/a/b/c.md", False),
        ("/a/**/*.md", "/a/b/c.md", True),
    ],
)
def test_files_belong_to_the_paths_that_include_them(path: str, file: str, *, inside: bool) -> None:
    assert includes(str(Path(path)), str(Path(file))) == inside


def test_stores_that_share_what_is_remembered_are_each_brought_up_to_date(place: Place, tmp_path: Path) -> None:
    ours, freshness = Path(__file__).parent, Freshness()  # files that were not changed just now
    for name in ("one", "other"):
        store = open_store(Settings(data_dir=tmp_path / name))
        sources = Sources(store, Reader([ours]), freshness, search_patience=PATIENT)
        found = search(place.embedder, "clients", source="clients/session_*.mjs", sources=sources)
        assert {str(hit.id).partition(":")[0] for hit in found.hits} == {"session_v1.mjs", "session_v2.mjs"}
