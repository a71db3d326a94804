"""What other programs do to the database while a server uses it: open, close, copy, move, replace, change it."""

import itertools
import shutil
import sqlite3
import subprocess
import threading
import traceback
from collections import UserDict
from collections.abc import Callable, ItemsView, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import CollectionError, InputError, StorageError
from mcp_server_embeddings.store.records import StoredFile
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.tools.collection_import import collection_import
from rounds import Record, record_writes
from scripts import run
from test_store_safety import COMMON, DIMENSIONS, FILE, assert_sound, collection, document, everything, started
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment

SERVER = (
    COMMON
    + """
import threading
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.found import Skipped
from mcp_server_embeddings.reading.selecting import Reader

folder = sys.argv[1]
store = SqliteStore(Path(folder))

def put(key):
    try:
        store.open_or_create("notes", "identity", "model@1", 384).put([document(key, 1)])
    except StorageError as error:
        return f"refused {error}"
    return "put"

def parallel():
    ready = threading.Barrier(4)
    def look():
        with store._database.reading() as database:
            ready.wait()
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "looked"

def read(path):
    read = []
    for entry in Reader([Path(path)]).select([path]).entries:
        if isinstance(entry, Skipped):
            continue
        try:
            entry.read()
        except UnreadableError as error:
            continue
        read.append(entry.path)
    return f"read {len(read)}"

for line in sys.stdin:
    verb, *rest = line.rstrip("\\n").split(" ", 1)
    answer = {"put": put, "read": read, "parallel": parallel}[verb](*rest)
    print(answer, flush=True)
"""
)
"""A process with a store and several connections that does as it is told; the model would only make it slow."""


class Peer:
    """The process of ``SERVER``."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().rstrip("\n")

    def kill(self) -> None:
        """End it at once, so that it repairs nothing on its way out."""
        self._process.kill()
        self._process.wait()


@contextmanager
def server(folder: Path) -> Iterator[Peer]:
    with started(SERVER.removeprefix(COMMON), str(folder)) as process:
        peer = Peer(process)
        assert peer("put first") == "put"
        assert peer("parallel") == "looked"
        yield peer


def stored(folder: Path) -> set[str]:
    """The ids in the file that lies there now."""
    with closing(sqlite3.connect(folder / FILE)) as database:
        return {key for (key,) in database.execute("SELECT id FROM documents")}


def command(folder: Path, *arguments: str) -> None:
    """One of this program's commands, as a process of its own."""
    line = [*PROGRAM, *arguments, "--data-dir", str(folder)]
    finished = subprocess.run(line, env=client_environment(), capture_output=True, timeout=PATIENCE, check=False)
    assert finished.returncode == 0, finished.stderr


SELECT = (
    "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('SELECT * FROM documents').fetchall(); d.close()"
)
BACKUP = """
import sqlite3, sys
source, copy = sqlite3.connect(sys.argv[1]), sqlite3.connect(sys.argv[2])
source.backup(copy)
copy.close()
source.close()
"""
OTHERS: dict[str, Callable[[Path], object]] = {
    "collections": lambda folder: command(folder, "collections"),
    "export": lambda folder: command(folder, "export", "notes", str(folder / "out.jsonl"), "--force"),
    "select": lambda folder: run(SELECT, str(folder / FILE)),
    "backup": lambda folder: run(BACKUP, str(folder / FILE), str(folder / "copy.sqlite")),
}
"""What opens and closes the database in another process."""


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("other", OTHERS)
def test_nothing_is_lost_when_another_process_opens_and_closes_the_database(other: str, tmp_path: Path) -> None:
    with server(tmp_path) as peer:
        for number in range(3):
            OTHERS[other](tmp_path)
            assert peer(f"put {number}") == "put"
            assert peer("parallel") == "looked"
        peer.kill()
    assert stored(tmp_path) == {"first", "0", "1", "2"}
    assert_sound(tmp_path)


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", f"{FILE}-shm", "hard-link.txt", ".gitignore", "other.md"])
def test_reading_the_folder_of_the_database_does_not_open_it(name: str, tmp_path: Path) -> None:
    data, texts = tmp_path / "data", tmp_path / "texts"
    texts.mkdir()
    (texts / "note.txt").write_text("A note.", encoding="utf-8")
    with server(data) as peer:
        link = texts / name
        link.hardlink_to(data / (name if name.startswith(FILE) else f"{FILE}-shm" if name == "other.md" else FILE))
        assert peer(f"read {texts}") == "read 1"
        assert peer(f"read {data}") == "read 0"
        run(SELECT, str(data / FILE))
        assert peer("put second") == "put"
        peer.kill()
    assert stored(data) == {"first", "second"}


BUSY = """
import sqlite3, sys
for _ in range(100):
    d = sqlite3.connect(sys.argv[1]); d.execute('SELECT count(*) FROM documents').fetchone(); d.close()
"""


def test_nothing_is_lost_under_load(tmp_path: Path) -> None:
    acknowledged = {"first"}
    with server(tmp_path) as peer:
        others = [threading.Thread(target=run, args=(BUSY, str(tmp_path / FILE))) for _ in range(3)]
        for other in others:
            other.start()
        number = 0
        while any(other.is_alive() for other in others):
            assert peer(f"put {number}") == "put"
            acknowledged.add(str(number))
            number += 1
            if number % 20 == 0:
                assert peer("parallel") == "looked"
        assert peer("put last") == "put"
        peer.kill()
    assert stored(tmp_path) == acknowledged | {"last"}
    assert_sound(tmp_path)


def move(folder: Path) -> None:
    """The database without its log, as who knows no better does it."""
    (folder / FILE).rename(folder / "moved.sqlite")


def move_all(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{FILE}{suffix}").rename(folder / f"moved.sqlite{suffix}")


def remove(folder: Path) -> None:
    (folder / FILE).unlink()


def remove_all(folder: Path) -> None:
    for path in folder.glob(f"{FILE}*"):
        path.unlink()


def replace(folder: Path) -> None:
    """By a backup; the log of the one before stays and must not be taken for its own."""
    run(BACKUP, str(folder / FILE), str(folder / "copy.sqlite"))
    (folder / "copy.sqlite").replace(folder / FILE)


MOVES = {"move": move, "move_all": move_all, "remove": remove, "remove_all": remove_all, "replace": replace}


@pytest.mark.fault
@pytest.mark.parametrize("change", MOVES)
def test_no_write_is_acknowledged_into_a_file_that_is_no_longer_there(change: str, tmp_path: Path) -> None:
    with server(tmp_path) as peer:
        MOVES[change](tmp_path)
        acknowledged = {str(number) for number in range(20) if peer(f"put {number}") == "put"}
        peer.kill()
    assert len(acknowledged) >= 19
    assert stored(tmp_path) - {"first"} == acknowledged
    assert_sound(tmp_path)


@pytest.mark.fault
@pytest.mark.parametrize("change", ["move", "move_all"])
def test_a_file_that_was_moved_keeps_what_was_acknowledged_before(change: str, tmp_path: Path) -> None:
    with server(tmp_path) as peer:
        MOVES[change](tmp_path)
        assert peer("put second") == "put"
        peer.kill()
    with closing(sqlite3.connect(tmp_path / "moved.sqlite")) as database:
        assert database.execute("SELECT id FROM documents").fetchall() == [("first",)]


class Moving(UserDict[str, StoredFile]):
    """Digests that are asked for inside the transaction, when the file is moved."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"a.md": StoredFile(b"digest")})
        self._folder = folder

    def items(self) -> ItemsView[str, StoredFile]:
        move_all(self._folder)
        return super().items()


@pytest.mark.fault
def test_a_write_during_which_the_file_is_moved_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    one = store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    one.put([document("first", 1)])
    with pytest.raises(StorageError, match="was moved, removed or replaced"):
        one.keep_files(Moving(tmp_path))
    again = store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    again.put([document("second", 2)])
    assert stored(tmp_path) == {"second"}


@pytest.mark.fault
def test_a_log_that_is_removed_is_noticed_and_nothing_is_acknowledged_into_it(tmp_path: Path) -> None:
    with server(tmp_path) as peer:
        (tmp_path / f"{FILE}-wal").unlink()
        assert "end every program that uses it" in peer("put second")
        assert "end every program that uses it" in peer("put third")
        peer.kill()


@pytest.mark.fault
def test_what_is_in_memory_follows_a_file_that_takes_the_place_of_another(tmp_path: Path) -> None:
    """Also where names, numbers and revisions in both files are the same."""
    here, there = tmp_path / "here", tmp_path / "there"
    store = SqliteStore(here)
    for folder, key in ((there, "theirs"), (here, "ours")):
        one = store.open_or_create("notes", "identity", "model@1", DIMENSIONS) if folder is here else collection(folder)
        one.put([document(key, len(key))])
    version = store.version()
    assert everything(store.open("notes")).vectors.shape == (2, DIMENSIONS)
    for path in here.iterdir():
        path.unlink()
    with closing(sqlite3.connect(there / FILE)) as database:
        database.execute("UPDATE vectors SET vector = zeroblob(length(vector))")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(there / FILE, here / FILE)
    found = store.open("notes")
    assert [chunk.document for chunk in found.first(9)] == ["theirs", "theirs"]
    assert not everything(found).vectors.any()
    assert store.version() > version


@pytest.mark.fault
def test_a_collection_of_another_model_in_the_place_of_the_file_takes_no_vectors(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    one = store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    remove_all(tmp_path)
    SqliteStore(tmp_path).open_or_create("notes", "another", "other@2", DIMENSIONS)
    with pytest.raises(CollectionError, match="was removed or replaced meanwhile"):
        one.put([document("a", 1)])


@pytest.mark.fault
def test_a_newer_version_set_while_a_server_runs_is_neither_read_nor_written(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    one = store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    one.put([document("first", 1)])
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    for call in (lambda: one.put([document("second", 2)]), lambda: everything(one), store.list):
        with pytest.raises(StorageError, match=r"newer mcp-server-embeddings \(schema 99"):
            call()
    assert stored(tmp_path) == {"first"}


@pytest.mark.fault
def test_a_damaged_text_is_not_repeated_by_the_error(tmp_path: Path) -> None:
    one = collection(tmp_path)
    one.put([document("first", 1)])
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE documents SET text = CAST(x'7365637265740aff' AS TEXT)")
    with pytest.raises(StorageError, match="another program changed its tables or texts") as refused:
        one.first(1)
    assert "secret" not in "".join(traceback.format_exception(refused.value))


OPENED = (
    COMMON
    + """
folder = Path(sys.argv[1])
opened = []

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, Path)):
        try:
            if os.path.realpath(arguments[0]).startswith(str(folder / "collections.sqlite")):
                opened.append((os.path.exists(arguments[0]), os.fspath(arguments[0])))
        except OSError:
            pass

sys.addaudithook(hook)
store = SqliteStore(folder)
one = store.open_or_create("notes", "identity", "model@1", 384)
one.put([document("a", 1)])
everything(one), one.first(9), store.list(), store.version(), SqliteStore(folder).list()
one.remove(["a"]), store.remove("notes"), store.close()
print(opened)
"""
)


def test_python_opens_the_database_only_to_make_it(tmp_path: Path) -> None:
    assert run(OPENED, str(tmp_path)) == f"[(False, '{tmp_path / FILE}')]\n"


SHELL = shutil.which("sqlite3")


@pytest.fixture
def warm_folder(tmp_path: Path, data_dir: Path, embedder: Embedder) -> Path:
    """A data folder of its own, without what it would only cost time to make again."""
    embedder.calibration("retrieval")
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("compiled", "calibration"):
        if (data_dir / name).exists():
            (folder / name).symlink_to(data_dir / name)
    return folder


def use(folder: Path, rounds: int) -> None:
    """Every command that opens the database, and other programs, again and again."""
    for _ in range(rounds):
        command(folder, "collections")
        command(folder, "search", "notes", "number", "--mode", "keyword")
        command(folder, "export", "notes", str(folder.parent / "out.jsonl"), "--force")
        run(BUSY, str(folder / FILE))
        for order in ("select * from documents;", f".backup {folder.parent / 'copy.sqlite'}") if SHELL else ():
            subprocess.run([str(SHELL), str(folder / FILE), order], check=True, capture_output=True)
    command(folder, "search", "notes", "number")


def add_at_once(server: ServerProcess, keys: Sequence[str]) -> set[str]:
    """Send an addition for each key, then wait for all; those that were acknowledged."""
    waiting: dict[object, str] = {}
    for key in keys:
        given = {"collection": "notes", "texts": {key: f"number {key}"}}
        waiting[server.send("tools/call", server.call_params("collection_add", given))] = key
    acknowledged = set[str]()
    while waiting:
        answer = server.next_message()
        if answer.get("id") in waiting:
            assert not answer["result"].get("isError"), answer
            acknowledged.add(waiting.pop(answer["id"]))
    return acknowledged


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.harden)])
def test_a_server_loses_nothing_while_commands_and_other_programs_use_its_database(
    warm_folder: Path, rounds: int, record_property: Record
) -> None:
    with ServerProcess(warm_folder, "--allow-dir", str(warm_folder)) as server, ThreadPoolExecutor(1) as pool:
        server.handshake()
        acknowledged = add_at_once(server, ["first"])
        server.request("resources/list")
        others = pool.submit(use, warm_folder, rounds)
        for number in itertools.count():
            acknowledged |= add_at_once(server, [f"{number}-{i}" for i in range(4)])
            if number % 10 == 0:
                read = server.call("collection_add", {"collection": "files", "source": [str(warm_folder / FILE)]})
                assert read["structuredContent"]["skipped"][0]["reason"].startswith("a database of this program")
            if others.done():
                break
        others.result()
        acknowledged |= add_at_once(server, ["last"])
        server.process.kill()
    record_writes(record_property, acknowledged, stored(warm_folder))
    assert stored(warm_folder) == acknowledged
    assert len(acknowledged) > 30 * rounds


@pytest.mark.fault
@pytest.mark.parametrize("change", MOVES)
def test_two_servers_go_on_with_the_same_file_after_it_was_changed(change: str, tmp_path: Path) -> None:
    with server(tmp_path) as one, server(tmp_path) as other:
        MOVES[change](tmp_path)
        acknowledged = set()
        for number in range(10):
            for name, peer in (("one", one), ("other", other)):
                if peer(f"put {name}{number}") == "put":
                    acknowledged.add(f"{name}{number}")
        one.kill()
        other.kill()
    assert len(acknowledged) >= 18
    assert stored(tmp_path) - {"first"} == acknowledged
    assert_sound(tmp_path)


def test_a_link_to_the_database_is_not_imported(warm_folder: Path, embedder: Embedder) -> None:
    store = SqliteStore(warm_folder)
    store.open_or_create("notes", "identity", "model@1", DIMENSIONS)
    link = warm_folder.parent / "link.jsonl"
    link.hardlink_to(warm_folder / FILE)
    with pytest.raises(InputError, match="is a database of this program"):
        collection_import(embedder, store, "other", link)
    assert [record.name for record in store.list()] == ["notes"]
