"""Compare the throughput of the command ``index`` with that of the bare encoder.

    python benchmarks/bulk.py [--documents 400] [--rounds 3]

Documents of five sections of 100 words are indexed from files in two ways, alternately: by two Dask workers with one
thread each, as with ``--scheduler``, and by two threads of one process, as without it. Then the bare encoder only
tokenizes and encodes the same passages with two threads of one process. Every round has new texts, and times exclude
loading the model. Each figure is also given as a ratio to the bare encoder of the same round, and so is the processor
time of all processes, which depends less on other programs. The workers' profiler is off, as the documentation
recommends; ``DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=True`` in the environment keeps it on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Self

os.environ.update(HF_HUB_OFFLINE="1", OPENBLAS_NUM_THREADS="1")

import psutil
from machine import machine, versions
from workloads import Texts

from mcp_server_embeddings import Engine, Reader, Settings, Sources, collection_add, open_store
from mcp_server_embeddings.engine.dask_encoder import dask_loader
from mcp_server_embeddings.store.records import passage_text

WORKERS, SECTIONS, WORDS = 2, 5, 100
PROFILER = "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"


def write_documents(folder: Path, count: int, texts: Texts) -> Path:
    """Write documents as files and return their folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        sections = (f"# Section {part}\n\n{texts.of(WORDS)}.\n" for part in range(SECTIONS))
        (folder / f"{number}.md").write_text("\n".join(sections), encoding="utf-8")
    return folder


@dataclass(slots=True)
class Stopwatch:
    """Measure wall time and the processor time of this and other processes during a block, in seconds."""

    others: Sequence[psutil.Process]
    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> Self:
        self.wall, self.cpu = time.perf_counter(), self._cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, self._cpu_seconds() - self.cpu

    def _cpu_seconds(self) -> float:
        return time.process_time() + sum(sum(process.cpu_times()[:2]) for process in self.others)


def index(engine: Engine, data_dir: Path, source: Path, watch: Stopwatch) -> list[str]:
    """Index a folder and return its passages."""
    store = open_store(Settings(data_dir=data_dir))
    sources = Sources(store, Reader((source,)))
    with watch:
        collection_add(engine.embedder(), store, "bulk", source=[str(source)], sources=sources)
    documents = (document for batch in store.open("bulk").batches(500) for document in batch.documents)
    passages = [
        passage_text(chunk.heading, document.text[chunk.start : chunk.stop])
        for document in documents
        for chunk in document.chunks
    ]
    store.close()
    return passages


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Run a scheduler with single-threaded workers; give its address and the processes."""
    file = folder / "scheduler.json"
    start = partial(
        subprocess.Popen,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={PROFILER: "False", **os.environ},
    )
    common = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(file)]
    processes = [start([*scheduler, *common])]
    try:
        while not (file.exists() and file.read_bytes().endswith(b"}")):
            time.sleep(0.1)
        address: str = json.loads(file.read_bytes())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
        processes += [start([*worker, *common]) for _ in range(WORKERS)]
        yield address, [psutil.Process(process.pid) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measure all rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine()}; {versions()}")
    texts = Texts()
    walls, cpus = (dict[str, list[float]](dask=[], local=[]) for _ in range(2))
    with (
        tempfile.TemporaryDirectory() as name,
        cluster(Path(name)) as (address, processes),
        dask_loader(address) as load,
    ):
        folder = Path(name)
        local_settings = Settings(data_dir=folder / "engine", no_cache=True, threads=WORKERS)
        dask_settings = Settings(data_dir=folder / "engine", no_cache=True)
        with Engine(local_settings) as local, Engine(dask_settings, load) as dask:
            for engine in (local, dask):
                engine.embedder().embed(texts.short(64))
            for number in range(options.rounds):
                watches = {kind: Stopwatch(processes) for kind in ("dask", "local", "bare")}
                for kind, engine in (("dask", dask), ("local", local)):
                    source = write_documents(folder / f"{kind}{number}", options.documents, texts)
                    passages = index(engine, folder / f"data {kind}{number}", source, watches[kind])
                with watches["bare"]:
                    local.embedder().embed(passages, role="document")
                for kind in walls:
                    walls[kind].append(watches["bare"].wall / watches[kind].wall)
                    cpus[kind].append(watches["bare"].cpu / watches[kind].cpu)
                tokens = sum(local.embedder().count_tokens(passages))
                rates = (
                    f"{kind} {len(passages) / watch.wall:.1f} in {watch.cpu:.1f} s of processors"
                    for kind, watch in watches.items()
                )
                print(f"{len(passages)} passages, {tokens} tokens; passages a second: {', '.join(rates)}", flush=True)
    for kind, ratios in walls.items():
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{kind} over bare: median {median(ratios):.2f} ({spread}), processor time {median(cpus[kind]):.2f}")


if __name__ == "__main__":
    main()
