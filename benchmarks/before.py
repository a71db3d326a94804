"""Compare this checkout with another one, such as the previous commit, in one interleaved run.

    git worktree add /tmp/before HEAD~1
    python benchmarks/before.py /tmp/before [REPETITIONS]

Handshakes and starts are measured on whole processes: CPU seconds and peak memory as the kernel counts them. A cold
start has empty cache and data folders, a warm start uses those of earlier starts. Throughput is measured on two
processes in turn, each with one thread, while the other one waits; texts are never used twice. Each repetition starts
new processes, because one process may stay a tenth slower than the next for as long as it runs. The output is medians,
and the median of the ratios per repetition: below 1, this checkout needs less.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import machine, peak_memory, versions
from server_process import INITIALIZE
from workloads import Texts

HERE = Path(__file__).resolve().parent.parent
WORKER = """
import json, sys, time
from pathlib import Path
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
with Engine(Settings(data_dir=Path(sys.argv[1]), threads=int(sys.argv[2]), no_cache=True)) as engine:
    embedder = engine.embedder()
    embedder.calibration()
    for line in sys.stdin:
        texts = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        embedder.embed(texts)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)
"""
UNITS = ("s wall", "s CPU", "MB")
CALL = {"name": "similarity", "arguments": {"left": ["Apple"], "right": ["Orange"]}}

Sample = tuple[float, float, float]
"""Wall and CPU seconds, and the peak of resident memory in megabytes."""


@dataclass
class Checkout:
    """One of the two checkouts.

    Attributes:
        folder: Root of the checkout.
        state: Folder with the cache and data of warm starts.
        samples: Samples by the name of the measurement.
    """

    folder: Path
    state: Path
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def environment(self, state: Path) -> dict[str, str]:
        """Return an environment that imports this checkout and stores cache and data under ``state``."""
        folders = {"XDG_CACHE_HOME": str(state / "cache"), "XDG_DATA_HOME": str(state / "data")}
        settings = (self.folder / "server/mcp_server_embeddings/config.py").read_text(encoding="utf-8")
        own = {"MCP_EMBEDDINGS_ENGINE_PROCESS": "own"} if "engine_process" in settings else {}
        return {**os.environ, **folders, **own, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(self.folder / "server")}

    def start(self, state: Path, *, calls: bool) -> Sample:
        """Measure a server up to its handshake or, with ``calls``, to its first similarity; then kill it."""
        began = time.perf_counter()
        command = [sys.executable, "-m", "mcp_server_embeddings"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self.environment(state),
            cwd=state,
        ) as process:
            ask(process, "initialize", INITIALIZE)
            if calls:
                ask(process, "tools/call", CALL)
            wall = time.perf_counter() - began
            peak = peak_memory(process.pid) / 1e6
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = -9
        return wall, usage.ru_utime + usage.ru_stime, peak

    def cold(self) -> Sample:
        """Measure the first start on a machine."""
        with tempfile.TemporaryDirectory() as state:
            return self.start(Path(state), calls=True)

    def worker(self, threads: int) -> "subprocess.Popen[str]":
        """Start a process that encodes the texts it is sent."""
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(self.state), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment(self.state),
            cwd=self.state,
            text=True,
        )


def ask(process: "subprocess.Popen[bytes]", method: str, params: dict[str, Any]) -> None:
    """Send one request and wait for its answer."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
    process.stdin.flush()
    while b'"result"' not in (line := process.stdout.readline()):
        if not line:
            raise RuntimeError("the server ended")


def measure_starts(checkouts: list[Checkout], repetitions: int) -> None:
    """Measure handshakes, warm and cold starts of both checkouts in turn."""
    measurements: dict[str, Callable[[Checkout], Sample]] = {
        "handshake": lambda tree: tree.start(tree.state, calls=False),
        "warm start": lambda tree: tree.start(tree.state, calls=True),
        "cold start": Checkout.cold,
    }
    for tree in checkouts:
        tree.start(tree.state, calls=True)
    for _ in range(repetitions):
        for name, sample in measurements.items():
            for tree in checkouts:
                tree.samples.setdefault(name, []).append(sample(tree))


def measure_throughput(checkouts: list[Checkout], repetitions: int) -> None:
    """Measure both workloads on one thread in turn, with new processes in each repetition."""
    texts = Texts()
    workloads: dict[str, Callable[[], list[str]]] = {"C": lambda: texts.short(512), "D": lambda: texts.spread(128)}
    for _ in range(repetitions):
        workers = [tree.worker(1) for tree in checkouts]
        for warm_up in (True, False):  # the first texts have shapes that are new to the runtime
            for workload, draw in workloads.items():
                request = json.dumps(draw())  # the same for both, which run without a cache
                for tree, worker in zip(checkouts, workers, strict=True):
                    assert worker.stdin is not None
                    assert worker.stdout is not None
                    worker.stdin.write(request + "\n")
                    worker.stdin.flush()
                    wall, cpu = json.loads(worker.stdout.readline())
                    if not warm_up:
                        peak = peak_memory(worker.pid) / 1e6
                        tree.samples.setdefault(f"{workload} throughput", []).append((wall, cpu, peak))
        for worker in workers:
            worker.kill()
            worker.wait()


def comparison(unit: str, ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Format both medians and the median of the ratios of paired samples."""
    ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
    return f"{statistics.median(ours):.3f} against {statistics.median(theirs):.3f} {unit}: {ratio:.2f}"


def main() -> None:
    """Print the medians of both checkouts and their ratios."""
    other = Path(sys.argv[1]).resolve()
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 11
    print(machine(), versions(), sep="\n")
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        checkouts = [Checkout(HERE, Path(ours)), Checkout(other, Path(theirs))]
        measure_starts(checkouts, repetitions)
        measure_throughput(checkouts, repetitions)
    for name in checkouts[0].samples:
        our_columns, their_columns = (list(zip(*tree.samples[name], strict=True)) for tree in checkouts)
        print(f"{name:14}", "   ".join(map(comparison, UNITS, our_columns, their_columns)))
    cold, warm = (
        [statistics.median(column) for column in zip(*checkouts[0].samples[name], strict=True)]
        for name in ("cold start", "warm start")
    )
    print(f"cold over warm start, this checkout: wall {cold[0] / warm[0]:.2f}, CPU {cold[1] / warm[1]:.2f}")


if __name__ == "__main__":
    main()
