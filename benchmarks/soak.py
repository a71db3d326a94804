"""Measure errors, memory, descriptors and latency of an engine process under mixed calls of four clients.

    python benchmarks/soak.py [--minutes 30] [--clients 4] [--no-cache] [--seed 0]

Fresh texts, every tool, cancelled calls and calls that must be refused. At the end it checks what happened after a
warm-up of a third of the time, and exits with status 1 unless there was no error, private memory grew by less than 1 MB
a minute, no more descriptors were open, and a probe (one similarity) was at most 10 % slower in the second half than in
the first. The clients pause while it is probed: in the queue behind their calls it would take anything from 0.2 to 0.5
seconds. The vector cache grows to 64 MB, about 38,000 texts: short runs measure without it. Linux only.
"""

import argparse
import os
import random
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from machine import machine, versions
from server_process import SHARED, MeasuredServer

WORDS = Path(__file__).read_text(encoding="utf-8").split() + [
    f"{stem}{end}"
    for stem in (
        "river",
        "letter",
        "court",
        "signal",
        "market",
        "garden",
        "winter",
        "engine",
        "border",
        "harbour",
        "lesson",
        "theory",
    )
    for end in ("", "s", "side", "less", "like", "man", "work", "house")
]
PROBES = 50
"""Each time the engine is looked at."""


class Texts:
    """Texts that were never seen before, of lengths from a word to some windows."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._numbers = count()

    def one(self, words: int | None = None) -> str:
        """A text; by default 3 to 1,500 words, mostly few."""
        length = words or min(1500, max(3, int(self._random.lognormvariate(3, 1))))
        return f"{next(self._numbers)} " + " ".join(self._random.choices(WORDS, k=length))

    def some(self, low: int, high: int, words: int | None = None) -> list[str]:
        """From ``low`` to ``high`` texts."""
        return [self.one(words) for _ in range(self._random.randint(low, high))]


def calls(texts: Texts, collection: str) -> Iterator[tuple[str, dict[str, object], bool]]:
    """Yield tool calls forever, each of the tools in turn: its name, arguments, and whether it must be refused."""
    for round_ in count():
        yield "embed", {"texts": texts.some(1, 8)}, False
        yield "similarity", {"left": texts.some(1, 20), "right": texts.some(1, 20)}, False
        yield "search", {"query": texts.one(4), "texts": texts.some(5, 60)}, False
        yield "classify", {"texts": texts.some(5, 40), "labels": ["weather", "money", "sport"]}, False
        yield "cluster", {"texts": texts.some(10, 60)}, False
        yield "deduplicate", {"texts": texts.some(10, 60)}, False
        yield "align", {"left": texts.some(5, 30), "right": texts.some(5, 30)}, False
        yield "condense", {"texts": texts.some(10, 40), "count": 3}, False
        yield "embed", {"texts": [texts.one(3_000)]}, False
        named = {f"{round_}-{number}": text for number, text in enumerate(texts.some(10, 40))}
        yield "collection_add", {"collection": collection, "texts": named}, False
        yield "search", {"source": collection, "query": texts.one(4)}, False
        yield "read", {"source": collection, "ids": list(named)[:2]}, False
        yield "collection_remove", {"collection": collection, "ids": list(named)}, False
        yield "status", {}, False
        yield "embed", {"texts": []}, True
        yield "search", {"source": "no such collection", "query": "x"}, True


class Client(threading.Thread):
    """Call one tool after another until the end."""

    def __init__(self, number: int, seed: int, options: list[str]) -> None:
        super().__init__()
        self.server = MeasuredServer(SHARED, *options)
        self.calls = self.errors = 0
        self._texts = Texts(seed + number)
        self._collection = f"soak-{number}"
        self._ending, self._resumed, self._paused = threading.Event(), threading.Event(), threading.Event()
        self._resumed.set()

    def run(self) -> None:
        """Make the calls; a call that is cancelled runs beside every tenth."""
        for tool, arguments, refused in calls(self._texts, self._collection):
            if not self._resumed.is_set():
                self._paused.set()
                self._resumed.wait()
                self._paused.clear()
            if self._ending.is_set():
                return
            request = self.server.start_call(tool, **arguments)
            if self.calls % 10 == 9:
                cancelled = self.server.start_call("embed", texts=self._texts.some(100, 200))
                self.server.notify("notifications/cancelled", {"requestId": cancelled})
            answer = self.server.answer(request)
            self.calls += 1
            is_error = answer["result"].get("isError", False) if "result" in answer else None
            self.errors += is_error is not refused

    def pause(self) -> None:
        """Ask for a pause after the current call."""
        self._resumed.clear()

    def await_pause(self) -> None:
        """Wait until the current call has ended."""
        while self.is_alive() and not self._paused.wait(1):
            continue

    def resume(self) -> None:
        """End a pause."""
        self._resumed.set()

    def end(self) -> None:
        """End after the current call."""
        self._ending.set()
        self.resume()
        self.join()
        self.server.end()


@contextmanager
def paused(clients: list[Client]) -> Iterator[None]:
    """Let no client have a call under way while the block runs."""
    for client in clients:
        client.pause()
    try:
        for client in clients:
            client.await_pause()
        yield
    finally:
        for client in clients:
            client.resume()


@dataclass(frozen=True, slots=True)
class Figures:
    """State of an engine process.

    Attributes:
        minute: Minutes since the start.
        memory: Private memory in MB.
        descriptors: Open descriptors.
        seconds: Time of a probe, the median of many.
    """

    minute: float
    memory: float
    descriptors: int
    seconds: float


@dataclass(slots=True)
class Engine:
    """The engine process, through a session that makes no other calls."""

    server: MeasuredServer
    began: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        """Its process id, as ``status`` names it."""
        answer = self.server.answer(self.server.start_call("status"))
        found = re.match(r"engine process (\d+)", answer["result"]["structuredContent"]["process"])
        assert found, "the sessions do not share an engine process"
        return int(found[1])

    def figures(self, texts: Texts) -> Figures:
        """Measure its present state."""
        process = Path(f"/proc/{self.pid}")
        lines = (process / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        private = (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1000
        probes = [self.server.call("similarity", left=[texts.one(5)], right=[texts.one(5)]) for _ in range(PROBES)]
        descriptors = len(list((process / "fd").iterdir()))
        return Figures((time.monotonic() - self.began) / 60, private, descriptors, statistics.median(probes))


def fill_word_caches(server: MeasuredServer) -> None:
    """Fill the caches of words, at most 20,000 each: in a short run their growth would look like a leak."""
    numbers = count(10**6)
    left = [" ".join(str(next(numbers)) for _ in range(20)) for _ in range(1_200)]
    server.call("search", query="words", texts=left)
    server.call("align", left=left, right=[f"{text} more" for text in left])


def soak(engine: Engine, clients: list[Client], minutes: float, texts: Texts) -> list[Figures]:
    """Look at the engine every minute, or more often in a short run, and print a line each time."""
    found: list[Figures] = []
    while not found or found[-1].minute < minutes:
        time.sleep(min(60.0, 60 * minutes / 12))
        with paused(clients):
            found.append(engine.figures(texts))
        last, calls_, errors = found[-1], sum(one.calls for one in clients), sum(one.errors for one in clients)
        print(
            f"{last.minute:5.1f} min, {calls_} calls, {errors} errors: {last.memory:.1f} MB private, "
            f"{last.descriptors} descriptors, probe {1000 * last.seconds:.1f} ms",
            flush=True,
        )
    return found


def verdict(found: list[Figures], errors: int) -> dict[str, tuple[str, bool]]:
    """Return each figure after the warm-up, and whether it is within its limit."""
    warm = [one for one in found if one.minute > found[-1].minute / 3]
    slope = statistics.linear_regression([one.minute for one in warm], [one.memory for one in warm]).slope
    first, last = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    more = max(one.descriptors for one in last) - max(one.descriptors for one in first)
    drift = statistics.median(one.seconds for one in last) / statistics.median(one.seconds for one in first) - 1
    return {
        "errors (asked: 0)": (f"{errors}", errors == 0),
        "memory, MB a minute (asked: below 1)": (f"{slope:+.2f}", slope < 1),
        "descriptors (asked: none more)": (f"{more:+d}", more <= 0),
        "time of the probe (asked: below +10 %)": (f"{100 * drift:+.1f} %", drift < 0.1),
    }


def main() -> int:
    """Run it; return 1 if a figure is outside its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--no-cache", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{machine()}; {versions()}")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ.update(XDG_RUNTIME_DIR=folder, HF_HUB_OFFLINE="1", MCP_EMBEDDINGS_IDLE_EXIT="0.05")
        arguments = ["--data-dir", folder, *(["--no-cache"] if options.no_cache else [])]
        clients = [Client(number, options.seed, arguments) for number in range(options.clients)]
        watching = MeasuredServer(SHARED, *arguments)
        try:
            fill_word_caches(watching)
            for client in clients:
                client.start()
            found = soak(Engine(watching), clients, options.minutes, Texts(options.seed - 1))
        finally:
            for client in clients:
                client.end()
            watching.end()
    results = verdict(found, sum(client.errors for client in clients))
    for name, (figure, met) in results.items():
        print(f"{name}: {figure}{'' if met else ' MISSED'}")
    return 0 if all(met for _, met in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
