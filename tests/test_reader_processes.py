"""Files are parsed in processes of their own, which end with their work, their caller and their parent."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bombs import docx_of, docx_of_entities, parquet_of_one_text, pdf_of_pages
from files import pdf, tree
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.found import FoundFile
from mcp_server_embeddings.reading.limits import DEFAULT_LIMITS, ReadingLimits, never_cancelled
from mcp_server_embeddings.reading.processes import ReaderProcesses, Request, reader_processes
from mcp_server_embeddings.reading.selecting import Reader
from waiting import wait_until
from wire import PATIENCE, ServerProcess, peak_memory

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")

HOSTILE_PARSER = """
import os, re, sys
from mcp_server_embeddings.reading import parsing

def attempt(what):
    try:
        exec(what, {})
        return "done"
    except PermissionError:
        return "refused"

def _format(suffix, original=parsing._format):
    def documents(content, limits):
        if content.startswith(b"abort"):
            os.abort()
        if content.startswith(b"spin"):
            re.match("(a+)+$", "a" * 60 + "b")  # holds the interpreter's lock for hours
        if content.startswith(b"fill"):
            return [b"x" * 1_000_000 for _ in range(1_000_000)]
        if content.startswith(b"dive"):
            return documents(content, limits)
        if content.startswith(b"print"):
            os.write(1, b"noise"), print("noise", flush=True), print("noise", file=sys.stderr, flush=True)
        if content.startswith(b"try"):
            content = "\\n".join(map(attempt, content.decode().split("\\n")[1:])).encode()
        if content.startswith(b"variables"):
            content = "\\n".join(os.environ).encode()
        return original(suffix)(content, limits)
    return documents

parsing._format = _format
"""
"""Is imported when an interpreter starts, and has the parser of a format do what a hostile file could make it do."""


@pytest.fixture(autouse=True)
def _no_idle_readers() -> None:
    """End the processes that earlier tests left idle: tests here count."""
    reader_processes(os.getpid()).close()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReaderProcesses]:
    """Processes whose parsers do what a file says."""
    tree(tmp_path / "hostile", {"sitecustomize.py": HOSTILE_PARSER})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hostile"), *sys.path]))
    processes = ReaderProcesses(limit=2, idle_seconds=PATIENCE)
    yield processes
    processes.close()


def readers() -> list[psutil.Process]:
    """The processes that parse files for this one."""
    children = psutil.Process().children()
    return [one for one in children if one.status() != psutil.STATUS_ZOMBIE and "reading.worker" in str(one.cmdline())]


def asked(
    processes: ReaderProcesses,
    content: str,
    limits: ReadingLimits = DEFAULT_LIMITS,
    cancelled: Callable[[], None] = never_cancelled,
) -> str:
    """The text of a Markdown file, or why there is none."""
    try:
        ((document,),) = processes.ask(Request("a.md", content.encode(), limits), cancelled)
    except UnreadableError as error:
        return error.reason
    return str(document[1])


@pytest.mark.fault
@pytest.mark.parametrize(
    ("content", "limits", "said"),
    [
        ("abort", DEFAULT_LIMITS, "its parser crashed (SIGABRT); save it again, or as text"),
        ("spin", ReadingLimits(seconds=1.5), "its text takes longer than 1.5 s; split the file or save it as text"),
        ("fill", ReadingLimits(memory_bytes=300_000_000), "needs over 300,000,000 bytes of memory; split the file"),
        ("dive", DEFAULT_LIMITS, "nested too deep; save it as text"),
        ("x" * 30_000, ReadingLimits(answer_bytes=20_000), "its text has over 20,000 bytes; split the file"),
        ("print", DEFAULT_LIMITS, "print"),
    ],
)
def test_what_a_file_does_to_its_parser_is_said_and_the_next_file_is_read(
    hostile: ReaderProcesses, content: str, limits: ReadingLimits, said: str
) -> None:
    for _ in range(2):  # in a process that is new, and in one that has read others
        assert said in asked(hostile, content, limits)
        assert asked(hostile, "# After it") == "# After it"


def test_a_process_gets_no_keys_or_passwords(hostile: ReaderProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_EMBEDDINGS_ENGINE_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    names = asked(hostile, "variables").split("\n")
    assert "PATH" in names
    assert not [name for name in names if "KEY" in name or "MCP" in name]


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp")
def test_a_process_reads_and_writes_no_file_starts_no_program_and_reaches_nobody(
    hostile: ReaderProcesses, tmp_path: Path
) -> None:
    (tmp_path / "there").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        attempts = [
            f"open({str(tmp_path / 'there')!r})",
            "import os; os.listdir(os.path.expanduser('~'))",
            "open('/proc/self/environ')",
            f"open({str(tmp_path / 'new')!r}, 'w')",
            f"open({str(tmp_path / 'there')!r}, 'a')",
            f"import os; os.remove({str(tmp_path / 'there')!r})",
            "import subprocess; subprocess.run(['true'])",
            f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))",
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "import socket; socket.socket(socket.AF_UNIX)",
        ]
        assert set(asked(hostile, "\n".join(["try", *attempts])).split("\n")) == {"refused"}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["there"]


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp")
def test_a_process_imports_what_it_needs_later(hostile: ReaderProcesses) -> None:
    attempts = [
        "import mailbox, sqlite3, wave",
        "import lxml.objectify, pyarrow.compute",
        "import zoneinfo; zoneinfo.ZoneInfo('Asia/Tokyo')",
    ]
    assert set(asked(hostile, "\n".join(["try", *attempts])).split("\n")) == {"done"}


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="its way to choose what ends where memory runs out")
def test_where_memory_runs_out_the_system_ends_the_parser(hostile: ReaderProcesses) -> None:
    assert asked(hostile, "a") == "a"
    (reader,) = readers()
    assert Path(f"/proc/{reader.pid}/oom_score_adj").read_text(encoding="ascii") == "1000\n"


def test_a_caller_who_gives_up_ends_the_process(hostile: ReaderProcesses) -> None:
    assert asked(hostile, "a") == "a"
    (reader,) = readers()
    looks = iter(range(4))

    def give_up() -> None:
        if next(looks, None) is None:
            raise CallCancelledError("gone")

    with pytest.raises(CallCancelledError):
        asked(hostile, "spin", cancelled=give_up)
    assert not reader.is_running()


def test_a_file_that_takes_its_time_does_not_hold_up_others(hostile: ReaderProcesses) -> None:
    done = threading.Event()

    def until_done() -> None:
        if done.is_set():
            raise CallCancelledError("gone")

    def spin() -> None:
        with pytest.raises(CallCancelledError):
            asked(hostile, "spin", ReadingLimits(seconds=PATIENCE), until_done)

    threads = [threading.Thread(target=spin) for _ in range(2)]
    threads[0].start()
    wait_until(lambda: len(readers()) == 1, "a process for the first file")
    assert asked(hostile, "b") == "b"
    threads[1].start()
    wait_until(lambda: not hostile._idle, "both processes are taken")
    assert asked(hostile, "c", cancelled=done.set) == "c"
    for thread in threads:
        thread.join()


@pytest.mark.fault
def test_a_process_that_was_killed_is_replaced(hostile: ReaderProcesses) -> None:
    assert asked(hostile, "a") == "a"
    (reader,) = readers()
    reader.kill()
    assert asked(hostile, "b") == "b"


def test_an_idle_process_ends() -> None:
    processes = ReaderProcesses(idle_seconds=0.05)
    assert asked(processes, "a") == "a"
    wait_until(lambda: not readers(), "the process has ended")
    assert asked(processes, "b") == "b"
    wait_until(lambda: not readers(), "the next one has ended")


_PARENT = """
import sys
from mcp_server_embeddings.reading.isolated import read_documents
print("ready", flush=True)
read_documents("a.md", b"spin")
"""


@pytest.mark.fault
def test_a_process_ends_with_its_killed_parent_even_while_it_parses(tmp_path: Path) -> None:
    tree(tmp_path, {"sitecustomize.py": HOSTILE_PARSER})
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", _PARENT], env=variables, stdout=subprocess.PIPE) as parent:
        found: list[psutil.Process] = []

        def parses() -> bool:
            found[:] = psutil.Process(parent.pid).children()
            return bool(found) and found[0].cpu_times().user > 1

        wait_until(parses, "it parses", pause=0.05)
        parent.kill()
    wait_until(lambda: not found[0].is_running() or found[0].status() == psutil.STATUS_ZOMBIE, "it has ended")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_has_processes_of_its_own() -> None:
    here = os.getpid()
    assert reader_processes(here) is reader_processes(here)
    assert reader_processes(here + 1) is not reader_processes(here)


def test_what_signals_of_the_keyboard_interrupt_is_the_parent(hostile: ReaderProcesses) -> None:
    assert asked(hostile, "a") == "a"
    (reader,) = readers()
    reader.send_signal(signal.SIGINT)
    assert asked(hostile, "b") == "b"
    assert readers() == [reader]


@pytest.mark.fault
def test_a_hostile_file_does_not_keep_others_from_being_read(
    tmp_path: Path, hostile: ReaderProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server_embeddings.reading.isolated.reader_processes", lambda _: hostile)
    root = tree(tmp_path / "files", {"a.md": "a", "b.md": "abort", "c.md": "c", "d.md": "spin", "e.md": "e"})
    read, refused = [], []
    for entry in Reader([root], limits=ReadingLimits(seconds=5.0)).select([str(root)]).entries:
        assert isinstance(entry, FoundFile)
        try:
            entry.documents(entry.read())
            read.append(Path(entry.path).name)
        except UnreadableError as error:
            refused.append((Path(entry.path).name, error.reason))
    assert read == ["a.md", "c.md", "e.md"]
    assert [name for name, _ in refused] == ["b.md", "d.md"]
    assert "crashed" in refused[0][1]
    assert "longer than 5 s" in refused[1][1]


SMALL_LIMITS = """
import sys
from mcp_server_embeddings.__main__ import main
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.selecting import Reader

Reader.__init__.__kwdefaults__["limits"] = ReadingLimits(seconds=5.0, memory_bytes=500_000_000)
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.fault
def test_the_engine_answers_other_calls_while_bombs_are_parsed(data_dir: Path, tmp_path: Path) -> None:
    root = tree(tmp_path / "files", {"a.md": "# Before\n\nwords", "z.md": "# After\n\nwords"})
    bombs = {
        "ends.html": (b"<b>" * 140_000 + b"</i>" * 4_000_000 + b"x", "takes longer than 5 s"),
        "entities.docx": (docx_of_entities(), "not a DOCX file, or a corrupt one"),
        "pages.pdf": (pdf_of_pages(24, 10), "repeats without end"),
        "arrays.pdf": (pdf("x", extra={2: b"[" * 200_000}), "nested too deep"),
        "unpacks.docx": (docx_of(b" " * 101_000_000), "at most 100,000,000"),
        "one_text.parquet": (parquet_of_one_text(100_000, 10_000), "bytes of memory"),
    }
    for name, (content, _) in bombs.items():
        (root / name).write_bytes(content)
    program, variables = (sys.executable, "-c", SMALL_LIMITS), {"PYTHONPATH": os.pathsep.join(sys.path)}
    with ServerProcess(data_dir, "--allow-dir", str(root), program=program, environment=variables) as server:
        server.handshake()
        source, pair = {"collection": "b", "source": [str(root)]}, {"left": ["a"], "right": ["b"]}
        server.finished_call("similarity", pair)
        before = peak_memory(server.process.pid)
        adding = server.send("tools/call", server.call_params("collection_add", source))
        other = server.send("tools/call", server.call_params("similarity", pair))
        answers = [server.next_message() for _ in range(2)]
        assert [answer["id"] for answer in answers] == [other, adding]
        added = answers[1]["result"]["structuredContent"]
        if added.get("running"):
            added = server.finished_call("collection_add", source)
        assert added["size"] == 2
        reasons = {Path(file["path"]).name: file["reason"] for file in added["skipped"]}
        assert sorted(reasons) == sorted(bombs)
        for name, (_, said) in bombs.items():
            assert said in reasons[name], name
        assert peak_memory(server.process.pid) - before < 200_000_000
