"""Collections and what happens to machines: several processes, kills, full disks, files of other programs."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Nearest, NewChunk, NewDocument, StoredFile, digest
from mcp_server_embeddings.store.sqlite.schema import APPLICATION_ID, MIGRATIONS, VERSION
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from rounds import Record, record_writes
from scripts import run, small_disk
from wire import PATIENCE, client_environment

DIMENSIONS = 384
FILE = "collections.sqlite"

COMMON = """
import os, sys, random
from itertools import count
from pathlib import Path
import numpy as np
from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.languages import tables
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.store.sqlite.store import SqliteStore

def document(key, number):
    text = f"word{number} of {key} and more"
    half = len(text) // 2
    vector = np.full(384, number + 1, np.float32)
    return NewDocument(key, text, None, (NewChunk(0, half, "", vector), NewChunk(half, len(text), "", vector)))

def everything(one):
    return one.nearest(np.ones((1, 384), np.float32), 1_000_000)[0]

def opened(folder):
    return SqliteStore(Path(folder)).open_or_create("notes", "identity", "model@1", 384)
"""
"""What the scripts below begin with: document ``key`` whose text and both vectors tell ``number``."""


def document(key: str, number: int) -> NewDocument:
    """As in ``COMMON``."""
    text = f"word{number} of {key} and more"
    half, vector = len(text) // 2, np.full(DIMENSIONS, number + 1, np.float32)
    return NewDocument(key, text, None, (NewChunk(0, half, "", vector), NewChunk(half, len(text), "", vector)))


def collection(folder: Path) -> Collection:
    return SqliteStore(folder).open_or_create("notes", "identity", "model@1", DIMENSIONS)


def everything(one: Collection) -> Nearest:
    """All chunks, as a search finds them."""
    (found,) = one.nearest(np.ones((1, DIMENSIONS), np.float32), 1_000_000)
    return found


def assert_holds(one: Collection, key: str, number: int) -> None:
    """The document is there as a whole: text, vectors and words."""
    wanted, chunks = document(key, number), one.chunks_of(key)
    assert "".join(chunk.text for chunk in chunks) == wanted.text
    vectors = one.vectors([chunk.key for chunk in chunks])
    np.testing.assert_array_equal(vectors, np.stack([chunk.vector for chunk in wanted.chunks]))
    assert chunks[0].key in one.matching(f"word{number}", 1_000).keys


def assert_sound(folder: Path) -> None:
    """The file is whole, and what it counts is what it holds."""
    with closing(sqlite3.connect(folder / FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        (row, *counts) = database.execute("SELECT row, documents, chunks, bytes FROM collections").fetchone()
        (documents, texts) = database.execute("SELECT count(*), total(length(text)) FROM documents").fetchone()
        (chunks,) = database.execute("SELECT count(*) FROM chunks").fetchone()
        (vectors, size) = database.execute("SELECT count(*), total(length(vector)) FROM vectors").fetchone()
        assert counts == [documents, chunks, texts + size]
        assert vectors == chunks
        # The word index holds exactly the chunks: each has one of these words.
        words = f"SELECT rowid FROM words_{row} WHERE words_{row} MATCH 'of OR more' ORDER BY rowid"
        assert database.execute(words).fetchall() == database.execute("SELECT row FROM chunks ORDER BY row").fetchall()


@contextmanager
def started(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A script as a process that is killed afterwards."""
    command = [sys.executable, "-W", "error", "-c", COMMON + script, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=client_environment()) as process:
        try:
            yield process
        finally:
            process.kill()


PEER = """
one = opened(sys.argv[1])
for line in sys.stdin:
    verb, key, number = line.split()
    if verb == "put":
        one.put([document(key, int(number))])
    elif verb == "remove":
        one.remove([key])
    living = [chunk.document for chunk in one.chunks(everything(one).keys)]
    print(*sorted(set(living)), flush=True)
"""
"""Does what it reads and says which documents it sees afterwards."""


def test_two_processes_see_what_the_other_acknowledged(tmp_path: Path) -> None:
    one = collection(tmp_path)
    with started(PEER, str(tmp_path)) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        here: set[str] = set()
        for step in range(60):
            mine, theirs = f"mine{step}", f"theirs{step}"
            one.put([document(mine, step)])
            verb, key = ("remove", f"mine{step - 1}") if step % 3 == 2 else ("put", theirs)
            here = here - {key} if verb == "remove" else here | {key}
            here.add(mine)
            peer.stdin.write(f"{verb} {key} {step}\n")
            peer.stdin.flush()
            assert set(peer.stdout.readline().split()) == here
            one.remove([f"theirs{step - 1}"])
            here.discard(f"theirs{step - 1}")
            seen = {chunk.document for chunk in one.chunks(everything(one).keys)}
            assert seen == here
    assert_sound(tmp_path)


BUSY = """
one, name = opened(sys.argv[1]), sys.argv[2]
for number in range(100):
    one.put([document(f"{name}-{number}-{i}", number) for i in range(3)])
    one.remove([f"{name}-{number}-0"])
    assert one.stored([f"{name}-{number}-0"]) == {}
    assert len(one.matching(f"word{number}", 9).keys) >= 2
    everything(one)
print("done")
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    # Both make the file and the collection, too.
    with started(BUSY, str(tmp_path), "a") as one, started(BUSY, str(tmp_path), "b") as other:
        assert [process.communicate(timeout=PATIENCE)[0] for process in (one, other)] == ["done\n"] * 2
    assert_sound(tmp_path)
    now = collection(tmp_path)
    assert now.current().documents == 400
    for name in "ab":
        for number in range(0, 100, 9):
            assert_holds(now, f"{name}-{number}-1", number)


def test_many_may_make_a_file_at_once(tmp_path: Path) -> None:
    for attempt in range(20):
        folder, errors = tmp_path / str(attempt), list[Exception]()
        ready = threading.Barrier(6)

        def make(folder: Path = folder, errors: list[Exception] = errors, ready: threading.Barrier = ready) -> None:
            ready.wait()
            try:
                collection(folder).put([document(threading.current_thread().name, 1)])
            except (StorageError, sqlite3.Error) as error:
                errors.append(error)

        threads = [threading.Thread(target=make) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert collection(folder).current().documents == 6


WRITER = """
one, start = opened(sys.argv[1]), int(sys.argv[2])
for number in count(start):
    one.put([document(f"{number}-{i}", number) for i in range(4)])
    print("put", number, flush=True)
    one.put([document(f"{number}-0", number + 1), document(f"{number}-1", number)])
    print("replaced", number, flush=True)
    one.remove([f"{number}-2", f"{number}-3"])
    print("removed", number, flush=True)
"""


def state(acknowledged: list[str], number: int) -> dict[str, int | None]:
    """What the documents of one round must hold; none for those that the process may have been busy with."""
    done = [line.split()[0] for line in acknowledged if line.split()[1] == str(number)]
    certain: dict[str, int | None] = {}
    if "put" in done:
        certain |= {f"{number}-1": number}
    if "replaced" in done:
        certain |= {f"{number}-0": number + 1}
    if "removed" in done:
        certain |= {f"{number}-2": None, f"{number}-3": None}
    return certain


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.harden)])
def test_a_process_killed_at_any_moment_loses_nothing_it_acknowledged(
    tmp_path: Path, rounds: int, record_property: Record
) -> None:
    moments, start, certain = random.Random(20), 0, dict[str, int | None]()
    kills = 0
    while kills < rounds or len(certain) <= 10 * rounds:  # however slow the machine is
        kills += 1
        with started(WRITER, str(tmp_path), str(start)) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            killer = threading.Timer(moments.uniform(0, 0.12), os.kill, (process.pid, signal.SIGKILL))
            killer.start()
            acknowledged = [first, *process.stdout]
            killer.join()
        # The last line may be cut by the kill; its write was acknowledged all the same.
        acknowledged = [line for line in acknowledged if line.endswith("\n")]
        written = {int(line.split()[1]) for line in acknowledged}
        for one_round in written:
            certain |= state(acknowledged, one_round)
        start = max(written) + 2
        assert_sound(tmp_path)
    now = collection(tmp_path)
    stored = now.stored(list(certain))
    held = {key: number for key, number in certain.items() if number is not None}
    record_property("kills", kills)
    record_writes(record_property, held, stored)
    assert stored.keys() == held.keys()
    for key, number in held.items():
        assert stored[key].digest == digest(document(key, number).text)
    for key in random.Random(21).sample(sorted(held), min(50, len(held))):
        assert_holds(now, key, held[key])
    now.put([document("afterwards", 1)])
    assert_holds(now, "afterwards", 1)


FULL_DISK = """
import resource
folder, limit = sys.argv[1], int(sys.argv[2])
one, kept = opened(folder), []
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    for number in range(2000):
        one.put([document(f"{number}-{i}", number) for i in range(10)])
        kept.append(number)
    print("never full")
except StorageError as error:
    print(error)
wanted = {f"{number}-{i}" for number in kept for i in range(10)}
assert one.stored(list(wanted)).keys() == wanted
assert one.current().documents == len(wanted)
assert everything(one).total == 2 * len(wanted)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
print(len(kept))
"""
"""Writes 60 MB into a disk of a few, and reads what was acknowledged while that is full."""


def assert_full_disk_loses_nothing(folder: Path, limit: int) -> None:
    message, kept = run(COMMON + FULL_DISK, str(folder), str(limit)).splitlines()
    assert "full" in message
    assert "send the call again. What was acknowledged before is kept" in message
    now = collection(folder)
    assert now.current().documents == 10 * int(kept) > 0
    assert_sound(folder)
    for number in range(int(kept)):
        assert_holds(now, f"{number}-7", number)


@pytest.mark.fault
def test_a_full_disk_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4) as limit:
        assert_full_disk_loses_nothing(tmp_path / "disk", limit)


@pytest.mark.fault
def test_a_file_size_limit_loses_nothing_acknowledged(tmp_path: Path) -> None:
    assert_full_disk_loses_nothing(tmp_path, 4_000_000)


READ_ONLY = """
tables()  # read while the package may be read
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
folder = Path(sys.argv[1])
assert not os.access(folder, os.W_OK)
store = SqliteStore(folder)
(record,) = store.list()
one = store.open_for("notes", "identity", "model@1")
print(record.documents, everything(one).total, len(one.matching("more", 99).keys), store.version() > 0)
for call in (lambda: one.put([document("new", 1)]), lambda: one.remove(["old0"]), lambda: store.remove("notes")):
    try:
        call()
        print("written")
    except StorageError as error:
        print(error)
print(store.list() == [record], one.chunks_of("old0")[0].stop)
"""


@contextmanager
def read_only_folder(*, log: bool) -> Iterator[Path]:
    """Three documents; with the log of a process that still has them open, or without."""
    # Not under tmp_path, whose parents nobody else may enter: root must drop its rights to meet a read-only folder.
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name), SqliteStore(Path(name))
        one = store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
        one.put([document(f"old{number}", number) for number in range(3)])
        if not log:
            store.close()
        assert (folder / f"{FILE}-wal").exists() == log
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        assert_sound(folder)
        assert {"old0", "old1", "old2"} <= one.stored(["old0", "old1", "old2"]).keys()
        store.close()


@pytest.mark.fault
@pytest.mark.parametrize("log", [False, True])
def test_a_read_only_folder_is_read_and_not_written(log: bool) -> None:
    with read_only_folder(log=log) as folder:
        seen, *refused, last = run(COMMON + READ_ONLY, str(folder)).splitlines()
    assert seen == "3 6 3 True"
    assert len(refused) == 3
    for message in refused:
        assert "may only be read; make the folder writable, or give another with --data-dir" in message
    assert last == f"True {document('old0', 0).chunks[0].stop}"


WATCHER = """
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
store = SqliteStore(Path(sys.argv[1]))
for line in sys.stdin:
    print(everything(store.open("notes")).total, flush=True)
"""


def test_a_process_that_may_only_read_sees_what_others_write_later() -> None:
    with read_only_folder(log=False) as folder, started(WATCHER, str(folder)) as watcher:
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        seen = []
        for number in range(3):
            watcher.stdin.write("\n")
            watcher.stdin.flush()
            seen.append(int(watcher.stdout.readline()))
            folder.chmod(0o755)
            (folder / FILE).chmod(0o644)
            store = SqliteStore(folder)
            one = store.open("notes")
            one.put([document("later", number)])
            one.remove(["later"] if number == 1 else [])
            store.close()
            folder.chmod(0o555)
    assert seen == [6, 8, 6]


def refusal(folder: Path) -> str:
    """Why the file cannot be used, by reading and by writing; it must stay as it is."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    messages = set()
    for call in (SqliteStore(folder).list, lambda: collection(folder), SqliteStore(folder).version):
        with pytest.raises(StorageError) as refused:
            call()
        messages.add(str(refused.value))
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (message,) = messages
    assert str(folder / FILE) in message
    assert "--data-dir" in message
    return message


def test_a_file_of_a_newer_version_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    store.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
        database.execute("PRAGMA journal_mode = DELETE")
    message = refusal(tmp_path)
    assert f"newer mcp-server-embeddings (schema {VERSION + 1}, this one knows {VERSION})" in message
    assert "upgrade this program" in message


@pytest.mark.parametrize(
    "pragma", ["PRAGMA user_version", "PRAGMA application_id = 77", "PRAGMA user_version = 1"], ids=["none", "id", "v1"]
)
def test_a_database_of_another_program_is_refused_and_stays_as_it_is(pragma: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("CREATE TABLE chunks (other TEXT)")
        database.execute(pragma)
    assert "is a SQLite file of another program" in refusal(tmp_path)


@pytest.mark.fault
@pytest.mark.parametrize("content", [b"no database at all\n" * 1000, b"x"])
def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert "it is not an SQLite file; move it away" in refusal(tmp_path)


@pytest.mark.fault
def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.open_or_create("notes", "identity", "model@1", DIMENSIONS).put([document(str(i), i) for i in range(50)])
    store.close()
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\x07" * (len(whole) - 8192))
    with pytest.raises(StorageError, match="it is damaged; restore it from a backup"):
        store.list()


@pytest.mark.fault
def test_an_interrupted_start_leaves_a_file_that_the_next_one_finishes(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.touch()
    assert SqliteStore(tmp_path).list() == []
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE collections (row INTEGER)")  # the process ends here, and nothing is committed
    now = collection(tmp_path)
    now.put([document("a", 1)])
    assert_holds(now, "a", 1)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert database.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_file_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.executescript(str(MIGRATIONS[0]))
        database.executescript(f"""
            INSERT INTO collections (name, model, identity, dimensions, documents, chunks)
                VALUES ('notes', 'model@1', 'identity', {DIMENSIONS}, 1, 2);
            CREATE VIRTUAL TABLE words_1 USING fts5(text, content='');
            INSERT INTO files (collection, path, digest) VALUES (1, '/a.md', x'00');
            INSERT INTO documents VALUES (1, 1, '/a.md', x'00', 1, '{{}}', 'one fox two foxes');
            INSERT INTO chunks VALUES (1, 1, 1, 0, 0, 7, '', x'00'), (2, 1, 1, 1, 8, 17, 'Birds', x'01');
            INSERT INTO vectors VALUES (1, zeroblob({4 * DIMENSIONS})), (2, zeroblob({4 * DIMENSIONS}));
            PRAGMA application_id = {APPLICATION_ID};
            PRAGMA user_version = 1;
        """)
    store = SqliteStore(tmp_path)
    store.open_or_create("others", "identity", "model@1", DIMENSIONS)  # the first that writes changes the file
    one = store.open("notes")
    assert (one.sources(), one.files()) == ({}, {"/a.md": StoredFile(b"\0", documents=1)})
    assert sorted(one.matching("fox", 5).keys) == [1, 2]
    assert one.matching("bird", 5).keys == [2]
    assert one.remove(["/a.md"]).ids == ["/a.md"]
    assert one.matching("fox", 5).keys == []


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "missing" / "deeper")
    assert store.list() == []
    assert store.version() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("", encoding="utf-8")
    assert SqliteStore(tmp_path / "blocked").list() == []
    with pytest.raises(StorageError, match="nothing was stored: make the folder writable, or give another"):
        collection(tmp_path / "blocked")


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "new")
    store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "new").iterdir() if path.stat().st_mode & 0o077] == []
