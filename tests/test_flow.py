"""A client that does not read its answers: what waits is bounded, and nothing is lost that need not be."""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread
import pytest

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import CONCURRENT_CALLS, CallRunner, Service
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.declaration import Tool, ToolContext
from mcp_server_embeddings.tools.status import status as server_status
from mcp_server_embeddings.tools.status_results import Status
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, peak_memory

NOTICED = 10
"""Seconds within which a server ends that has noticed the end of its client, with time to read what came before it."""

MOST_MEMORY = 600_000_000
"""Bytes that a server with its model may take; it takes half of that without requests. Ten thousand requests that
wait took 0.8 GB before what waits was bounded."""


@contextmanager
def unread_server(data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
    """A server after its handshake, whose output nobody reads unless the test does."""
    environment = client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir))
    pipe = subprocess.PIPE
    process = subprocess.Popen(PROGRAM, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        process.stdin.write(request("first", "initialize", hello))
        process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == "first"
        yield process, process.stdin, process.stdout
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        process.stdin.close()


def request(identifier: int | str, method: str, params: Mapping[str, object] | None = None) -> bytes:
    message = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": dict(params or {})}
    return json.dumps(message).encode() + b"\n"


def fill(stdin: IO[bytes], line: bytes) -> int:
    """Write a line again and again until the server has stopped reading; how often."""
    os.set_blocking(stdin.fileno(), False)
    written = 0
    while select.select([], [stdin], [], 3)[1]:
        with suppress(BlockingIOError):
            written += os.write(stdin.fileno(), line[written % len(line) :])
    return written // len(line)


@pytest.mark.slow
@pytest.mark.usefixtures("engine_process")
@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.harden)])
def test_many_requests_are_answered_once_to_a_client_that_reads_only_then_but_one_that_was_cancelled(
    data_dir: Path, count: int
) -> None:
    """The cancelled one is still held back then, for the answers that wait fill the pipe."""
    sent = range(count)
    with unread_server(data_dir) as (process, stdin, stdout):
        stdin.write(b"".join(request(identifier, "tools/list") for identifier in sent))
        stdin.write(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}\n' % sent[-1])
        stdin.write(request("last", "ping"))
        stdin.flush()
        reading: list[object] = []
        thread = threading.Thread(target=lambda: reading.extend(_until(stdout, "last")), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert reading[-1] == "last"
        assert len(reading) == len(set(reading))
        assert set(sent) - set(reading) <= {sent[-1]}
        assert process.poll() is None
        assert peak_memory(process.pid) < MOST_MEMORY


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.usefixtures("engine_process")
def test_a_client_that_never_reads_is_read_no_further_and_its_end_is_noticed(data_dir: Path) -> None:
    with unread_server(data_dir) as (process, stdin, stdout):
        called = {"name": "similarity", "arguments": {"left": ["a"], "right": ["b"]}}
        stdin.write(request("loaded", "tools/call", called))
        stdin.flush()
        assert "loaded" in _until(stdout, "loaded")  # from here on nothing but unread answers keeps it from reading
        assert 10_000 < fill(stdin, request(1, "tools/list")) < 100_000
        assert peak_memory(process.pid) < MOST_MEMORY
        stdin.close()
        process.wait(NOTICED)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.usefixtures("engine_process")
def test_malformed_lines_of_a_client_that_never_reads_are_bounded_and_its_end_is_noticed(data_dir: Path) -> None:
    with unread_server(data_dir) as (process, stdin, _):
        fill(stdin, b"this is not JSON\n" * 100)
        assert peak_memory(process.pid) < MOST_MEMORY
        stdin.close()
        process.wait(NOTICED)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.usefixtures("engine_process")
def test_the_end_is_noticed_while_an_error_waits_to_be_read(data_dir: Path) -> None:
    with unread_server(data_dir) as (process, stdin, _):
        stdin.write(b"this is not JSON\n" * 2_000)  # their answers fill the pipe several times
        stdin.close()
        process.wait(NOTICED)


NO_MODEL = """
import sys, threading
from pathlib import Path
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.server import build_server
from mcp_server_embeddings.mcp_layer.stdio import leave, serve
from mcp_server_embeddings.relay.wire import claim_wire
from mcp_server_embeddings.store import open_store
wire = claim_wire()
settings = Settings(data_dir=Path(sys.argv[1]))
engine = Engine(settings, lambda *_: threading.Event().wait())
leave(serve(build_server(Service(engine), open_store(settings), settings), wire, after_first_answer=engine.start))
"""
"""A server whose model is never loaded: every call waits until it is cancelled."""


@pytest.mark.slow
def test_a_cancelled_request_gives_its_place_to_the_next(data_dir: Path) -> None:
    """Also one that was still held back."""
    with ServerProcess(data_dir, str(data_dir), program=(sys.executable, "-c", NO_MODEL)) as server:
        server.handshake()
        cancelled = []
        for number in range(1_000):
            cancelled.append(server.send("tools/call", server.call_params("embed", {"texts": [f"text {number}"]})))
            server.notify("notifications/cancelled", {"requestId": cancelled[-1]})
        assert server.request("ping") == {}
        answered = [json.loads(line).get("id") for line in server.lines]
        assert len(set(answered) & set(cancelled)) < 300


def _until(stdout: IO[bytes], last: str) -> Iterator[object]:
    for line in stdout:
        identifier = json.loads(line).get("id")
        yield identifier
        if identifier == last:
            return


def test_cancelling_starts_no_more_threads_than_calls_may_have(engine: Engine, tmp_path: Path) -> None:
    started = threading.Semaphore(0)
    release = threading.Event()

    def deaf(_: ToolContext) -> None:
        started.release()
        release.wait(PATIENCE)

    async def main() -> bool:
        runner = CallRunner(Service(engine), open_store(Settings(data_dir=tmp_path)), engine.settings)
        async with anyio.create_task_group() as calls:
            for _ in range(CONCURRENT_CALLS):
                calls.start_soon(runner.read, deaf, "2025-11-25")
            for _ in range(CONCURRENT_CALLS):
                assert await anyio.to_thread.run_sync(started.acquire, True, PATIENCE)
            calls.cancel_scope.cancel()
        with anyio.move_on_after(1) as waiting:  # a second in which a thread could begin, were there one
            await runner.read(deaf, "2025-11-25")
        release.set()
        with anyio.fail_after(PATIENCE):
            await runner.read(lambda _: None, "2025-11-25")
        return waiting.cancelled_caught

    assert anyio.run(main)
    assert not started.acquire(blocking=False)


def meeting(barrier: threading.Barrier, broken: list[bool]) -> Tool:
    """A tool whose calls wait a second for two others of them to run at the same time."""

    def status(engine: Engine, store: CollectionStore, texts: list[str]) -> Status:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(1)
        broken.append(barrier.broken)
        return server_status(engine, store)

    return Tool(status, title="", description="", purpose="", too_large="", effect="reads", core=False)


@pytest.mark.parametrize(("texts", "together"), [(501, False), (500, True)])
def test_calls_of_many_texts_run_two_at_a_time(engine: Engine, tmp_path: Path, texts: int, together: bool) -> None:
    broken: list[bool] = []
    tool = meeting(threading.Barrier(3), broken)

    async def report(_: float, __: float | None, ___: str | None) -> None:
        return None

    async def main() -> None:
        runner = CallRunner(Service(engine), open_store(Settings(data_dir=tmp_path)), engine.settings)

        async def one(number: int) -> None:  # each a call of its own: the same is worked on once
            answer = await runner.run(tool, {"texts": [f"a{number}"] * texts}, "2025-11-25", report)
            assert not answer.is_error, answer

        async with anyio.create_task_group() as calls:
            for number in range(3):
                calls.start_soon(one, number)

    anyio.run(main)
    assert broken == [not together] * 3
