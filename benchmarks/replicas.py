"""Compare two replicas behind nginx with one process, on the same cores.

    python benchmarks/replicas.py [--rounds 6] [--calls 200] [--callers 16]

The single process has two streams, each replica one; all share a data folder. Callers send ``embed`` with eight new
texts, alternately to the single process and to nginx with the configuration of ``deploy/``. The output is the texts per
second of both, and the median of the ratios. Linux and macOS.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from http_load import PATH, HttpServer, request
from machine import machine, versions
from workloads import Texts

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from nginx import nginx

TEXTS = 8


def embed(url: str, texts: list[str]) -> None:
    """Send one call on a new connection."""
    address = urlsplit(url)
    client = HTTPConnection(address.hostname or "", address.port, timeout=120)
    body, headers = request({"name": "embed", "arguments": {"texts": texts, "encoding": "base64"}}, modern=True)
    client.request("POST", PATH, body, headers)
    answer = client.getresponse()
    content = answer.read()
    client.close()
    if answer.status != 200 or b'"isError":true' in content:
        raise RuntimeError(f"status {answer.status}: {content.decode()[:500]}")


def texts_a_second(url: str, texts: Texts, calls: int, callers: int) -> float:
    """Return the throughput of one round."""
    batches = [texts.short(TEXTS) for _ in range(calls)]
    began = time.perf_counter()
    with ThreadPoolExecutor(callers) as threads:
        list(threads.map(lambda batch: embed(url, batch), batches))
    return TEXTS * calls / (time.perf_counter() - began)


def main() -> None:
    """Measure both in alternating rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--callers", type=int, default=16)
    options = parser.parse_args()
    print(f"{machine()}; {versions()}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        # Every text is new, so a cache would only be written, by two processes in the case of the replicas.
        servers = [HttpServer(folder, "--no-cache", "--threads", str(threads)) for threads in (2, 1, 1)]
        for server in servers:
            stack.callback(server.end)
            server.until_ready()
        single = f"http://{servers[0].host}:{servers[0].port}"
        balanced = stack.enter_context(nginx(Path(folder), [server.port for server in servers[1:]]))
        texts, rates = Texts(5), list[tuple[float, float]]()
        for url in (single, balanced):
            texts_a_second(url, texts, 40, options.callers)
        for _ in range(options.rounds):
            alone, replicas = (texts_a_second(url, texts, options.calls, options.callers) for url in (single, balanced))
            rates.append((alone, replicas))
            print(f"one process {alone:.0f} texts a second, two replicas {replicas:.0f}: {replicas / alone:.2f} ×")
    print(f"median of the ratios: {statistics.median(replicas / alone for alone, replicas in rates):.2f} ×")


if __name__ == "__main__":
    main()
