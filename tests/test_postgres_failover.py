"""A primary is killed during writes and its standby promoted: what was acknowledged is there, and writing goes on."""

import threading
from collections.abc import Iterator

import pytest

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.store import open_store
from postgres_server import SUPERUSER, Postgres
from rounds import Record, record_writes
from test_store import by_words, collection, document, nearest
from waiting import wait_until

pytestmark = pytest.mark.slow

WRITERS, ENOUGH = 3, 40


@pytest.fixture
def pair() -> Iterator[tuple[Postgres, Postgres]]:
    """A primary that acknowledges what its standby has, and the standby."""
    quick = {"fsync": "off"}
    primary = Postgres({**quick, "synchronous_standby_names": "standby"}).start()
    try:
        standby = Postgres({**quick, "synchronous_standby_names": ""}, standby_of=primary).start()
    except BaseException:
        primary.remove()
        raise
    yield primary, standby
    standby.remove()
    primary.remove()


class Writer:
    """Stores one document after another until it is told to end, or fails.

    Attributes:
        acknowledged: The ids of what was stored.
    """

    def __init__(self, url: str, name: str) -> None:
        self.acknowledged: list[str] = []
        self.ending = threading.Event()
        self._collection = collection(open_store(Settings(store=url)), name)
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self.ending.is_set():
            key = f"{self._collection.name}{len(self.acknowledged)}"
            assert self._collection.put([document(key, f"text of {key}")]).added == 1
            self.acknowledged.append(key)

    def end(self) -> None:
        self.ending.set()
        self._thread.join()

    def has_written(self, count: int) -> bool:
        assert self._thread.is_alive(), "a write failed"
        return len(self.acknowledged) >= count


@pytest.mark.fault
def test_a_killed_primary_loses_nothing_that_was_acknowledged(
    pair: tuple[Postgres, Postgres], record_property: Record
) -> None:
    primary, standby = pair
    url = f"postgresql://{SUPERUSER}@/postgres?host={primary.folder},{standby.folder}&target_session_attrs=read-write"
    writers = [Writer(url, f"writer{number}-") for number in range(WRITERS)]
    try:
        wait_until(lambda: all(writer.has_written(ENOUGH) for writer in writers), "writes before the primary is killed")
        primary.kill()
        standby.promote()
        before = {writer: len(writer.acknowledged) for writer in writers}
        wait_until(
            lambda: all(writer.has_written(count + ENOUGH) for writer, count in before.items()), "writes after that"
        )
    finally:
        for writer in writers:
            writer.end()
    store = open_store(Settings(store=standby.url()))
    for number, writer in enumerate(writers):
        stored = collection(store, f"writer{number}-")
        record_writes(record_property, writer.acknowledged, map(str, stored.items().ids))
        assert stored.items().ids == writer.acknowledged
        assert nearest(stored).total == stored.current().chunks == len(writer.acknowledged)
        last = writer.acknowledged[-1]
        assert by_words(stored, last)[0] == last
