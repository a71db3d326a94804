"""Collections from the command line: what a person and a program see, with the real model."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.cli.main import main
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import CallCancelledError, CollectionError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import NewDocument
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.collection_reindex import collection_reindex
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.sources import Sources
from postgres_server import own_database
from scripts import command_without
from stores import STORES
from wire import PATIENCE, PROGRAM, client_environment

GUIDE = "# Refunds\n\nA refund takes five days.\n\n# Ships\n\nBoats leave the harbour at dawn.\n"
pytestmark = pytest.mark.usefixtures("warm_commands")

FORMATS = pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])

Command = Callable[..., str]


@pytest.fixture
def command(data_dir: Path, embedder: Embedder, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process that must go well; what it printed."""
    embedder.calibration("retrieval")  # the data folder has it then

    def run(*arguments: str | Path) -> str:
        status = main([*map(str, arguments), "--data-dir", str(data_dir)])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    return run


@pytest.fixture
def refused(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process that must end with status 2; its sentence."""

    def run(*arguments: str | Path) -> str:
        assert main([*map(str, arguments), "--data-dir", str(data_dir)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("mcp-server-embeddings: ")
        assert printed.err.count("\n") == 1
        return printed.err.removeprefix("mcp-server-embeddings: ").rstrip("\n")

    return run


@pytest.fixture(params=STORES, autouse=True)
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the commands keep collections."""
    address = own_database(tmp_path) if request.param == "postgres" else ""
    monkeypatch.setenv("MCP_EMBEDDINGS_STORE", address)
    return address


@pytest.fixture
def store(data_dir: Path, address: str) -> CollectionStore:
    """What the commands write to."""
    return open_store(Settings(data_dir=data_dir, store=address))


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder with a text, a table and something unreadable."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "guide.md").write_text(GUIDE, encoding="utf-8")
    (folder / "rows.csv").write_text("text,year\nhello world,2020\nfoo bar,2021\n", encoding="utf-8")
    (folder / "picture.bin").write_bytes(b"\0\1\2")
    return folder


def documents(store: CollectionStore, name: str) -> list[NewDocument]:
    """All that a collection holds."""
    return [document for batch in store.open(name).batches(100) for document in batch.documents]


def assert_same(one: Sequence[NewDocument], other: Sequence[NewDocument]) -> None:
    """Equal down to the bits of the vectors."""
    key = lambda document: (document.id, document.text, document.metadata, document.file, document.file_digest)  # noqa: E731
    assert list(map(key, one)) == list(map(key, other))
    for left, right in zip(one, other, strict=True):
        for mine, theirs in zip(left.chunks, right.chunks, strict=True):
            assert (mine.start, mine.stop, mine.heading) == (theirs.start, theirs.stop, theirs.heading)
            assert np.array_equal(mine.vector, theirs.vector)


@pytest.mark.slow
def test_named_paths_are_read_without_any_allowed_folder(
    command: Command, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(docs.parent)
    printed = command("index", "cli-relative", "docs")
    assert printed.startswith("3 added, 0 updated, 0 unchanged, 0 removed, 1 skipped\n")
    assert f"skipped {docs / 'picture.bin'}: binary\n" in printed
    assert "3 unchanged" in command("index", "cli-relative", "docs/*.md", "--threads=1", docs / "rows.csv")


def test_indexing_again_takes_over_what_changed_and_what_is_gone(command: Command, docs: Path) -> None:
    command("index", "cli-again", docs)
    (docs / "guide.md").write_text(GUIDE + "\nMore.\n", encoding="utf-8")
    (docs / "rows.csv").unlink()
    assert command("index", "cli-again", docs).startswith("0 added, 1 updated, 0 unchanged, 2 removed")


def test_a_column_and_ids_of_a_table_are_named(command: Command, store: CollectionStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("title,saying\na,Boats leave\n", encoding="utf-8")
    command("index", "cli-field", "--id-field", "title", f"{tmp_path / 't.csv'}#saying")
    assert [(document.id, document.text) for document in documents(store, "cli-field")] == [("a", "Boats leave")]


@pytest.mark.slow
def test_a_hit_is_shown_with_score_band_id_and_snippet(command: Command, docs: Path) -> None:
    command("index", "cli-search", docs / "guide.md")
    header, _, first, *_ = command("search", "cli-search", "when do ships go").splitlines()
    assert header.split() == ["id", "score", "band", "text", "lines", "heading"]
    place, score, band, *words, lines, heading = first.split()
    assert float(score) > 0
    assert band == "related"
    assert (place, lines, heading) == ("guide.md", "7-7", "Ships")
    assert " ".join(words) == "Boats leave the harbour at dawn."


def test_a_filter_and_a_number_of_hits_hold(command: Command, docs: Path) -> None:
    command("index", "cli-where", docs)
    printed = command("search", "cli-where", "--top", "1", "hello", "--where", '{"year": "2021"}', "--json")
    found = json.loads(printed)
    assert [hit["text"] for hit in found["hits"]] == ["text: foo bar\nyear: 2021"]


@pytest.mark.slow
def test_json_is_all_that_a_real_process_writes(data_dir: Path, bge_folder: Path, docs: Path) -> None:
    commands = {
        ("index", "cli-json", str(docs)): "added",
        ("search", "cli-json", "boats"): "hits",
        ("status",): "collections",
        ("collections",): "collections",
        ("export", "cli-json", str(docs / "out.jsonl")): "bytes",
        ("import", "cli-json", str(docs / "out.jsonl")): "unchanged",
        ("reindex", "cli-json"): "reindexed",
    }
    program = (
        "import json, sys; from mcp_server_embeddings.cli.main import main\n"
        "sys.exit(sum(main([*given, '--json']) for given in json.loads(sys.argv[1])))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, json.dumps(list(commands))],
        env=client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir), MCP_EMBEDDINGS_MODEL=str(bge_folder)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    printed = finished.stdout
    for field in commands.values():
        answer, end = json.JSONDecoder().raw_decode(printed)
        assert field in answer
        printed = printed[end:].lstrip()
    assert printed == ""


def test_collections_are_listed_without_a_model(command: Command, docs: Path) -> None:
    command("index", "cli-list", docs / "guide.md")
    rows = [row.split() for row in command("collections", "--model", "/nowhere").splitlines()]
    assert rows[0] == ["name", "size", "passages", "model", "bytes", "updated"]
    (row,) = (row for row in rows if row[0] == "cli-list")
    assert row[1:3] == ["1", "2"]


@pytest.mark.slow
@FORMATS
def test_an_exported_collection_comes_back_as_it_was(
    command: Command, store: CollectionStore, docs: Path, tmp_path: Path, suffix: str
) -> None:
    name, copy = f"cli-out{suffix}", f"cli-back{suffix}"
    command("index", name, docs)
    file = tmp_path / f"saved{suffix}"
    assert "3 items, 4 vectors" in command("export", name, file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs", file.name]
    assert "the vectors of the file were taken over" in command("import", copy, file)
    assert_same(documents(store, copy), documents(store, name))
    assert "0 added, 0 updated, 3 unchanged" in command("index", copy, docs)


@FORMATS
def test_vectors_of_another_model_are_made_anew(
    command: Command, store: CollectionStore, docs: Path, bge_folder: Path, suffix: str
) -> None:
    name, copy = f"cli-one{suffix}", f"cli-other{suffix}"
    command("index", name, docs)
    file = docs / f"saved{suffix}"
    command("export", name, file)
    printed = command("import", copy, file, "--model", bge_folder)
    assert f"the texts were embedded with bge-like@{printed.split('bge-like@')[1][:8]}" in printed
    assert "the file's vectors are of all-MiniLM-L6-v2@" in printed
    assert [(d.id, [c.heading for c in d.chunks]) for d in documents(store, copy)] == [
        (d.id, [c.heading for c in d.chunks]) for d in documents(store, name)
    ]


def test_the_header_and_the_vectors_of_json_lines_are_as_documented(
    command: Command, store: CollectionStore, docs: Path
) -> None:
    import base64

    command("index", "cli-lines", docs / "guide.md")
    command("export", "cli-lines", docs / "out.jsonl")
    header, line = map(json.loads, (docs / "out.jsonl").read_text(encoding="utf-8").splitlines())
    record = store.record("cli-lines")
    assert (header["version"], header["identity"], header["dimensions"]) == (1, record.identity, 384)
    first = np.frombuffer(base64.b64decode(line["chunks"][0]["vector"]), "<f4")
    assert np.array_equal(first, documents(store, "cli-lines")[0].chunks[0].vector)


def test_a_file_that_is_there_is_only_overwritten_by_force(command: Command, refused: Command, docs: Path) -> None:
    command("index", "cli-force", docs)
    file = docs / "there.jsonl"
    file.write_text("mine", encoding="utf-8")
    assert refused("export", "cli-force", file).endswith("exists; give another name, or --force to overwrite it")
    assert file.read_text(encoding="utf-8") == "mine"
    command("export", "cli-force", file, "--force")
    assert file.read_text(encoding="utf-8").startswith('{"format"')


def test_plain_lines_are_imported_with_and_without_ids(
    command: Command, store: CollectionStore, tmp_path: Path
) -> None:
    metadata = {"year": 2020, "tags": ["x", None]}
    lines = [{"text": "one"}, {"id": "b", "text": "two", "metadata": metadata}]
    file = tmp_path / "plain.jsonl"
    file.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert "embedded with all-MiniLM-L6-v2@" in command("import", "cli-plain", file)
    found = documents(store, "cli-plain")
    assert [document.text for document in found] == ["one", "two"]
    assert found[1].id == "b"
    assert found[1].metadata == metadata
    assert "0 added, 0 updated, 2 unchanged" in command("import", "cli-plain", file)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{oops", "line 2: Invalid JSON"),
        ('{"text": " "}', "line 2: text is blank"),
        ('{"id": "a"}', "line 2: text Field required"),
        ('{"text": "a", "metadata": {"a": {"b": 1}}}', "line 2: metadata.a is nested"),
        ('{"text": "a", "txet": 1}', "line 2: txet Extra inputs are not permitted"),
        ('{"text": "a", "id": ""}', "line 2: id is blank"),
        ('{"text": "a", "chunks": [{"start": 0, "stop": 9, "heading": "", "vector": "AAAAAA=="}]}', "line 2: a chunk"),
        ('{"text": "a", "chunks": [{"start": 0, "stop": 1, "heading": "", "vector": "AAA="}]}', "line 2: a vector"),
    ],
)
def test_a_bad_line_is_named_and_those_before_it_stay(
    refused: Command, store: CollectionStore, tmp_path: Path, line: str, reason: str
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"id": "good", "text": "good"}\n' + line + '\n{"text": "never"}\n', encoding="utf-8")
    told = refused("import", "cli-bad", file)
    assert told.startswith(reason)
    assert told.endswith("the 1 documents before it are stored: correct it and import the file again")
    assert [document.id for document in documents(store, "cli-bad")] == ["good"]


def test_a_file_of_a_newer_format_is_refused(refused: Command, tmp_path: Path) -> None:
    header = {"format": "mcp-server-embeddings collection", "version": 2, "collection": "a", "model": "m"}
    file = tmp_path / "new.jsonl"
    file.write_text(json.dumps({**header, "identity": "i", "dimensions": 1, "documents": 0}), encoding="utf-8")
    assert refused("import", "cli-new", file).startswith("the file has version 2 of the format")


def test_reindex_leaves_the_texts_and_files_and_changes_the_model(
    command: Command, store: CollectionStore, docs: Path, bge_folder: Path
) -> None:
    command("index", "cli-reindex", docs)
    before = documents(store, "cli-reindex")
    printed = command("reindex", "cli-reindex", "--model", bge_folder)
    assert printed.startswith("cli-reindex: 3 items in 4 passages, from all-MiniLM-L6-v2@")
    after = documents(store, "cli-reindex")
    assert [(d.id, d.text, d.metadata, d.file, d.file_digest) for d in after] == [
        (d.id, d.text, d.metadata, d.file, d.file_digest) for d in before
    ]
    assert [[c.heading for c in d.chunks] for d in after] == [[c.heading for c in d.chunks] for d in before]
    assert after[0].chunks[0].vector.shape == (64,)
    assert "0 added, 0 updated, 3 unchanged" in command("index", "cli-reindex", docs, "--model", bge_folder)
    assert command("reindex", "cli-reindex", "--model", bge_folder).endswith(" already; nothing was done\n")
    assert not any(":" in record.name for record in store.list())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_watching_indexes_changes_as_they_come_until_it_is_interrupted(
    data_dir: Path, bge_folder: Path, docs: Path
) -> None:
    command = [*PROGRAM, "index", "cli-watch", str(docs), "--watch", "--data-dir", str(data_dir)]
    environment = client_environment(PYTHONFAULTHANDLER="1", MCP_EMBEDDINGS_MODEL=str(bge_folder))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        lines = iter(process.stdout)

        def next_counts() -> str:
            return next(line for line in lines if " added, " in line)

        try:
            assert next_counts().startswith("3 added, 0 updated, 0 unchanged, 0 removed")
            (docs / "new.md").write_text("Lighthouses stand at the harbour.", encoding="utf-8")
            assert next_counts().startswith("1 added, 0 updated, 3 unchanged, 0 removed")
            (docs / "guide.md").unlink()
            assert next_counts().startswith("0 added, 0 updated, 3 unchanged, 1 removed")
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.send_signal(signal.SIGABRT)  # one that hangs says where


def test_what_others_change_during_a_reindex_is_not_lost(
    embedder: Embedder, bge_embedder: Embedder, tmp_path: Path
) -> None:
    store, other = open_store(Settings(data_dir=tmp_path)), open_store(Settings(data_dir=tmp_path))
    collection_add(embedder, store, "notes", {"a": "stays", "b": "changes", "c": "goes"})
    visited: list[list[str]] = []

    def meanwhile(done: int, total: int) -> None:
        del done, total
        if not visited:
            visited.append([record.name for record in other.list()])
            assert search(embedder, "stays", source="notes", sources=Sources(other, Reader(()))).hits[0].id == "a"
            collection_add(embedder, other, "notes", {"b": "changed", "d": "new"})
            other.open("notes").remove(["c"])

    result = collection_reindex(bge_embedder, store, "notes", meanwhile)
    assert visited == [["notes"]]
    assert result.documents == 5
    assert {document.id: document.text for document in documents(store, "notes")} == {
        "a": "stays",
        "b": "changed",
        "d": "new",
    }
    sources = Sources(other, Reader(()))
    assert search(bge_embedder, "new", source="notes", mode="keyword", sources=sources).hits[0].id == "d"


@pytest.mark.slow
def test_a_reindex_that_was_stopped_goes_on_where_it_was(
    embedder: Embedder, bge_embedder: Embedder, tmp_path: Path
) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    collection_add(embedder, store, "many", [f"text number {number}" for number in range(600)])

    def stop(done: int, total: int) -> None:
        assert (done, total) == (256, 600)
        raise CallCancelledError("stopped")

    with pytest.raises(CallCancelledError):
        collection_reindex(bge_embedder, store, "many", stop)
    assert [record.model[:10] for record in store.list()] == ["all-MiniLM"]
    assert collection_reindex(bge_embedder, store, "many").documents == 600 - 256
    assert [(record.model[:8], record.documents) for record in store.list()] == [("bge-like", 600)]


@pytest.mark.slow
def test_a_collection_that_always_changes_is_not_followed_for_ever(
    embedder: Embedder, bge_embedder: Embedder, tmp_path: Path
) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    collection_add(embedder, store, "busy", ["start"])

    def write(done: int, total: int) -> None:
        collection_add(embedder, store, "busy", [f"text {done} of {total}"])

    with pytest.raises(CollectionError, match="stop the programs that write to it"):
        collection_reindex(bge_embedder, store, "busy", write)


def test_a_removed_collection_takes_its_unfinished_successor_along(embedder: Embedder, tmp_path: Path) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    collection_add(embedder, store, "notes", ["one"])
    successor = store.successor("notes", "another identity", "another@1", 2)
    store.remove("notes")
    with pytest.raises(CollectionError, match="removed"):
        successor.current()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("index", "notes"),
            "the following arguments are required: PATH. Example: mcp-server-embeddings index handbook docs",
        ),
        (("index", "no name", "x"), "invalid collection name 'no name'; allowed: "),
        (("index", "notes", "/nowhere/at/all"), "'/nowhere/at/all' does not exist; give files, folders, or patterns"),
        (
            ("search",),
            "the following arguments are required: SOURCE, QUERY. Example: mcp-server-embeddings search hand",
        ),
        (("search", "/"), "pass either query or queries"),
        (("read", "/", "1", "--around", "many"), "around is 'many' (str); allowed: a whole number"),
        (("classify", "nowhere.csv", "--labels", "a,b"), "there is no collection or file 'nowhere.csv'; "),
        (("similarity", "a", "b", "c"), "unexpected argument 'c'; see --help"),
        (("search", "notes", "a", "--tpo", "3"), "unknown option '--tpo'; did you mean '--top'?"),
        (("search", "notes", "a", "--dat-dir=x"), "unknown option '--dat-dir'; did you mean '--data-dir'?"),
        (("search", "/", "a", "--top", "many"), "top is 'many' (str); allowed: a whole number"),
        (("search", "notes", "a", "--mode", "fuzzy"), "argument --mode: invalid choice: 'fuzzy'"),
        (("search", "/", "a", "--where", "[1]"), "where is '[1]' (str); allowed: an object"),
        (("search", "cli-nowhere-at-all", "a"), "there is no collection or file 'cli-nowhere-at-all'; "),
        (("collections", "notes"), "unexpected argument 'notes'; see --help"),
        (("collections", "--top", "3"), "unknown option '--top'; did you mean '--tools'?"),
        (("export", "notes", "out.csv"), "'out.csv' ends in '.csv'; allowed: .jsonl or .parquet"),
        (("export", "cli-nowhere-at-all", "out.jsonl"), "there is no collection 'cli-nowhere-at-all'; "),
        (("import", "notes", "in.csv"), "'in.csv' ends in '.csv'; allowed: .jsonl or .parquet"),
        (("import", "notes", "/nowhere/in.jsonl"), "'/nowhere/in.jsonl' cannot be read (No such file or directory); "),
        (
            ("reindex",),
            "the following arguments are required: NAME. Example: mcp-server-embeddings reindex handbook --model ",
        ),
    ],
)
def test_a_wrong_call_ends_with_one_sentence(refused: Command, arguments: tuple[str, ...], sentence: str) -> None:
    assert refused(*arguments).startswith(sentence)


def test_a_commands_help_lists_its_own_options_and_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_status:
        main(["search", "--help"])
    printed = capsys.readouterr().out
    assert exit_status.value.code == 0
    assert "search SOURCE QUERY... [OPTIONS]" in printed
    assert all(option in printed for option in ("--top N", "--where JSON", "--json", "--data-dir DIR"))


@pytest.mark.slow
def test_without_pyarrow_the_error_names_what_to_install(data_dir: Path, command: Command, docs: Path) -> None:
    command("index", "cli-arrow", docs)
    asked = ("export", "cli-arrow", str(docs / "out.parquet"))
    finished = command_without("pyarrow", *asked, MCP_EMBEDDINGS_DATA_DIR=str(data_dir))
    assert finished.returncode == 2
    assert "pip install 'mcp-server-embeddings[parquet]'" in finished.stderr
