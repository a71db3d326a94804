"""Compare the CPU time from spawn to the answer of ``initialize`` with that of a bare MCPServer with one tool.

    python benchmarks/handshake.py [REPETITIONS]

Both programs are spawned in turn and killed as soon as the answer is read. The times are the kernel's accounting of
each child process. Target: a ratio of at most 1.15.
"""

import json
import os
import statistics
import subprocess
import sys
import time

from machine import machine, versions
from server_process import INITIALIZE

BARE = """
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b
server.run()
"""
PROGRAMS = {
    "bare MCPServer": [sys.executable, "-c", BARE],
    "mcp-server-embeddings": [sys.executable, "-m", "mcp_server_embeddings", "--engine-process", "own"],
}
REQUEST = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}


def handshake(command: list[str]) -> tuple[float, float]:
    """Return the wall and CPU seconds of one start."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(REQUEST).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        wall = time.perf_counter() - began
        process.kill()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = -9
    return wall, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the medians of both programs and their ratio."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(machine(), versions(), sep="\n")
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for repetition in range(repetitions + 1):
        for name, command in PROGRAMS.items():
            sample = handshake(command)
            if repetition:  # the first repetition fills the file cache
                samples[name].append(sample)
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in samples.items()
    }
    for name, (wall, cpu) in medians.items():
        print(f"{name:24} wall {wall:.3f} s  CPU {cpu:.3f} s")
    bare, ours = medians.values()
    print(f"ratio: wall {ours[0] / bare[0]:.2f}, CPU {ours[1] / bare[1]:.2f}")


if __name__ == "__main__":
    main()
