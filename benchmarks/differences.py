"""Measure which pairs of sentences are flagged as changed, on the tuning and the reporting half of our own pairs.

    python benchmarks/differences.py [MODEL]

The tuning half has two batches. The second one was a held-out half at first (98.2 % of changes of number, negation and
verb flagged, 20.6 % of rewordings); after its errors had been examined, the present reporting half replaced it.

Targets on the reporting half: at least 90 % of the changes of number, negation and verb flagged, at most 20 % of the
rewordings. The output is the share flagged of each kind, the misjudged pairs, and the speed.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TypedDict

from mcp_server_embeddings import Engine, Settings
from mcp_server_embeddings.config import DEFAULT_MODEL
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.differences import CHANGED, differences, textual_differences

PAIRS = Path(__file__).parent.parent / "tests" / "data" / "differences.jsonl"
HALVES = ("tuning", "reporting")
CHANGES = ("number", "negation", "verb", "object")
"""Kinds of pairs whose meaning changed; the target holds for the first three."""


class Row(TypedDict):
    """A pair of sentences, the kind of change from left to right, and its half."""

    kind: str
    half: str
    language: str
    subject: str
    left: str
    right: str


def read_pairs(half: str) -> list[Row]:
    """Read one half of the pairs."""
    rows: list[Row] = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["half"] == half]


def flagged(embedder: Embedder, rows: list[Row]) -> list[bool]:
    """Return for each pair whether it is flagged as changed."""
    return [found.changed >= CHANGED for found in differences(embedder, [(row["left"], row["right"]) for row in rows])]


def main() -> None:
    """Print shares by kind, misjudged pairs and the speed."""
    with Engine(Settings(model=sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL)) as engine:
        embedder = engine.embedder()
        for half in HALVES:
            rows = read_pairs(half)
            flags = flagged(embedder, rows)
            kinds = Counter(row["kind"] for row in rows)
            flag_counts = Counter(row["kind"] for row, flag in zip(rows, flags, strict=True) if flag)
            print(f"{half}, {len(rows)} pairs, {embedder.identity().short}")
            for kind, pairs in kinds.items():
                print(f"  {kind:14} {flag_counts[kind]:3} of {pairs:3} flagged  {flag_counts[kind] / pairs:6.1%}")
            for name, members in (
                ("number, negation, verb", CHANGES[:3]),
                ("all changes", CHANGES),
                ("rewordings", sorted(kinds.keys() - set(CHANGES))),
            ):
                share = sum(flag_counts[kind] for kind in members) / sum(kinds[kind] for kind in members)
                print(f"  {name:24} {share:6.1%}")
            for row, flag in zip(rows, flags, strict=True):
                if flag != (row["kind"] in CHANGES):
                    print(f"  misjudged {row['kind']}: {row['left']} | {row['right']}")
    every = [(row["left"], row["right"]) for half in HALVES for row in read_pairs(half)] * 20
    start = time.perf_counter()
    for left, right in every:
        textual_differences(left, right)
    print(f"texts alone: {len(every) / (time.perf_counter() - start):,.0f} pairs a second")


if __name__ == "__main__":
    main()
