"""Measure each tool with 2,000 texts whose vectors are cached, including arithmetic and transport.

    python benchmarks/toolset.py

Wall seconds through a real server over stdio, in raw JSON-RPC: the first call of each tool in the process, which
includes imports, and the median of five more, interleaved over the tools. Target: ``cluster`` within 2 s.
"""

import statistics
import sys
from pathlib import Path

from machine import machine, versions
from server_process import OURS, MeasuredServer

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from corpus import sentences

TEXTS = sentences(2000)
CALLS: dict[str, dict[str, object]] = {
    "similarity": {"left": TEXTS},
    "search": {"query": "a lost bicycle", "texts": TEXTS},
    "classify": {"texts": TEXTS[:1990], "labels": ["lost and found", "buying and selling", "repair work"]},
    "cluster": {"texts": TEXTS},
    "deduplicate": {"texts": TEXTS},
    "align": {"left": TEXTS[:1000], "right": TEXTS[1000:]},
    "condense": {"texts": TEXTS, "max_tokens": 1000},
}
ROUNDS = 5


def main() -> None:
    """Print the seconds of each tool."""
    print(machine(), versions(), sep="\n")
    server = MeasuredServer(OURS)
    server.call("cluster", texts=TEXTS)
    server.call("search", query="a lost bicycle", texts=TEXTS)
    first = {tool: server.call(tool, **arguments) for tool, arguments in CALLS.items()}
    repeated: dict[str, list[float]] = {tool: [] for tool in CALLS}
    for _ in range(ROUNDS):
        for tool, arguments in CALLS.items():
            repeated[tool].append(server.call(tool, **arguments))
    server.end()
    print(f"{'tool':12} {'first':>8} {'median':>8}")
    for tool in CALLS:
        print(f"{tool:12} {first[tool]:7.3f}s {statistics.median(repeated[tool]):7.3f}s")


if __name__ == "__main__":
    main()
