"""Compare the remote encoder with the local model: vectors, probe, throughput, calls lost when a replica dies.

    python benchmarks/remote.py [--url URL --name NAME] [--kill PID] [--texts 512] [--rounds 5]

Without ``--url``, the benchmark starts this project's server on this machine. Server and local model have two threads
each, so the ratio of their throughputs is the cost of HTTP and JSON. ``--url`` can be any server with OpenAI's API that
serves all-MiniLM-L6-v2. ``--kill`` names a process to kill once half of 200 calls are answered.
"""

import argparse
import os
import signal
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from http_load import HttpServer
from machine import machine, versions
from workloads import Texts

from mcp_server_embeddings import Engine, Settings
from mcp_server_embeddings.config import DEFAULT_MODEL

STREAMS = 8


def report_vectors(local: Engine, remote: Engine) -> None:
    """Print the time to readiness, the note on the remote model, and how near the vectors are."""
    began = time.perf_counter()
    identity = remote.embedder().identity()
    print(f"ready after {time.perf_counter() - began:.2f} s: {identity.short}, {identity.dimensions} dimensions")
    print(remote.status().note)
    remote.embedder().calibration()
    print(f"calibrated after {time.perf_counter() - began:.2f} s")
    texts = Texts(1).short(500)
    cosines = np.sum(local.embedder().embed(texts).vectors * remote.embedder().embed(texts).vectors, axis=1)
    print(f"cosine with the vectors here, 500 texts: lowest {cosines.min():.7f}")


def report_throughput(local: Engine, remote: Engine, count: int, rounds: int) -> None:
    """Print the texts per second of both in alternating rounds, and the median of the ratios."""
    texts = Texts(2)
    for name, workload in (("short texts", texts.short), ("mixed lengths", texts.spread)):
        figures = []
        for _ in range(rounds):
            pair = []
            for engine in (local, remote):
                batch = workload(count)
                began = time.perf_counter()
                engine.embedder().embed(batch)
                pair.append(count / (time.perf_counter() - began))
            figures.append(pair)
        rates = [f"{statistics.median(column):.0f}" for column in zip(*figures, strict=True)]
        ratio = statistics.median(second / first for first, second in figures)
        print(f"{name}: {rates[0]} texts a second here, {rates[1]} there, {ratio:.2f} ×")


def report_failures(remote: Engine, kill: int) -> None:
    """Print how many of 200 calls are answered when a replica is killed."""
    texts = Texts(3)
    calls = [texts.short(3) for _ in range(200)]
    failed = 0
    with ThreadPoolExecutor(STREAMS) as threads:
        answers = [threads.submit(remote.embedder().embed, call) for call in calls]
        for number, answer in enumerate(as_completed(answers)):
            if number == len(calls) // 2:
                os.kill(kill, signal.SIGKILL)
            failed += answer.exception() is not None
    print(f"{len(calls) - failed} of {len(calls)} calls answered, one process killed after half of them")


def main() -> None:
    """Compare vectors and throughput and, with ``--kill``, count failures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="")
    parser.add_argument("--name", default=DEFAULT_MODEL)
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine(), versions(), sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        server = None if options.url else HttpServer(folder, "--threads", "2", "--no-cache")
        url = f"http://{server.host}:{server.port}/v1" if server else options.url
        data_dir = Path(folder) / "remote"
        local_settings = Settings(threads=2, no_cache=True, data_dir=data_dir)
        remote_settings = Settings(
            engine="openai",
            engine_url=url,
            engine_model=options.name,
            no_cache=True,
            data_dir=data_dir,
            cache_dir=data_dir,
        )
        with Engine(local_settings) as local_engine, Engine(remote_settings) as remote_engine:
            report_vectors(local_engine, remote_engine)
            report_throughput(local_engine, remote_engine, options.texts, options.rounds)
            if options.kill:
                report_failures(remote_engine, options.kill)
        if server:
            server.end()


if __name__ == "__main__":
    main()
