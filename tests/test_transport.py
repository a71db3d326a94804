"""The stdio transport, driven as a client drives it: a real process, every byte of stdout checked."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_server_embeddings.tools.declaration import declared_tools
from scripts import at_start
from waiting import wait_until
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, error_text

pytestmark = pytest.mark.usefixtures("engine_process")

PROMPT_END = 0.5
"""Seconds within which the process must be gone; the one duration that is part of the contract."""


@pytest.fixture(scope="module")
def server(data_dir: Path, engine_process: str) -> Iterator[ServerProcess]:
    """A server after its handshake, for every test that it outlives."""
    with ServerProcess(data_dir) as server:
        server.handshake()
        yield server


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_version_of_the_handshake_era_is_answered_in_kind(server: ServerProcess, version: str) -> None:
    result = server.handshake(version)
    assert result["protocolVersion"] == version
    assert result["serverInfo"]["name"] == "mcp-server-embeddings"
    assert "band" in result["instructions"]
    assert [tool["name"] for tool in server.request("tools/list")["tools"]] == list(declared_tools())
    assert server.call("status", {})["structuredContent"]["protocol"] == version


@pytest.mark.slow
def test_the_stateless_era_is_served_without_a_handshake(data_dir: Path) -> None:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    with ServerProcess(data_dir) as server:
        listed = server.request("tools/list", {"_meta": meta})
        assert len(listed["tools"]) == len(declared_tools())
        assert listed["ttlMs"] > 0
        params = {**server.call_params("status", {}), "_meta": meta}
        assert server.request("tools/call", params)["structuredContent"]["protocol"] == "2026-07-28"


@pytest.mark.parametrize(
    ("state", "end", "status"),
    [
        ("warming", "eof", 0),
        ("ready", "eof", 0),
        ("warming", signal.SIGTERM, 128 + signal.SIGTERM),
        ("ready", signal.SIGINT, 128 + signal.SIGINT),
    ],
    ids=["warming-eof", "ready-eof", "warming-sigterm", "ready-sigint"],
)
def test_the_end_is_prompt(data_dir: Path, state: str, end: str | signal.Signals, status: int) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        if state == "ready":
            server.call("similarity", {"left": ["a"], "right": ["b"]})
        if isinstance(end, signal.Signals):
            server.process.send_signal(end)
        else:
            assert server.process.stdin is not None
            server.process.stdin.close()
        assert server.seconds_to_end() < PROMPT_END
        assert server.finish() == status


@pytest.mark.slow
def test_the_end_is_prompt_while_a_large_call_runs_and_nobody_reads(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.handshake()
        server.call("embed", {"texts": ["warm"]})
        texts = [f"text number {i} " * 20 for i in range(1000)]
        server.send("tools/call", server.call_params("similarity", {"left": texts}))
        assert server.request("ping") == {}
        server.process.send_signal(signal.SIGTERM)
        assert server.seconds_to_end() < PROMPT_END
        assert server.finish() == 128 + signal.SIGTERM


def test_the_server_ends_with_its_parent_even_when_the_pipe_stays_open(data_dir: Path) -> None:
    reading, writing = os.pipe()
    # The parent starts the server and dies; this test keeps the writing end, so the server sees no EOF.
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({list(PROGRAM)!r}, stdin={reading}, stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); sys.stdin.read()\n"
    )
    environment = client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir))
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[reading],
        env=environment,
    ) as process:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        os.write(writing, json.dumps(request).encode() + b"\n")
        assert process.stdout is not None
        server = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    import select

    poll = select.poll()
    poll.register(server, select.POLLIN)
    assert poll.poll(PROMPT_END * 1000), "the server outlived its parent"
    for descriptor in (server, reading, writing):
        os.close(descriptor)


def test_a_lone_surrogate_in_a_request_is_replaced_and_answered(server: ServerProcess) -> None:
    server.write(
        rb'{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"similarity","arguments":'
        rb'{"left":["cut \ud83d"],"right":["cut \ufffd","\ud83d\ude00"]}}}' + b"\n"
    )
    pairs = server.answer(77)["result"]["structuredContent"]["pairs"]
    assert (pairs[0]["right"], pairs[0]["score"]) == (0, 1.0)


def test_nan_where_a_number_is_wanted_is_a_tool_error(server: ServerProcess) -> None:
    for number in (b"NaN", b"Infinity"):
        server.write(
            b'{"jsonrpc":"2.0","id":88,"method":"tools/call","params":{"name":"embed","arguments":'
            b'{"texts":["a"],"dimensions":' + number + b"}}}\n"
        )
        assert "a whole number" in error_text(server.answer(88)["result"])


@pytest.mark.parametrize(
    ("line", "code", "identifier"),
    [
        (b"this is no JSON", -32700, None),
        (b'{"jsonrpc":"2.0","id":1,', -32700, None),
        (b"\xff\xfe\x00garbage", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"[]", -32600, None),
        (b"5", -32600, None),
        (b'{"jsonrpc":"1.0","id":9,"method":"ping"}', -32600, 9),
        (b'{"jsonrpc":"2.0","id":"x","method":5}', -32600, "x"),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":4,"method":"ping","params":' + b"[" * 300 + b"]" * 300 + b"}", -32700, None),
    ],
)
def test_a_line_that_is_no_message_gets_an_error(
    server: ServerProcess, line: bytes, code: int, identifier: str | int | None
) -> None:
    server.write(line + b"\n")
    answer = server.next_message()
    assert answer["error"]["code"] == code
    assert "send" in answer["error"]["message"]
    assert answer["id"] == identifier
    assert server.request("ping") == {}


def test_an_id_of_a_whole_number_with_a_decimal_point_is_that_integer(server: ServerProcess) -> None:
    server.write(b'{"jsonrpc":"2.0","id":7.0,"method":"ping"}\n')
    assert server.next_message() == {"jsonrpc": "2.0", "id": 7, "result": {}}


def test_a_small_call_is_not_stuck_behind_a_large_one_and_cancelling_stops_the_work(server: ServerProcess) -> None:
    pid = server.process.pid  # so the texts are in no cache
    texts = [f"sentence {i} of {pid} about the subject number {i % 7} and its details " * 12 for i in range(2000)]
    server.call("embed", {"texts": ["warm"]})
    large = server.send("tools/call", server.call_params("embed", {"texts": texts}))
    wait_until(lambda: pieces_waiting(server) > 0, "the texts in the queue")
    assert all(json.loads(line).get("id") != large for line in server.lines)
    small = server.send("tools/call", server.call_params("similarity", {"left": ["a small"], "right": ["call"]}))
    assert server.next_message()["id"] == small
    assert pieces_waiting(server) > 0
    server.notify("notifications/cancelled", {"requestId": large})
    assert server.request("ping") == {}
    assert pieces_waiting(server) == 0
    assert all(json.loads(line).get("id") != large for line in server.lines)


def pieces_waiting(server: ServerProcess) -> int:
    """Texts and windows in the queue."""
    waiting: int = server.call("status", {})["structuredContent"]["queue"]["pieces_waiting"]
    return waiting


def test_three_hundred_waiting_calls_do_not_starve_ping(server: ServerProcess) -> None:
    new = [f"text {number} of {server.process.pid}" for number in range(300)]  # in no cache
    calls = {server.send("tools/call", server.call_params("embed", {"texts": [text]})) for text in new}
    ping = server.send("ping")
    answered = []
    while calls:
        answered.append(server.next_message()["id"])
        calls.discard(answered[-1])
    assert ping in answered[:-1]


def test_no_text_reaches_a_log_and_no_socket_reaches_outside_the_machine(
    data_dir: Path, tmp_path: Path, engine_process: str
) -> None:
    secret = "the crown jewels lie under the third elm"
    audit = (
        "import sys\n"
        "def hook(event, arguments):\n"
        "    network = event in ('socket.getaddrinfo', 'socket.gethostbyname')\n"
        "    if network or event in ('socket.connect', 'socket.bind') and not isinstance(arguments[1], str):\n"
        "        print('network:', event, file=sys.stderr, flush=True)\n"
        "sys.addaudithook(hook)\n"
    )
    # An engine of its own.
    environment = {**at_start(tmp_path, audit), "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    with ServerProcess(data_dir, "--log-level", "debug", environment=environment) as server:
        server.handshake()
        server.call("similarity", {"left": [secret], "right": [secret + "!"]})
        error_text(server.call("embed", {"texts": [secret, 5]}))
        error_text(server.call("embed", {"texts": [secret], "role": secret}))
        server.write(b'{"secret": "' + secret.encode() + b'"}\n')
        server.request("ping")
        process = server.call("status", {})["structuredContent"]["process"]
        engine = int(process.split()[2].rstrip(",")) if engine_process == "shared" else server.process.pid
        inodes = {line.split()[9] for kind in ("tcp", "tcp6", "udp", "udp6") for line in _sockets(kind)}
        for pid in {engine, server.process.pid}:
            opened = Path(f"/proc/{pid}/fd").iterdir()
            links = [str(descriptor.readlink()) for descriptor in opened if descriptor.is_symlink()]
            assert not [link for link in links if link.removeprefix("socket:[").removesuffix("]") in inodes]
    logged = server.log
    if engine_process == "shared":
        logged += Path(process.split(" log ")[1]).read_text(encoding="utf-8")
    assert "crown jewels" not in logged
    assert "network:" not in logged


def _sockets(kind: str) -> list[str]:
    return Path(f"/proc/net/{kind}").read_text(encoding="utf-8").splitlines()[1:]


def test_piped_requests_with_blank_lines_and_windows_line_ends_are_answered_before_the_end(
    data_dir: Path,
) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        *({"jsonrpc": "2.0", "id": number, "method": "tools/list"} for number in range(2, 100)),
    ]
    finished = subprocess.run(
        PROGRAM,
        input=b"\r\n\n" + b"".join(json.dumps(line).encode() + b"\r\n\n" for line in lines),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir)),
        timeout=PATIENCE,
        check=True,
    )
    assert sorted(json.loads(line)["id"] for line in finished.stdout.splitlines()) == list(range(1, 100))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("requests", "end"), [(100, b'{"jsonrpc":"2.0","id":"last","method":"pi'), (0, b'{"a":"\xe2\x82')]
)
def test_an_end_in_the_middle_of_a_message_loses_no_request_before_it(
    data_dir: Path, requests: int, end: bytes
) -> None:
    with ServerProcess(data_dir) as server:
        if requests:
            server.handshake()
        sent = [server.send("tools/list") for _ in range(requests)]
        server.write(end)
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.finish() == 0
        received = list(server.unread())
    assert sorted(message["id"] for message in received if "result" in message) == sent
    # A relay leaves without the refusal of what has no id where nothing else is to be answered.
    errors = [message["error"]["code"] for message in received if "error" in message]
    assert errors == [-32700] or (errors, sent) == ([], [])


def test_a_last_message_that_no_line_end_follows_is_answered(data_dir: Path) -> None:
    with ServerProcess(data_dir) as server:
        server.write(b'{"jsonrpc":"2.0","id":5,"method":"ping"}')
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.finish() == 0
        assert list(server.unread()) == [{"jsonrpc": "2.0", "id": 5, "result": {}}]
