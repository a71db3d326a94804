"""Calls that take longer than clients wait: answered with how far they came, finished for the same call again."""

import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from calls import server, structured, text
from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer import background
from mcp_server_embeddings.mcp_layer.background import BackgroundCalls, call_key
from wire import PATIENCE, client_environment

pytestmark = pytest.mark.usefixtures("own_process")

SHORT = 0.2
"""Seconds that a call here is waited for."""

KEY = call_key("cluster", {"texts": ["a", "b"]}, "2025-11-25")


class Work:
    """Work that begins when it is started and ends when it is told to, or cancelled."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(4)
        self.started = 0
        self.finish = threading.Event()
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Future[str]:
        self.started += 1
        self.calls.append(call)
        number = self.started
        return self.threads.submit(self._run, call, number)

    def _run(self, call: Call, number: int) -> str:
        with call.on_cancel(self.finish.set):
            self.finish.wait(PATIENCE)
        return "cancelled" if call.cancelled else f"result {number}"


async def ask(calls: BackgroundCalls[str], work: Work, key: bytes = KEY) -> str | None:
    return await calls.wait(key, calls.call(key), work)


async def answered(calls: BackgroundCalls[str], work: Work) -> str:
    """Ask until there is an answer."""
    with anyio.fail_after(PATIENCE):
        while (found := await ask(calls, work)) is None:
            continue
    return found


def test_a_quick_call_is_answered_at_once_and_not_kept() -> None:
    work = Work()
    work.finish.set()

    async def main() -> list[str | None]:
        calls = BackgroundCalls[str](SHORT)
        return [await ask(calls, work), await ask(calls, work)]

    assert anyio.run(main) == ["result 1", "result 2"]


def test_a_long_call_goes_on_and_its_result_is_given_once() -> None:
    work = Work()

    async def main() -> None:
        calls = BackgroundCalls[str](SHORT)
        assert await ask(calls, work) is None
        assert await ask(calls, work) is None
        work.finish.set()
        assert await answered(calls, work) == "result 1"
        assert work.started == 1
        assert await answered(calls, work) == "result 2"

    anyio.run(main)


def test_two_that_wait_for_the_same_call_get_one_result() -> None:
    work = Work()

    async def main() -> list[str | None]:
        calls = BackgroundCalls[str](PATIENCE)
        found: list[str | None] = []

        async def one() -> None:
            found.append(await ask(calls, work))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
            await anyio.sleep(SHORT)
            work.finish.set()
        return found

    assert anyio.run(main) == ["result 1", "result 1"]
    assert work.started == 1


def test_another_call_is_worked_on_by_itself() -> None:
    work = Work()

    async def main() -> None:
        calls = BackgroundCalls[str](SHORT)
        assert await ask(calls, work) is None
        assert await ask(calls, work, call_key("cluster", {"texts": ["a", "c"]}, "2025-11-25")) is None
        assert work.started == 2
        work.finish.set()

    anyio.run(main)


def test_a_call_whose_only_waiter_cancels_is_cancelled_and_begins_anew_when_asked_for() -> None:
    work = Work()

    async def main() -> str:
        calls = BackgroundCalls[str](PATIENCE)
        with anyio.move_on_after(SHORT):
            await ask(calls, work)
        assert work.calls[0].cancelled
        return await answered(calls, work)

    assert anyio.run(main) == "result 2"


def test_a_call_in_the_background_is_cancelled_by_the_one_that_waits_for_more() -> None:
    work = Work()

    async def main() -> None:
        calls = BackgroundCalls[str](2 * SHORT)
        assert await ask(calls, work) is None
        assert not work.calls[0].cancelled
        with anyio.move_on_after(SHORT):
            await ask(calls, work)
        assert work.calls[0].cancelled

    anyio.run(main)


def test_a_call_goes_on_while_another_waits_for_it() -> None:
    work = Work()

    async def main() -> str | None:
        calls = BackgroundCalls[str](PATIENCE)
        found: list[str | None] = []

        async def stays() -> None:
            found.append(await ask(calls, work))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stays)
            with anyio.move_on_after(SHORT):
                await ask(calls, work)
            assert not work.calls[0].cancelled
            work.finish.set()
        return found[0]

    assert anyio.run(main) == "result 1"


def test_a_result_that_nobody_asks_for_is_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "KEEP_SECONDS", SHORT)
    work = Work()

    async def main() -> None:
        calls = BackgroundCalls[str](SHORT)
        assert await ask(calls, work) is None
        work.finish.set()
        await anyio.sleep(4 * SHORT)
        assert await answered(calls, work) == "result 2"

    anyio.run(main)


def test_results_are_kept_for_ten_minutes_and_of_many_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert background.KEEP_SECONDS == 600
    monkeypatch.setattr(background, "_MAX_RESULTS", 2)
    work = Work()

    async def main() -> None:
        calls = BackgroundCalls[str](SHORT)
        keys = [call_key("cluster", {"clusters": number}, "") for number in range(4)]
        for key in keys:
            assert await ask(calls, work, key) is None
        work.finish.set()
        await anyio.sleep(SHORT)
        for key in keys:
            with anyio.fail_after(PATIENCE):
                while await ask(calls, work, key) is None:
                    continue
        assert 4 < work.started <= 6

    anyio.run(main)


def test_the_key_of_a_call_is_that_of_its_arguments_in_any_order() -> None:
    one = call_key("cluster", {"source": "a", "clusters": 2}, "p")
    assert one == call_key("cluster", {"clusters": 2, "source": "a"}, "p")
    others = [("align", {"source": "a", "clusters": 2}, "p"), ("cluster", {"source": "b", "clusters": 2}, "p")]
    assert one not in {call_key(*other) for other in others}
    # The order of texts is the order of an answer's ids.
    assert call_key("cluster", {"texts": {"a": "1", "b": "2"}}, "") != call_key(
        "cluster", {"texts": {"b": "2", "a": "1"}}, ""
    )
    assert call_key("cluster", {"texts": ["cut \ud83d", float("nan"), 10**30]}, "")


@asynccontextmanager
async def impatient(engine: Engine) -> AsyncIterator[Client]:
    async with Client(server(engine, SHORT)) as connected:
        yield connected


def held(tmp_path: Path, work: Callable[[Client, FakeEncoder], Any]) -> None:
    """Run with a client whose calls are waited for shortly, and an encoder that is held."""
    encoder = FakeEncoder()

    async def main(engine: Engine) -> None:
        async with impatient(engine) as connected:
            await work(connected, encoder)

    with Engine(Settings(data_dir=tmp_path), encoder.load) as engine:
        engine.embedder().calibration()
        encoder.gate.clear()
        try:
            anyio.run(main, engine)
        finally:
            encoder.gate.set()


def test_the_answer_of_a_call_that_goes_on_says_how_far_it_is_and_what_to_do(tmp_path: Path) -> None:
    async def work(connected: Client, encoder: FakeEncoder) -> None:
        arguments = {"left": ["a red fox", "a blue whale"]}
        running = await connected.call_tool("similarity", arguments)
        found = structured(running)
        assert found.keys() == {"running", "done", "total", "notes"}
        assert found["running"] is True
        assert 0 == found["done"] <= found["total"]
        assert "send the same call again to wait for more" in found["notes"][0]
        assert text(running) == text(running).strip()
        encoder.gate.set()
        with anyio.fail_after(PATIENCE):
            while "running" in (found := structured(await connected.call_tool("similarity", arguments))):
                continue
        assert found["pairs"]

    held(tmp_path, work)


def test_other_calls_are_answered_while_one_goes_on(tmp_path: Path) -> None:
    async def work(connected: Client, encoder: FakeEncoder) -> None:
        assert structured(await connected.call_tool("similarity", {"left": ["a", "b"]}))["running"]
        assert structured(await connected.call_tool("status", {}))["state"] == "ready"
        again = await connected.call_tool("similarity", {"left": ["a", "b"]})
        assert structured(again)["running"]
        encoder.gate.set()

    held(tmp_path, work)


def test_an_error_is_an_error_also_when_it_comes_late(tmp_path: Path) -> None:
    async def work(connected: Client, encoder: FakeEncoder) -> None:
        encoder.fail_on = "poison"
        assert structured(await connected.call_tool("embed", {"texts": ["poison"]}))["running"]
        encoder.gate.set()
        with anyio.fail_after(PATIENCE):
            while not (found := await connected.call_tool("embed", {"texts": ["poison"]})).is_error:
                continue
        assert "failed inside the server" in text(found)

    held(tmp_path, work)


IMPATIENT = """
import sys
from mcp_server_embeddings.mcp_layer import background
background.WAIT_SECONDS = float(sys.argv.pop(1))
from mcp_server_embeddings.__main__ import main
main()
"""
"""The server, whose calls are waited for this long."""


@pytest.mark.slow
def test_a_folder_is_indexed_by_a_client_whose_patience_is_shorter_than_the_work(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(8):
        sentences = " ".join(
            f"Part {part} of document {number} tells of the river and its {part} bridges." for part in range(60)
        )
        (folder / f"{number}.md").write_text(sentences, encoding="utf-8")
    environment = {**client_environment(), "MCP_EMBEDDINGS_DATA_DIR": str(tmp_path / "data")}
    arguments = ["-c", IMPATIENT, "0.2", "--allow-dir", str(folder), "--no-cache"]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=environment)

    async def until_done(client: Client, tool: str, sent: dict[str, Any]) -> list[dict[str, Any]]:
        answers = [structured(await client.call_tool(tool, sent))]
        while "running" in answers[-1]:
            answers.append(structured(await client.call_tool(tool, sent)))
        return answers

    async def main() -> list[dict[str, Any]]:
        async with Client(stdio_client(server), read_timeout_seconds=10) as client:
            with anyio.fail_after(PATIENCE):
                answers = await until_done(client, "collection_add", {"collection": "docs", "source": ["*.md"]})
                found = await until_done(client, "search", {"query": "bridges", "source": "docs"})
            assert len({hit["id"] for hit in found[-1]["hits"]}) == 5
        return answers

    *waiting, last = anyio.run(main)
    assert len(waiting) > 1
    assert [answer["done"] for answer in waiting] == sorted(answer["done"] for answer in waiting)
    assert (last["added"], last["size"]) == (8, 8)
