"""Result tables are written whole, under a bare name, and never over another file."""

import sys
import threading
from pathlib import Path

import pytest

from mcp_server_embeddings.errors import InputError, StorageError
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.reading.tables import Table, read_table
from mcp_server_embeddings.tools.output_file import new_file, output_path, write_table
from scripts import run

SUFFIXES = ["csv", "jsonl", "parquet"]

COLUMNS: dict[str, list[Cell]] = {
    "text": ['say "hi",\r\nthen; go', "=1+1", "日本 🙂\u2028x", ""],
    "id": ["a", "b", "c", "007"],
    "n": [1, -(2**53), None, 0],
    "score": [0.1, 1e-30, -2.5, None],
    "ok": [True, False, None, True],
    "a;b;c": ["@x", "-1", "\tx", " x "],
    "nothing": [None] * 4,
}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def written(folder: Path, name: str, columns: dict[str, list[Cell]]) -> Table:
    file = write_table(folder, name, columns)
    return read_table(file.path, Path(file.path).read_bytes())


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_what_is_written_is_read_back_with_its_types(tmp_path: Path, suffix: str) -> None:
    table = written(tmp_path, f"a.{suffix}", COLUMNS)
    assert table.columns == ("id", "text", "n", "score", "ok", "a;b;c", "nothing")
    assert {name: table.column(name) for name in table.columns} == COLUMNS
    assert [type(cell) for cell in table.column("n")] == [int, int, type(None), int]


def test_a_csv_is_read_back_with_the_types_that_its_strings_stand_for(tmp_path: Path) -> None:
    table = written(tmp_path, "a.csv", COLUMNS)
    assert table.columns[0] == "id"
    for name in ("text", "id", "a;b;c"):
        assert table.column(name) == COLUMNS[name]
    for name in ("n", "score", "ok", "nothing"):
        assert table.typed(name) == COLUMNS[name]


def test_the_answer_names_the_file_its_rows_and_its_columns(tmp_path: Path) -> None:
    file = write_table(tmp_path / "new" / "out", "Labelled.CSV", {"label": ["x"], "id": [1]})
    assert (file.rows, file.columns) == (1, ["id", "label"])
    assert Path(file.path) == tmp_path / "new" / "out" / "Labelled.CSV"
    assert Path(file.path).read_bytes() == b'"id","label"\r\n1,x\r\n'


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_no_format_can_express_is_replaced(tmp_path: Path, suffix: str) -> None:
    table = written(tmp_path, f"a.{suffix}", {"id": ["1"], "text": ["\ud800\0" + "x" * 500], "n": [float("nan")]})
    assert (table.column("text"), table.typed("n")) == (["\ufffd\ufffd" + "x" * 500], [None])


def test_a_column_of_parquet_that_mixes_types_becomes_strings(tmp_path: Path) -> None:
    table = written(tmp_path, "a.parquet", {"id": [1, "b", True, None], "big": [2**70, None, None, None]})
    assert (table.column("id"), table.column("big")[0]) == (["1", "b", "true", None], str(2**70))


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    file = write_table(tmp_path / "out", "a.csv", {"id": [1]})
    assert (Path(file.path).stat().st_mode & 0o777, (tmp_path / "out").stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "has another ending"),
        ("a", "has another ending"),
        ("a.npy", "has another ending"),
        ("a.csv.gz", "has another ending"),
        ("../a.csv", "contains '/'"),
        ("/etc/a.csv", "contains '/'"),
        ("b\\a.csv", "contains '\\\\'"),
        ("c:a.csv", "contains ':'"),
        ("a\n.csv", "contains '\\n'"),
        ("a\0.csv", "contains '\\x00'"),
        ("a\u202e.csv", "contains '\\u202e'"),
        ("\ud800.csv", "contains '\\ud800'"),
        (".csv", "begins with '.'"),
        ("..csv", "begins with '.'"),
        (".hidden.csv", "begins with '.'"),
        (" a.csv", "begins with ' '"),
        ("-a.csv", "begins with '-'"),
        ("NUL.csv", "is the name of a device on Windows"),
        ("com1.x.csv", "is the name of a device on Windows"),
        ("a" * 97 + ".csv", "is longer than 100 characters or 240 bytes"),
        ("日" * 90 + ".csv", "is longer than 100 characters or 240 bytes"),
    ],
)
def test_a_name_that_is_not_bare_is_refused_with_what_is_allowed(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        output_path(tmp_path, name)
    assert f" {said}; pass a bare file name that ends in .csv or .jsonl or .parquet, such as" in str(caught.value)


@pytest.mark.parametrize("name", ["a b.csv", "Überblick-2.v1.parquet", "結果.jsonl", "a" * 96 + ".csv"])
def test_other_names_are_allowed(tmp_path: Path, name: str) -> None:
    assert output_path(tmp_path, name) == tmp_path / name
    assert output_path(tmp_path, "a.npy", (".npy",)).name == "a.npy"


def test_a_file_that_exists_is_kept_and_a_free_name_taken(tmp_path: Path) -> None:
    for name in ("a.csv", "a-2.csv"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    assert Path(write_table(tmp_path, "a.csv", {"id": [1]}).path).name == "a-3.csv"
    (tmp_path / "b.csv").symlink_to(tmp_path / "nowhere")
    assert Path(write_table(tmp_path, "b.csv", {"id": [1]}).path).name == "b-2.csv"
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "mine"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = output_path(tmp_path, "a.csv")

    def write() -> None:
        with new_file(path) as file:
            file.write(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(InputError, match="appeared meanwhile"):
        write()
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.csv"]


def test_many_writers_of_one_name_leave_each_file_whole(tmp_path: Path) -> None:
    written: dict[str, int] = {}
    refused: list[int] = []
    ready = threading.Barrier(8)

    def write(number: int) -> None:
        ready.wait()
        try:
            written[Path(write_table(tmp_path, "a.jsonl", {"id": [number] * 1_000}).path).name] = number
        except InputError:
            refused.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) + len(refused) == 8
    assert "a.jsonl" in written
    assert set(names(tmp_path)) == set(written)
    for name, number in written.items():
        assert read_table(name, (tmp_path / name).read_bytes()).column("id") == [number] * 1_000


def test_a_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def fail() -> None:
        with new_file(path) as file:
            file.write(b"half")
            assert not path.exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(tmp_path) == []


def test_without_hard_links_a_file_is_still_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_paths: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)  # as exFAT does
    path = tmp_path / "a.csv"
    with atomic_write(path, overwrite=False) as file:
        file.write(b"ours")
    with pytest.raises(FileExistsError), atomic_write(path, overwrite=False) as file:
        file.write(b"theirs")
    assert path.read_bytes() == b"ours"
    assert names(tmp_path) == ["a.csv"]


def test_a_folder_that_cannot_be_written_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="make it writable, or start the server with another --output-dir"):
            write_table(folder, "a.csv", {"id": [1]})


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as a full disk would")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_on_a_full_disk_nothing_is_left(tmp_path: Path, suffix: str) -> None:
    script = """
import random, resource, sys
from pathlib import Path
from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.tools.output_file import write_table
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_table(Path(sys.argv[1]), sys.argv[2], {"id": [random.random() for _ in range(100_000)]})
except StorageError as error:
    print(error)
"""
    assert "cannot be written (File too large): free space" in run(script, str(tmp_path), f"a.{suffix}")
    assert names(tmp_path) == []


def test_columns_of_different_lengths_are_a_mistake_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one length"):
        write_table(tmp_path, "a.csv", {"id": [1], "x": []})
