"""The log's index (``-shm``) of a database is shortened in use: SQLite maps it, so whoever reads it gets SIGBUS."""

import signal
from pathlib import Path
from typing import Any

import pytest

from test_shared_engine import engine_of
from wire import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.fault]

FILES = ("collections.sqlite-shm", "cache.sqlite-shm")


def add(server: ServerProcess, text: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call("collection_add", {"collection": "a", "texts": [text]})["structuredContent"]
    return found


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("engine_process", ["shared"], indirect=True)
def test_an_engine_that_ends_by_it_is_replaced_and_nothing_is_lost(
    tmp_path: Path, engine_process: str, name: str
) -> None:
    with ServerProcess(tmp_path) as server:
        server.handshake()
        assert add(server, "A cat.")["added"] == 1
        engine = engine_of(server)
        with (tmp_path / name).open("r+b") as file:
            file.truncate(0)
        assert add(server, "A dog.")["size"] == 2
        assert engine_of(server) != engine
        hits = server.call("search", {"source": "a", "query": "an animal"})["structuredContent"]["hits"]
        assert {hit["text"] for hit in hits} == {"A cat.", "A dog."}


@pytest.mark.parametrize("engine_process", ["own"], indirect=True)
def test_a_server_in_a_process_of_its_own_ends_by_it_and_the_next_one_finds_everything(
    tmp_path: Path, engine_process: str
) -> None:
    with ServerProcess(tmp_path) as server:
        server.handshake()
        assert add(server, "A cat.")["added"] == 1
        with (tmp_path / FILES[0]).open("r+b") as file:
            file.truncate(0)
        server.send("tools/call", server.call_params("collection_add", {"collection": "a", "texts": ["A dog."]}))
        assert server.finish() == -signal.SIGBUS
        assert list(server.unread()) == []
    with ServerProcess(tmp_path) as server:
        server.handshake()
        assert add(server, "A horse.")["size"] == 2
