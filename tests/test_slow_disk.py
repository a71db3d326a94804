"""A disk that takes long to sync: writes wait for it, and nothing else does."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts import at_start, output
from test_store_safety import COMMON, assert_sound, collection
from waiting import wait_until
from wire import ServerProcess, client_environment

pytestmark = [pytest.mark.slow, pytest.mark.fault]

SHIM = """
import sys, time
sys.path.append(TESTS)
from faulty_disk import watch
def hold(event):
    while event.kind == "sync" and HELD.exists():
        WAITING.touch()
        time.sleep(0.005)
    if event.kind == "sync":
        time.sleep(0.05)
watch(hold)
"""


class Disk:
    """The disk of the processes that a test starts: each sync takes 50 ms, or as long as it is held.

    Attributes:
        environment: What they are started with.
    """

    def __init__(self, folder: Path) -> None:
        self._held, self._waiting = folder / "held", folder / "waiting"
        names = f"TESTS, HELD, WAITING = {str(Path(__file__).parent)!r}, Path({str(self._held)!r}), "
        code = f"from pathlib import Path\n{names}Path({str(self._waiting)!r})\n{SHIM}"
        self.environment = at_start(folder, code)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no sync end before the block does."""
        self._held.touch()
        try:
            yield
        finally:
            self._held.unlink()

    def run(self, script: str, *arguments: str) -> str:
        """The output of a script that uses it."""
        return output([sys.executable, "-c", script, *arguments], client_environment(**self.environment))

    def wait(self) -> None:
        """Wait until something waits for the disk."""
        wait_until(self._waiting.exists, "a sync that waits for the disk")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_searches_and_vectors_are_answered_while_a_write_waits_for_the_disk(disk: Disk, tmp_path: Path) -> None:
    def add(text: str) -> int:
        return server.send("tools/call", server.call_params("collection_add", {"collection": "a", "texts": [text]}))

    def add_and_wait(text: str) -> dict[str, Any]:
        found: dict[str, Any] = server.answer(add(text))["result"]["structuredContent"]
        return found

    with ServerProcess(tmp_path / "data", environment=disk.environment) as server:
        server.handshake()
        assert add_and_wait("A cat.")["added"] == 1
        with disk.held():
            writes = [add(text) for text in ("A dog.", "A horse.", "A dog.")]
            disk.wait()
            (hit,) = server.call("search", {"source": "a", "query": "an animal"})["structuredContent"]["hits"]
            assert hit["text"] == "A cat."
            assert server.call("embed", {"texts": ["A new text."]})["structuredContent"]["dimensions"] == 384
            (record,) = server.call("status", {})["structuredContent"]["collections"]
            assert record["size"] == 1
        answers = {message["id"]: message["result"] for message in (server.next_message() for _ in writes)}
        assert [answers[write]["structuredContent"]["added"] for write in writes] == [1, 1, 1]  # two are the same call
        assert add_and_wait("A horse.")["unchanged"] == 1
        assert server.call("status", {})["structuredContent"]["collections"][0]["size"] == 3


LONGER_THAN_A_CALL = """
import sys
from pathlib import Path
import anyio
import sitecustomize
from mcp import Client
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from calls import server, structured

async def main(engine):
    arguments = {"collection": "a", "texts": ["A cat."]}
    async with Client(server(engine, 0.1)) as client:
        while structured(await client.call_tool("embed", {"texts": ["A cat."]})).get("running"):
            pass
        sitecustomize.HELD.touch()
        for _ in range(5):
            assert structured(await client.call_tool("collection_add", arguments))["running"]
        assert sitecustomize.WAITING.exists()
        sitecustomize.HELD.unlink()
        while (found := structured(await client.call_tool("collection_add", arguments))).get("running"):
            pass
        print(found["added"], found["size"])

with Engine(Settings(data_dir=Path(sys.argv[1]), no_cache=True)) as engine:
    anyio.run(main, engine)
"""


def test_a_write_that_waits_for_longer_than_a_call_is_done_once(disk: Disk, tmp_path: Path) -> None:
    assert disk.run(LONGER_THAN_A_CALL, str(tmp_path / "data")) == "1 1\n"


CACHE = """
import sys, threading
from pathlib import Path
import numpy as np
import sitecustomize
from mcp_server_embeddings.engine.cache import CachedText, VectorCache

cache = VectorCache(Path(sys.argv[1]), 10**9)
entry = CachedText(np.ones(384, np.float32), 1, "")
sitecustomize.HELD.touch()
writer = threading.Thread(target=cache.put, args=({b"a": entry},))
writer.start()
while not sitecustomize.WAITING.exists():
    pass
print(*cache.get([b"a", b"b"]))
cache.put({b"b": entry})
print(*sorted(cache.get([b"a", b"b"])), writer.is_alive())
sitecustomize.HELD.unlink()
writer.join()
print(*VectorCache(Path(sys.argv[1]), 10**9).get([b"a"]))
"""


def test_the_cache_is_not_waited_for_while_another_call_waits_for_its_disk(disk: Disk, tmp_path: Path) -> None:
    assert disk.run(CACHE, str(tmp_path / "cache.sqlite")).splitlines() == ["b'a'", "b'a' b'b' True", "b'a'"]


WRITERS = """
one, name = opened(sys.argv[1]), sys.argv[2]
for number in range(11):
    one.put([document(f"{name}-{number}", number)])
one.remove([f"{name}-0"])
print("done")
"""


def test_processes_that_write_at_once_to_a_slow_disk_lose_nothing(disk: Disk, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        written = threads.map(lambda name: disk.run(COMMON + WRITERS, str(tmp_path / "data"), name), ("a", "b"))
    assert list(written) == ["done\n"] * 2
    assert sorted(collection(tmp_path / "data").items().ids) == sorted(f"{n}-{i}" for n in "ab" for i in range(1, 11))
    assert_sound(tmp_path / "data")
