"""A wall clock that jumps: nothing that waits, keeps or ends goes by it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts import at_start
from test_shared_engine import engine_of
from wire import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.fault]

SHIM = """
import time
from pathlib import Path
now = time.time_ns

def shifted():
    nanoseconds = now() + int(float(CLOCK.read_text() or 0) * 10**9)
    if nanoseconds >= 2**63:
        raise OverflowError("timestamp too large to convert to C _PyTime_t")
    return nanoseconds

time.time_ns = shifted
time.time = lambda: shifted() / 10**9
"""
"""As Python tells the time: in 64 bits of nanoseconds, which end in the year 2262."""

HOURS = 3_600

YEAR_9999 = 8_000 * 365 * 24 * HOURS
"""Seconds from now until about then."""


class Clock:
    """The wall clock of the processes that a test starts.

    Attributes:
        environment: What they are started with.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._next = folder / "clock", folder / "next"
        code = f"from pathlib import Path\nCLOCK = Path({str(self._file)!r})\n{SHIM}"
        self.environment = at_start(folder, code)
        self.set(0)

    def set(self, seconds: float) -> None:
        """Set it so many seconds from the right time."""
        self._next.write_text(str(seconds), encoding="ascii")
        self._next.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


def test_a_clock_that_jumps_by_hours_changes_nothing_but_the_times_that_are_told(clock: Clock, tmp_path: Path) -> None:
    texts = [f"text number {number} of many in a call that goes on" * 5 for number in range(100)]
    folder = tmp_path / "documents"
    folder.mkdir()
    with ServerProcess(tmp_path / "data", "--allow-dir", str(folder), environment=clock.environment) as server:
        server.handshake()
        engine = engine_of(server)
        long = server.send("tools/call", server.call_params("embed", {"texts": texts}, token="long"))
        while server.next_message().get("method") != "notifications/progress":
            pass
        for number, jump in enumerate([7 * HOURS, -20 * HOURS, 0, 400 * 24 * HOURS, -400 * 24 * HOURS]):
            clock.set(jump)
            (folder / "note.md").write_text(f"The note says word{number}.", encoding="utf-8")
            found = server.call("search", {"source": str(folder), "query": f"word{number}"})["structuredContent"]
            assert f"word{number}" in found["hits"][0]["text"]
            added = server.call("collection_add", {"collection": "a", "texts": [f"Text {number}."]})[
                "structuredContent"
            ]
            assert (added["added"], added["size"]) == (1, number + 1)
        answers = [line for line in server.lines if f'"id":{long},'.encode() in line]
        answer = json.loads(answers[0])["result"] if answers else server.answer(long)["result"]
        assert answer["structuredContent"]["file"]["shape"] == [len(texts), 384]  # not that it goes on
        assert engine_of(server) == engine
        (record,) = server.call("status", {})["structuredContent"]["collections"]
        assert datetime.now(UTC) - datetime.fromisoformat(record["updated"]) > timedelta(days=399)  # the clock did jump


@pytest.mark.usefixtures("engine_process")
def test_a_clock_beyond_the_year_2262_ends_the_server_and_loses_nothing(clock: Clock, tmp_path: Path) -> None:
    def add(text: str) -> int:
        return server.send("tools/call", server.call_params("collection_add", {"collection": "a", "texts": [text]}))

    with ServerProcess(tmp_path / "data", environment=clock.environment) as server:
        server.handshake()
        assert server.answer(add("A cat."))["result"]["structuredContent"]["added"] == 1
        clock.set(YEAR_9999)
        add("A dog.")
        assert not [one for one in server.unread() if not ("error" in one or one["result"].get("isError"))]
    with ServerProcess(tmp_path / "data", environment=clock.environment) as server:
        assert server.finish() == 2
        assert "is set to after the year 2262, later than Python can count; set it right" in server.log
    clock.set(0)
    with ServerProcess(tmp_path / "data", environment=clock.environment) as server:
        server.handshake()
        assert server.answer(add("A horse."))["result"]["structuredContent"]["size"] == 2
