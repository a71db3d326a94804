"""Two servers behind nginx over one store: one is killed, then the other one ended, while requests are in progress."""

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from http_server import ACCEPTED, HttpServer
from nginx import nginx
from postgres_server import own_database
from rounds import Record
from waiting import wait_until
from wire import PATIENCE

pytestmark = pytest.mark.slow

CALLERS = 8

STORES: dict[str, Callable[[Path, int], Sequence[str]]] = {"sqlite": lambda folder, _: (str(folder / "shared"),)}
"""With which data folder and options the replicas of a folder, by number, use the same collections."""

if os.name == "posix":  # elsewhere the tests have no server
    STORES["postgres"] = lambda folder, number: (str(folder / str(number)), "--store", own_database(folder))


class Replicas:
    """Two servers, each on a port that stays its own."""

    def __init__(self, store: str, folder: Path, model: Path) -> None:
        self._options = [[*STORES[store](folder, number), "--model", str(model)] for number in range(2)]
        self.servers = [self._start(number) for number in range(2)]
        self.ports = [server.http.base_url.port or 0 for server in self.servers]

    def end(self, number: int, how: signal.Signals) -> None:
        """Send a signal to one."""
        self.servers[number].process.send_signal(how)

    def restart(self, number: int) -> None:
        """Wait for the end of one, and start it again."""
        with self.servers[number]:
            self.servers[number].finish()
        self.servers[number] = self._start(number, "--port", str(self.ports[number]))

    def close(self) -> None:
        """Kill them."""
        for server in self.servers:
            with server:
                server.process.kill()

    def _start(self, number: int, *more: str) -> HttpServer:
        data_dir, *options = self._options[number]
        server = HttpServer(Path(data_dir), *options, *more)
        wait_until(lambda: server.http.get("/readyz").status_code == 200, "a loaded model", pause=0.05)
        return server


@pytest.fixture(params=STORES)
def replicas(request: pytest.FixtureRequest, tmp_path: Path, bge_folder: Path) -> Iterator[Replicas]:
    replicas = Replicas(request.param, tmp_path, bge_folder)
    try:
        yield replicas
    finally:
        replicas.close()


def note(number: int) -> tuple[str, str]:
    """The id and the text of what a call writes."""
    return f"id {number}", f"a note with the number {number}"


def request(number: int) -> tuple[str, dict[str, Any]]:
    """One of each kind: from the cache, by the model, a write, a search."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("similarity", {"left": ["Apple"], "right": ["Orange"]}),
        ("embed", {"texts": [f"text number {number}"]}),
        ("collection_add", {"collection": "replicas", "texts": dict([note(number)])}),
        ("search", {"source": "replicas", "query": "a note"}),
    ]
    return kinds[number % len(kinds)]


def call(proxy: str, numbers: Iterator[int], before: Callable[[int], None]) -> list[str]:
    """Call one after the other; what went wrong."""
    failed = []
    with httpx2.Client(base_url=proxy, timeout=PATIENCE) as client:
        for number in numbers:
            before(number)
            tool, arguments = request(number)
            message = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": tool, "arguments": arguments},
            }
            answer = client.post("/mcp", json=message, headers=ACCEPTED)
            if answer.status_code != 200 or answer.json()["result"].get("isError"):
                failed.append(answer.text)
    return failed


def calls(proxy: str, numbers: range, before: Callable[[int], None] = lambda _: None) -> list[str]:
    """Call from several clients at once; what went wrong."""
    shared, lock = iter(numbers), threading.Lock()

    def one() -> Iterator[int]:
        while True:
            with lock:
                number = next(shared, None)
            if number is None:
                return
            yield number

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(itertools.chain(*pool.map(lambda _: call(proxy, one(), before), range(CALLERS))))


@pytest.mark.parametrize("count", [48, pytest.param(800, marks=pytest.mark.harden)])
def test_no_request_is_lost_when_a_replica_is_killed_and_when_one_ends(
    replicas: Replicas, tmp_path: Path, count: int, record_property: Record
) -> None:
    with nginx(tmp_path, replicas.ports) as proxy:
        assert calls(proxy, range(2, 3)) == []  # the collection is there
        for victim, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
            first = victim * count

            def end(number: int, victim: int = victim, how: signal.Signals = how, at: int = first + count // 3) -> None:
                if number == at:
                    replicas.end(victim, how)

            assert calls(proxy, range(first, first + count), end) == []
            replicas.restart(victim)
    written = [number for number in range(2 * count) if request(number)[0] == "collection_add"]
    found = replicas.servers[0].call("collection_add", {"collection": "replicas", "texts": dict(map(note, written))})
    unchanged = found["structuredContent"]["unchanged"]
    record_property("kills", 1)
    record_property("acknowledged writes", len(written))
    record_property("writes lost", len(written) - unchanged)
    assert unchanged == len(written)
