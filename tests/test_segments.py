"""Large collections in segments: the same answers as from the vectors themselves, whatever happens to the files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Nearest, NewChunk, NewDocument
from mcp_server_embeddings.store.sqlite.collection import SqliteCollection
from mcp_server_embeddings.store.sqlite.segments import Segment
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Vectors, scores, unit_rows
from wire import PATIENCE, client_environment

DIMENSIONS, ROWS = 24, 50


def clustered(seed: int, count: int) -> Vectors:
    """Vectors around a few centres, some of them equal, of different lengths."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((8, DIMENSIONS))
    around = centres[generator.integers(0, 8, count)] + 0.1 * generator.standard_normal((count, DIMENSIONS))
    around[::9] = centres[0]
    return (around * generator.uniform(0.5, 3, (count, 1))).astype(np.float32)


QUERIES = np.concatenate([clustered(1, 5), np.random.default_rng(1).standard_normal((5, DIMENSIONS), np.float32)])


def documents(numbers: Iterable[int], seed: int = 2) -> list[NewDocument]:
    """Each with a chunk or two."""
    chosen = list(numbers)
    vectors = clustered(seed, 2 * len(chosen))
    return [
        NewDocument(
            f"d{number}",
            f"text {number} {seed}",
            {"even": number % 2 == 0},
            (NewChunk(0, 4, "", vectors[2 * at]), NewChunk(4, 8, "", vectors[2 * at + 1]))[: 1 + number % 2],
        )
        for at, number in enumerate(chosen)
    ]


def opened(folder: Path, rows: int = ROWS) -> SqliteCollection:
    """The collection as another process would open it."""
    found = SqliteStore(folder, rows).open_or_create("notes", "identity", "model@1", DIMENSIONS)
    assert isinstance(found, SqliteCollection)
    return found


@pytest.fixture
def one(tmp_path: Path) -> SqliteCollection:
    found = opened(tmp_path)
    found.put(documents(range(300)))
    return found


def segments(one: SqliteCollection) -> tuple[Segment, ...]:
    with one._reading() as database:
        return one.snapshot(database).segments


def files(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir())


def as_lists(found: Nearest) -> tuple[list[int], list[float], int]:
    return found.keys, found.cosines.tolist(), found.total


def assert_exact(one: Collection, k: int = 10, where: Where | None = None) -> None:
    """Searches find what comparing every stored vector finds."""
    with one.reading() as view:
        chunks = view.first(100_000)
        keys = [chunk.key for chunk in chunks if not where or chunk.metadata["even"] == where["even"]]
        cosines = scores(unit_rows(view.vectors(keys)), QUERIES, "cosine").T
        for found, exact in zip(view.nearest(QUERIES, k, where), cosines, strict=True):
            best = np.argsort(-exact, kind="stable")[:k]
            assert as_lists(found) == ([keys[at] for at in best], exact[best].tolist(), len(keys))


def test_a_small_collection_has_no_segments(tmp_path: Path) -> None:
    one = opened(tmp_path)
    one.put(documents(range(65)))
    assert one.current().chunks == 97
    assert segments(one) == ()
    assert not (tmp_path / "segments").exists()
    assert_exact(one)


def test_searches_of_segments_are_exact(one: SqliteCollection, tmp_path: Path) -> None:
    assert [len(segment.rows) for segment in segments(one)] == [ROWS] * 9
    assert len(files(tmp_path)) == 9
    for k in (1, 10, 449, 450, 1_000):
        assert_exact(one, k)
    for where in ({"even": True}, {"even": False}):
        assert_exact(one, 10, where)
    assert one.nearest(QUERIES[:1], 10, {"even": 7})[0].keys == []


def test_additions_make_new_segments_and_leave_the_others(one: SqliteCollection, tmp_path: Path) -> None:
    before = files(tmp_path)
    times = [path.stat().st_mtime_ns for path in before]
    one.put(documents(range(300, 350), 3))
    assert len(segments(one)) == 9
    assert_exact(one)
    one.put(documents(range(350, 400), 4))
    assert_exact(one)
    assert set(before) < set(files(tmp_path))
    assert [path.stat().st_mtime_ns for path in before] == times


@pytest.mark.slow
def test_removals_and_updates_are_seen_at_once_by_all(one: SqliteCollection, tmp_path: Path) -> None:
    other = opened(tmp_path)
    assert_exact(other)
    for step in range(6):
        writer, reader = (one, other) if step % 2 else (other, one)
        writer.remove([f"d{number}" for number in range(step, 300, 17)])
        writer.put(documents(range(20 * step, 20 * step + 10), 10 + step))
        writer.put(documents(range(1_000 + 40 * step, 1_040 + 40 * step), 20 + step))
        for collection in (reader, writer, opened(tmp_path)):
            assert_exact(collection)
            assert_exact(collection, 5, {"even": True})


def test_segments_of_which_much_was_removed_are_made_again(one: SqliteCollection, tmp_path: Path) -> None:
    other = opened(tmp_path)
    assert len(segments(other)) == 9
    one.remove([f"d{number}" for number in range(300) if number % 3])
    assert_exact(one)
    assert sum(len(segment.rows) for segment in segments(one)) == one.current().chunks
    assert len(segments(one)) == len(files(tmp_path)) == 4
    assert_exact(other)  # whose files are gone
    assert_exact(opened(tmp_path))
    one.remove([f"d{number}" for number in range(300)])
    assert one.nearest(QUERIES[:1], 10)[0].keys == []
    one.put(documents(range(200)))
    assert_exact(one)


def damaged(kind: str, path: Path, others: Path) -> None:
    """A file that is no longer what was written."""
    content = path.read_bytes()
    path.unlink()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.touch()
    elif kind == "corrupt":
        path.write_bytes(bytes(reversed(content)))
    elif kind == "another's":
        shutil.copy(others, path)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize("kind", ["missing", "truncated", "empty", "corrupt", "another's", "folder"])
def test_a_file_that_cannot_be_used_is_made_again(kind: str, one: SqliteCollection, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in files(tmp_path)}
    for path in files(tmp_path)[::4]:
        damaged(kind, path, files(tmp_path)[1])
    assert_exact(opened(tmp_path))
    assert_exact(one)
    if kind != "folder":
        assert {path.name: path.read_bytes() for path in files(tmp_path)} == before


@pytest.mark.parametrize("size", [0, 10, None])
def test_a_file_that_is_written_to_while_it_is_mapped_is_made_again(
    size: int | None, one: SqliteCollection, tmp_path: Path
) -> None:
    assert_exact(one)
    for path in files(tmp_path)[:3]:
        with path.open("r+b") as file:
            file.write(b"\x7f" * 500)
            file.truncate(size if size is not None else path.stat().st_size)
    assert_exact(one)


def test_all_files_may_go_while_they_are_mapped(one: SqliteCollection, tmp_path: Path) -> None:
    assert_exact(one)
    shutil.rmtree(tmp_path / "segments")
    assert_exact(one)
    assert_exact(opened(tmp_path))


def test_a_backup_that_is_put_back_is_not_searched_by_what_came_later(one: SqliteCollection, tmp_path: Path) -> None:
    one._database.close()
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path, backup, ignore=shutil.ignore_patterns("segments"))
    one.put(documents(range(300, 400), 5))
    assert_exact(one)
    one._database.close()
    for path in tmp_path.glob("collections.sqlite*"):
        path.unlink()
    shutil.copy(backup / "collections.sqlite", tmp_path)
    again = opened(tmp_path)
    again.put(documents(range(300, 400), 6))  # the same keys with other vectors, at the same revision
    assert_exact(again)
    assert_exact(opened(tmp_path))


def test_where_files_cannot_be_written_segments_are_in_memory(tmp_path: Path) -> None:
    (tmp_path / "segments").touch()
    one = opened(tmp_path)
    one.put(documents(range(300)))
    assert [segment.path for segment in segments(one)] == [None] * 9
    assert_exact(one)
    one.put(documents(range(100), 7))
    assert_exact(one)


def test_a_collection_of_before_has_segments_once_it_is_searched(one: SqliteCollection, tmp_path: Path) -> None:
    with one._database.writing() as database:
        database.execute("DELETE FROM segments")
    shutil.rmtree(tmp_path / "segments")
    assert_exact(opened(tmp_path))
    assert len(files(tmp_path)) == 9


def test_vectors_of_items_are_those_of_a_collection_without_segments(one: SqliteCollection, tmp_path: Path) -> None:
    one.put(documents(range(300, 340), 8))
    one.remove([f"d{number}" for number in range(0, 300, 11)])
    keys = one.items().keys
    np.testing.assert_array_equal(one.item_vectors(keys), opened(tmp_path, 10_000).item_vectors(keys))
    np.testing.assert_array_equal(one.item_vectors(keys[::7]), one.item_vectors(keys)[::7])


def test_files_are_for_their_owner_only_and_go_with_their_collection(one: SqliteCollection, tmp_path: Path) -> None:
    assert (tmp_path / "segments").stat().st_mode & 0o077 == 0
    assert {path.stat().st_mode & 0o777 for path in files(tmp_path)} == {0o600}
    unfinished = tmp_path / "segments" / "x.tmp"
    unfinished.touch()
    os.utime(unfinished, (0, 0))
    SqliteStore(tmp_path, ROWS).remove("notes")
    assert files(tmp_path) == []


OTHER_PROCESS = """
import sys
from pathlib import Path
from test_segments import assert_exact, documents, opened
one = opened(Path(sys.argv[1]))
for line in sys.stdin:
    command, first, last, seed = line.split()
    if command == "put":
        one.put(documents(range(int(first), int(last)), int(seed)))
    elif command == "remove":
        one.remove([f"d{number}" for number in range(int(first), int(last))])
    assert_exact(one)
    print(one.current().revision, flush=True)
"""


def test_two_processes_search_and_write_at_once(one: SqliteCollection, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)]
    environment = client_environment(PYTHONPATH=os.pathsep.join(sys.path))
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for step, line in enumerate(
            ("see 0 0 0", "put 300 420 30", "remove 50 150 0", "put 0 200 31", "remove 0 500 0")
        ):
            other.stdin.write(f"{line}\n")
            other.stdin.flush()
            one.put(documents(range(1_000 + 30 * step, 1_030 + 30 * step), 40 + step))
            assert_exact(one)
            assert other.stdout.readline()
            assert_exact(one)
        other.stdin.close()
        assert other.wait(PATIENCE) == 0


def test_of_a_search_for_none_nothing_is_read(one: SqliteCollection) -> None:
    (found,) = one.nearest(QUERIES[:1], 0)
    assert (found.keys, found.total) == ([], 450)
