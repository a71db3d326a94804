"""The engine process that sessions share: nothing is lost when it ends, and sessions are isolated from each other."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.relay.greeting import Greeting, session_settings
from mcp_server_embeddings.relay.starting import engine_address, with_absolute_paths
from rounds import Record, record_writes
from scripts import at_start
from waiting import wait_until
from wire import PATIENCE, ServerProcess, error_text

SLOW = [f"text number {number} of many that are embedded anew " * 8 for number in range(300)]


def engine_of(server: ServerProcess) -> int:
    """Return the id of the engine process that serves a session, as ``status`` reports it."""
    process: str = server.call("status", {})["structuredContent"]["process"]
    assert process.startswith("engine process "), process
    return int(process.split()[2].rstrip(","))


def log_of(server: ServerProcess) -> Path:
    process: str = server.call("status", {})["structuredContent"]["process"]
    return Path(process.split(" log ")[1])


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "the end of a killed process")


def read(server: ServerProcess, ids: list[str]) -> list[dict[str, Any]]:
    """Read items of the collection ``kept``."""
    items: list[dict[str, Any]] = server.call("read", {"source": "kept", "ids": ids, "max_tokens": 8000})[
        "structuredContent"
    ]["items"]
    return items


@pytest.fixture
def session(data_dir: Path) -> Iterator[ServerProcess]:
    with ServerProcess(data_dir) as server:
        server.handshake()
        yield server


@pytest.mark.slow
def test_ten_sessions_that_start_at_once_have_one_engine(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(ServerProcess(tmp_path)) for _ in range(10)]
        with ThreadPoolExecutor(10) as threads:
            list(threads.map(ServerProcess.handshake, servers))
        assert len({engine_of(server) for server in servers}) == 1
        assert ", 10 sessions, " in servers[0].call("status", {})["structuredContent"]["process"]


def test_sessions_with_other_engine_settings_have_another_engine(session: ServerProcess, data_dir: Path) -> None:
    with ServerProcess(data_dir, "--threads", "1") as other, ServerProcess(data_dir, "--tools", "core") as same:
        for server in (other, same):
            server.handshake()
        assert engine_of(other) != engine_of(session)
        assert engine_of(same) == engine_of(session)


@pytest.mark.slow
@pytest.mark.fault
def test_a_call_in_progress_is_answered_by_the_next_engine(session: ServerProcess) -> None:
    first = engine_of(session)
    reports = []
    waiting = session.send("tools/call", session.call_params("embed", {"texts": SLOW}, token="slow"))
    while "method" not in (message := session.next_message()):
        continue
    reports.append(message["params"]["progress"])
    kill(first)
    while message.get("id") != waiting:
        message = session.next_message()
        if message.get("method") == "notifications/progress":
            reports.append(message["params"]["progress"])
    found = message["result"]["structuredContent"]
    assert found.get("running") or found["file"]["shape"] == [len(SLOW), 384]
    assert session.finished_call("embed", {"texts": SLOW})["file"]["shape"] == [len(SLOW), 384]
    assert reports == sorted(set(reports))
    assert engine_of(session) != first


@pytest.mark.fault
def test_a_session_of_the_stateless_era_is_taken_over_without_a_handshake(data_dir: Path) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    with ServerProcess(data_dir) as server:
        params = {**server.call_params("status", {}), "_meta": meta}
        first = server.request("tools/call", params)["structuredContent"]["process"]
        kill(int(first.split()[2].rstrip(",")))
        assert server.request("tools/call", params)["structuredContent"]["process"] != first


@pytest.mark.slow
@pytest.mark.fault
def test_a_call_can_be_cancelled_after_the_engine_was_replaced(session: ServerProcess) -> None:
    cancelled = session.send("tools/call", session.call_params("embed", {"texts": [f"a {t}" for t in SLOW]}))
    kill(engine_of(session))
    session.notify("notifications/cancelled", {"requestId": cancelled})
    kill(engine_of(session))
    assert session.request("ping") == {}
    session.process.stdin.close()  # type: ignore[union-attr]
    assert session.finish() == 0
    assert not any(json.loads(line).get("id") == cancelled for line in session.lines)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.filterwarnings("ignore")
def test_subscriptions_go_on_with_the_next_engine(data_dir: Path, tmp_path: Path) -> None:
    uri = "embeddings://collections/news"
    with ServerProcess(tmp_path) as server:
        server.handshake()
        server.call("collection_add", {"collection": "news", "texts": ["one"]})
        server.request("resources/subscribe", {"uri": uri})
        kill(engine_of(server))
        server.call("collection_add", {"collection": "news", "texts": ["two"]})
        while (message := server.next_message()).get("method") != "notifications/resources/updated":
            continue
        assert message["params"]["uri"] == uri


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.harden)])
def test_nothing_that_was_acknowledged_is_lost_when_engines_are_killed(
    tmp_path: Path, bge_folder: Path, kills: int, record_property: Record
) -> None:
    """Four clients write while the engine is killed repeatedly; every call is answered."""
    written: list[str] = []

    def write(server: ServerProcess, client: int) -> None:
        server.handshake()
        for number in range(4 * kills):
            identifier = f"{client}-{number}"
            texts = {identifier: f"text {number} of client {client}"}
            answer = server.call("collection_add", {"collection": "kept", "texts": texts})
            assert not answer.get("isError"), answer
            written.append(identifier)

    with ExitStack() as stack:
        watching, *servers = [
            stack.enter_context(ServerProcess(tmp_path, "--model", str(bge_folder))) for _ in range(5)
        ]
        watching.handshake()
        with ThreadPoolExecutor(4) as threads:
            writing = [threads.submit(write, server, number) for number, server in enumerate(servers)]
            for killed in range(1, kills + 1):
                wait_until(lambda killed=killed: len(written) >= 14 * killed, "more writes", 0.01)  # type: ignore[misc]
                kill(engine_of(watching))
            for future in writing:
                future.result(PATIENCE)
        found = [item["id"] for at in range(0, len(written), 50) for item in read(watching, written[at : at + 50])]
        record_property("kills", kills)
        record_writes(record_property, written, found)
        assert found == written
        assert len(written) == 16 * kills


@pytest.mark.slow
def test_an_engine_ends_when_it_is_idle_and_the_next_session_starts_another(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment={"MCP_EMBEDDINGS_IDLE_EXIT": "0.01"}) as server:
        server.handshake()
        first, log = engine_of(server), log_of(server)
        address = log.with_suffix(".sock")
        assert address.exists()
    wait_until(lambda: not is_alive(first), "the end of the idle engine")
    assert not address.exists()
    with ServerProcess(tmp_path) as server:
        server.handshake()
        assert engine_of(server) != first


@pytest.mark.fault
def test_a_killed_relay_ends_its_session_and_not_the_engine(session: ServerProcess, data_dir: Path) -> None:
    with ServerProcess(data_dir) as other:
        other.handshake()
        other.send("tools/call", other.call_params("embed", {"texts": [f"c {t}" for t in SLOW]}))
        assert ", 2 sessions, " in session.call("status", {})["structuredContent"]["process"]
        other.process.kill()
    status = "process"
    wait_until(lambda: ", 1 session, " in session.call("status", {})["structuredContent"][status], "the session's end")


@pytest.mark.fault
def test_a_connection_that_is_not_a_relay_ends_no_session(session: ServerProcess) -> None:
    engine, address = engine_of(session), str(log_of(session).with_suffix(".sock"))
    greeting = Greeting(session_settings(Settings())).line()
    hello = b'{"jsonrpc":"2.0","id":1,"method":"initialize"'
    for sent in (b"", b"\n", b"not a greeting\n", greeting[:-9], greeting, greeting + hello, greeting + b"\xff" * 99):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(sent)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(b"not a greeting\n")
        assert connection.makefile("rb").read() == b'X"the first line is not the greeting of a relay"\n'
    assert engine_of(session) == engine
    wait_until(lambda: ", 1 session, " in session.call("status", {})["structuredContent"]["process"], "their end")
    assert "Traceback" not in log_of(session).read_text(encoding="utf-8")


def test_each_session_has_its_own_tools_folders_and_log_level(data_dir: Path, tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        # The reader guesses the encoding and logs that.
        (folder / "note.txt").write_text(f"the note of {folder.name} in the café", encoding="latin-1")
    with (
        ServerProcess(data_dir, "--allow-dir", str(mine), "--output-dir", str(mine), "--log-level", "debug") as one,
        ServerProcess(data_dir, "--allow-dir", str(theirs), "--tools", "core") as other,
    ):
        for server in (one, other):
            server.handshake()
        assert engine_of(one) == engine_of(other)
        assert len(other.request("tools/list")["tools"]) == 4
        assert len(one.request("tools/list")["tools"]) > 4
        note = {"query": "note", "source": str(mine / "note.txt")}
        assert one.call("search", note)["structuredContent"]["hits"]
        assert "may not be read" in error_text(other.call("search", note)) or str(theirs) in error_text(
            other.call("search", note)
        )
        status = other.call("status", {})["structuredContent"]
        assert status["folders"] == [str(theirs)]
        assert status["output_folder"] == str(data_dir / "output")
        assert one.call("embed", {"texts": ["a"], "save_as": "a.npy"})["structuredContent"]["file"]["path"] == str(
            mine / "a.npy"
        )
        assert other.call("search", {**note, "source": str(theirs / "note.txt")})["structuredContent"]["hits"]
        wait_until(lambda: "DEBUG" in one.log, "a record of the session that wants them all")
        assert not other.log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tools", "serch"], "tools: there is no tool or set 'serch'; did you mean 'search'?"),
        (["--allow-dir", "/nowhere"], "allow-dir '/nowhere' is not a directory"),
        (["--threads", "many"], "--threads is 'many'; give a whole number"),
    ],
)
def test_wrong_settings_end_the_session_with_one_sentence(data_dir: Path, arguments: list[str], message: str) -> None:
    with ServerProcess(data_dir, *arguments) as server:
        assert server.finish() == 2
        assert server.log == f"mcp-server-embeddings: {message}\n"


def test_a_command_that_was_accepted_starts_again_with_the_standard_library_alone(data_dir: Path) -> None:
    program = (sys.executable, "-X", "importtime", "-m", "mcp_server_embeddings")
    shared = {"MCP_EMBEDDINGS_ENGINE_PROCESS": "shared"}
    for again in (False, True):
        with ServerProcess(data_dir, "--tools", "core", program=program, environment=shared) as server:
            server.handshake()
            assert len(server.request("tools/list")["tools"]) == 4
        imported = {line.rsplit("|", 1)[1].strip() for line in server.log.splitlines() if "import time:" in line}
        assert imported.isdisjoint({"mcp", "pydantic", "numpy", "anyio", "platformdirs", "logging", "asyncio"})
        assert imported.isdisjoint({"argparse", "dataclasses", "typing", "pathlib"}) == again


@pytest.mark.fault
@pytest.mark.parametrize("arguments", [("--tools", "core"), ("serve", "--tools", "core")])
def test_a_session_that_was_started_again_is_taken_over(data_dir: Path, arguments: tuple[str, ...]) -> None:
    with ServerProcess(data_dir, *arguments) as first:
        first.handshake()
        with ServerProcess(data_dir, *arguments) as again:
            again.handshake()
            engine = engine_of(again)
            kill(engine)
            assert engine_of(again) != engine
            assert len(again.request("tools/list")["tools"]) == 4


def test_a_folder_that_is_gone_is_refused_although_the_command_was_accepted_before(
    data_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    with ServerProcess(data_dir, "--allow-dir", str(folder)) as server:
        server.handshake()
        folder.rmdir()
        with ServerProcess(data_dir, "--allow-dir", str(folder)) as again:
            assert again.finish() == 2
            assert again.log == f"mcp-server-embeddings: allow-dir {str(folder)!r} is not a directory\n"


@pytest.mark.fault
def test_an_engine_that_cannot_start_is_reported_with_its_log(data_dir: Path, tmp_path: Path) -> None:
    broken = at_start(tmp_path, "import sys\nif 'engine' in sys.orig_argv: sys.exit('broken installation')\n")
    environment = {**broken, "HF_HOME": str(tmp_path)}  # other settings, hence a new engine
    with ServerProcess(data_dir, environment=environment) as server:
        request = server.send("ping")
        assert "engine process" in server.answer(request)["error"]["message"]
        assert server.finish() == 1
        assert "it ends as soon as it has started. Its log is " in server.log
        log = Path(server.log.split("Its log is ")[1].split(";")[0])
        assert "broken installation" in log.read_text(encoding="utf-8")


def test_the_address_depends_on_the_settings_of_the_engine_only(tmp_path: Path) -> None:
    def key(**settings: Any) -> str:
        return engine_address(with_absolute_paths(Settings(**settings))).key

    assert key(data_dir=tmp_path) == key(data_dir=tmp_path, tools=("core",), log_level="debug", idle_exit=1.0)
    assert len({key(data_dir=tmp_path), key(data_dir=tmp_path / "other"), key(data_dir=tmp_path, threads=1)}) == 3
