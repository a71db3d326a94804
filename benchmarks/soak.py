"""Errors, memory, descriptors and time of an engine process under mixed calls of four clients, minute by minute.

    python benchmarks/soak.py [--minutes 30] [--clients 4] [--no-cache] [--seed 0]

Fresh texts, every tool, cancelled calls and calls that must be refused. At the end it says whether the engine kept to
what is asked of it after a warm-up of a third of the time, and exits with 1 where it did not: no error, private memory
under 1 MB a minute, no descriptor more, and a probe (one similarity) at most 10 % slower in the second half than in the
first. The vector cache takes 64 MB, about 38,000 texts, until it is full: short runs measure without it. Linux only.
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
MEGABYTE = 1_000_000


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
    """Tool calls for ever, each of the tools in turn, and whether each must be refused."""
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
    """Calls one tool after the other until it is told to end."""

    def __init__(self, number: int, seed: int, options: list[str]) -> None:
        super().__init__()
        self.server = MeasuredServer(SHARED, *options)
        self.calls = self.errors = 0
        self._texts = Texts(seed + number)
        self._collection = f"soak-{number}"
        self._ending = threading.Event()

    def run(self) -> None:
        """Call."""
        for tool, arguments, refused in calls(self._texts, self._collection):
            if self._ending.is_set():
                return
            request = self.server.start_call(tool, **arguments)
            if self.calls % 10 == 9:
                cancelled = self.server.start_call("embed", texts=self._texts.some(100, 200))
                self.server.notify("notifications/cancelled", {"requestId": cancelled})
            result = self.server.answer(request).get("result", {"isError": None})
            self.calls += 1
            self.errors += bool(result.get("isError", False)) is not refused or result.get("isError", False) is None

    def end(self) -> None:
        """End after the call that is under way."""
        self._ending.set()
        self.join()
        self.server.end()


@dataclass(frozen=True, slots=True)
class Figures:
    """Of an engine process: when, private memory in MB, open descriptors, and seconds of a probe."""

    minute: float
    memory: float
    descriptors: int
    seconds: float


@dataclass(slots=True)
class Engine:
    """What is measured of the engine process, by a session of its own."""

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
        """How it is now."""
        process = Path(f"/proc/{self.pid}")
        lines = (process / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        kilobytes = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
        private = (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) / 1000
        probes = [self.server.call("similarity", left=[texts.one(5)], right=[texts.one(5)]) for _ in range(20)]
        descriptors = len(list((process / "fd").iterdir()))
        return Figures((time.monotonic() - self.began) / 60, private, descriptors, statistics.median(probes))


def fill_word_caches(server: MeasuredServer) -> None:
    """Have what is kept of words, of 20,000 at most, filled at once: in a short run it would look like a leak."""
    numbers = count(10**6)
    left = [" ".join(str(next(numbers)) for _ in range(20)) for _ in range(1_200)]
    server.call("search", query="words", texts=left)
    server.call("align", left=left, right=[f"{text} more" for text in left])


def soak(engine: Engine, clients: list[Client], minutes: float, texts: Texts) -> list[Figures]:
    """Watch the engine for so long, and print a line for each look at it."""
    found: list[Figures] = []
    while not found or found[-1].minute < minutes:
        time.sleep(min(60.0, 60 * minutes / 12))
        found.append(engine.figures(texts))
        last, calls_, errors = found[-1], sum(one.calls for one in clients), sum(one.errors for one in clients)
        print(
            f"{last.minute:5.1f} min, {calls_} calls, {errors} errors: {last.memory:.1f} MB private, "
            f"{last.descriptors} descriptors, probe {1000 * last.seconds:.1f} ms",
            flush=True,
        )
    return found


def verdict(found: list[Figures], errors: int) -> dict[str, tuple[str, bool]]:
    """Each figure after the warm-up, and whether it is what is asked."""
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
    """Run it; 1 where a figure is not what is asked."""
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
    figures = verdict(found, sum(client.errors for client in clients))
    for what, (figure, kept) in figures.items():
        print(f"{what}: {figure}{'' if kept else ' MISSED'}")
    return 0 if all(kept for _, kept in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
