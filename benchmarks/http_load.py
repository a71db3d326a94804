"""Measure the CPU of a call over each transport, and HTTP with a thousand concurrent connections.

    python benchmarks/http_load.py [--seconds 60] [--connections 1000] [--calls 500]

First, one client repeatedly calls ``similarity`` on two short, cached texts. The figure is the server's CPU time of a
call over stdio with one process, through the relay and the shared engine's Unix socket (both processes), and over HTTP
in each protocol version. Then every connection repeatedly calls ``embed`` with new texts for the given time; after
status 429 or 503 it waits as long as ``Retry-After`` says. The output is answers by status, failed connections,
times of the answers with status 200, and the server's memory over time. Linux only.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
from machine import machine, versions
from server_process import OURS, MeasuredServer, cpu_seconds, resident_memory

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
SAME = {"name": "similarity", "arguments": {"left": ["Apple"], "right": ["Orange"]}}
PATH = "/mcp"


class HttpServer:
    """A server on a free port, which is read from its log."""

    def __init__(self, data_dir: str, *arguments: str) -> None:
        command = [*OURS, "serve", "--transport", "http", "--port", "0", "--data-dir", data_dir, *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        url = urlsplit(self.process.stderr.readline().split()[-1])
        self.host, self.port = url.hostname or "", url.port or 0

    def until_ready(self) -> None:
        """Wait until the model is loaded."""
        client = HTTPConnection(self.host, self.port)
        while True:
            client.request("GET", "/readyz")
            answer = client.getresponse()
            answer.read()
            if answer.status == 200:
                return
            time.sleep(0.1)

    def end(self) -> None:
        """Terminate the server, which must end by itself after the requests in progress."""
        self.process.terminate()
        self.process.wait(60)


def request(params: Mapping[str, object], *, modern: bool) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a tool call."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if modern:
        headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": str(params["name"])}
        params = {**params, "_meta": META}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode(), headers


def report_call(title: str, calls: int, call: Callable[[], object], cpu: Callable[[], float]) -> None:
    """Print the wall and CPU milliseconds of a warm call."""
    for _ in range(20):
        call()
    before, walls = cpu(), []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        walls.append(time.perf_counter() - began)
    spent = cpu() - before
    print(f"{title}: {1000 * spent / calls:.2f} ms CPU, median {1000 * np.median(walls):.2f} ms wall", flush=True)


def cpu_of_calls(calls: int) -> None:
    """Compare the CPU of a call over each transport."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        for process in ("own", "shared"):
            server = MeasuredServer(OURS, "--data-dir", folder, "--engine-process", process)
            server.call("similarity", left=["Apple"], right=["Orange"])
            status = server.answer(server.start_call("status"))["result"]["structuredContent"]
            match = re.search(r"\d+", status["process"])
            pids = {server.pid, int(match[0]) if match else server.pid}
            report_call(
                f"stdio, --engine-process {process}",
                calls,
                lambda server=server: server.call("similarity", left=["Apple"], right=["Orange"]),  # type: ignore[misc]
                lambda pids=pids: sum(map(cpu_seconds, pids)),  # type: ignore[misc]
            )
            server.end()
        http = HttpServer(folder)
        http.until_ready()
        for era, modern in (("2025-11-25", False), ("2026-07-28", True)):
            body, headers = request(SAME, modern=modern)
            client = HTTPConnection(http.host, http.port)

            def call(client: HTTPConnection = client, body: bytes = body, headers: dict[str, str] = headers) -> bytes:
                client.request("POST", PATH, body, headers)
                return client.getresponse().read()

            report_call(f"HTTP, {era}", calls, call, lambda: cpu_seconds(http.process.pid))
        http.end()


@dataclass(slots=True)
class Tally:
    """Results of all connections so far."""

    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


async def caller(server: HttpServer, until: float, numbers: "itertools.count[int]", tally: Tally) -> None:
    """Call on one connection, and open another one when it is closed or fails."""
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            while time.monotonic() < until:
                began = time.monotonic()
                status, wait = await call(reader, writer, server, next(numbers))
                tally.statuses[status] += 1
                if status == 200:
                    tally.seconds.append(time.monotonic() - began)
                await asyncio.sleep(min(wait, max(0.0, until - time.monotonic())))
            writer.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            tally.errors[type(error).__name__] += 1


async def call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: HttpServer, number: int
) -> tuple[int, float]:
    """Call ``embed`` with a new text; return the status and the seconds to wait before the next call."""
    text = f"Ticket {number}: the parcel to depot {number % 97} arrived late and its seal was broken."
    params = {"name": "embed", "arguments": {"texts": [text], "encoding": "base64"}}
    body, headers = request(params, modern=number % 2 == 0)
    headers |= {"Host": f"{server.host}:{server.port}", "Content-Length": str(len(body))}
    writer.write("\r\n".join([f"POST {PATH} HTTP/1.1", *map(": ".join, headers.items()), "", ""]).encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    content = await reader.readexactly(int(fields["content-length"]))
    status = int(head[0].split()[1])
    if status == 200 and b'"isError":true' in content:
        raise RuntimeError(content.decode())
    return status, float(fields.get("retry-after", 0))


async def load(server: HttpServer, connections: int, seconds: float) -> None:
    """Call on all connections and print the results."""
    tally, numbers, began = Tally(), itertools.count(), time.monotonic()
    pid = server.process.pid
    before = cpu_seconds(pid)
    callers = asyncio.gather(*(caller(server, began + seconds, numbers, tally) for _ in range(connections)))
    while not callers.done():
        print(
            f"{time.monotonic() - began:4.0f} s: {resident_memory(pid) / 1e6:.0f} MB, {sum(tally.statuses.values())} "
            "answers",
            flush=True,
        )
        await asyncio.wait([callers], timeout=10)
    await callers
    p50, p99 = np.percentile(tally.seconds, [50, 99])
    answered = tally.statuses[200]
    print(f"{connections} connections, {seconds:.0f} s: by status {dict(tally.statuses)}, failed {dict(tally.errors)}")
    print(
        f"status 200: {answered / seconds:.0f} a second; p50 {p50:.2f} s, p99 {p99:.2f} s, "
        f"longest {max(tally.seconds):.2f} s"
    )
    print(
        f"{1000 * (cpu_seconds(pid) - before) / sum(tally.statuses.values()):.2f} ms CPU an answer, encoding included"
    )


def main() -> None:
    """Measure the transports, then many connections."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--calls", type=int, default=500)
    options = parser.parse_args()
    print(f"{machine()}; {versions()}")
    cpu_of_calls(options.calls)
    with tempfile.TemporaryDirectory() as folder:
        server = HttpServer(folder)
        server.until_ready()
        asyncio.run(load(server, options.connections, options.seconds))
        print(f"after it: {resident_memory(server.process.pid) / 1e6:.0f} MB")
        server.end()


if __name__ == "__main__":
    main()
