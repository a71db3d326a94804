"""Memory of a server under mixed calls with fresh texts, minute by minute.

    python benchmarks/soak.py [--minutes 30] [--no-cache] [--seed 0]

One server over its pipes with a new data folder; every tool, cancelled calls and errors among them. Printed for each
minute: calls and errors so far, resident, private and anonymous memory and their change. What grows on after the vector
cache is full (64 MB, about 38,000 texts) is a leak. Linux only.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from machine import machine, versions
from server_process import OURS, MeasuredServer

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


def calls(texts: Texts) -> Iterator[tuple[str, dict[str, object]]]:
    """Tool calls for ever; each of the tools in turn."""
    for round_ in count():
        yield "embed", {"texts": texts.some(1, 8)}
        yield "similarity", {"left": texts.some(1, 20), "right": texts.some(1, 20)}
        yield "search", {"query": texts.one(4), "texts": texts.some(5, 60)}
        yield "classify", {"texts": texts.some(5, 40), "labels": ["weather", "money", "sport"]}
        yield "cluster", {"texts": texts.some(10, 60)}
        yield "deduplicate", {"texts": texts.some(10, 60)}
        yield "align", {"left": texts.some(5, 30), "right": texts.some(5, 30)}
        yield "condense", {"texts": texts.some(10, 40), "count": 3}
        yield "embed", {"texts": [texts.one(3_000)]}
        added = texts.some(10, 40)
        named = {f"{round_}-{number}": text for number, text in enumerate(added)}
        yield "collection_add", {"collection": "soak", "texts": named}
        yield "search", {"source": "soak", "query": texts.one(4)}
        yield "collection_remove", {"collection": "soak", "ids": list(named)}
        yield "status", {}
        yield "embed", {"texts": []}
        yield "search", {"source": "no such collection", "query": "x"}


def memory(server: MeasuredServer) -> dict[str, float]:
    """Megabytes: resident, and private to the process."""
    path = Path(f"/proc/{server.pid}/smaps_rollup")
    fields = dict(line.split(":") for line in path.read_text(encoding="ascii").splitlines()[1:])
    kilobytes = {name: int(value.split()[0]) for name, value in fields.items()}
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"resident": kilobytes["Rss"] / 1000, "private": private / 1000, "anonymous": kilobytes["Anonymous"] / 1000}


def soak(server: MeasuredServer, texts: Texts, minutes: float) -> None:
    """Call for so long, and print a line a minute."""
    began = reported = time.monotonic()
    before = memory(server)
    errors = 0
    for number, (tool, arguments) in enumerate(calls(texts), 1):
        request = server.start_call(tool, **arguments)
        if number % 10 == 0:
            cancelled = server.start_call("embed", texts=texts.some(100, 200))
            server.notify("notifications/cancelled", {"requestId": cancelled})
        errors += bool(server.answer(request)["result"].get("isError"))
        now = time.monotonic()
        if now - reported >= 60 or now - began >= 60 * minutes:
            after = memory(server)
            figures = ", ".join(f"{name} {after[name]:.0f} MB ({after[name] - before[name]:+.1f})" for name in after)
            print(f"{(now - began) / 60:5.1f} min, {number} calls, {errors} errors: {figures}", flush=True)
            before, reported = after, now
        if now - began >= 60 * minutes:
            return


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--no-cache", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{machine()}; {versions()}")
    with tempfile.TemporaryDirectory() as data_dir:
        server = MeasuredServer(OURS, "--data-dir", data_dir, *(["--no-cache"] if options.no_cache else []))
        try:
            server.call("similarity", left=["warm", "up"])
            soak(server, Texts(options.seed), options.minutes)
        finally:
            server.end()


if __name__ == "__main__":
    main()
