"""Compare searches of a large collection by this checkout and another one, in turns.

    python benchmarks/stored.py million --folder FOLDER
    git worktree add /tmp/before HEAD~1
    python benchmarks/stored_before.py /tmp/before --folder FOLDER

Each checkout runs in one process. The output is the milliseconds of new queries, including encoding, and the number of
answers with the same hits and scores.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from machine import machine, versions
from stored import MODES, percentiles, texts

from mcp_server_embeddings.tools.retrieval import SearchMode

HERE = Path(__file__).resolve().parent.parent
WORKER = """
import json, sys, time
from pathlib import Path
import mcp_server_embeddings
from mcp_server_embeddings import Engine, Reader, Settings, Sources, open_store, search
print(mcp_server_embeddings.__file__, flush=True)
with Engine(Settings(data_dir=Path(sys.argv[1]), no_cache=True)) as engine:
    embedder, sources = engine.embedder(), Sources(open_store(engine.settings), Reader(()))
    search(embedder, "word3 word30", source="large", sources=sources)
    for line in sys.stdin:
        query, mode = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        found = search(embedder, query, source="large", mode=mode, top=10, sources=sources)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps([wall, cpu, [[hit.id, hit.score] for hit in found.hits]]), flush=True)
"""

Answer = tuple[float, float, list[tuple[str, float]]]
"""Wall seconds, processor seconds, hits with their scores."""


class Checkout:
    """A process of one of the two checkouts."""

    def __init__(self, root: Path, folder: Path) -> None:
        command = [sys.executable, "-P", "-c", WORKER, str(folder)]
        environment = os.environ | {"PYTHONPATH": str(root / "server")}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        assert self._process.stdout is not None
        used = Path(self._process.stdout.readline().strip())
        if not used.is_relative_to(root):
            raise SystemExit(f"the package in {used.parent} would be measured, not that of {root}")

    def search(self, query: str, mode: SearchMode) -> Answer:
        """Send a query and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([query, mode]) + "\n")
        self._process.stdin.flush()
        wall, cpu, hits = json.loads(self._process.stdout.readline())
        return wall, cpu, hits

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def compare(other: Path, folder: Path, queries: int) -> None:
    """Search with both checkouts in turn and print the comparison."""
    checkouts = {"before": Checkout(other, folder), "now": Checkout(HERE, folder)}
    turns = list(checkouts.items())
    answers: dict[tuple[SearchMode, str], list[Answer]] = {(mode, name): [] for mode in MODES for name in checkouts}
    for query in texts(queries, 5, 2):
        for mode in MODES:
            for name, checkout in turns:
                answers[mode, name].append(checkout.search(f"{query} {mode}", mode))
            turns.reverse()
    for checkout in checkouts.values():
        checkout.close()
    for kind, samples in answers.items():
        wall = percentiles([1_000 * sample[0] for sample in samples])
        cpu = percentiles([1_000 * sample[1] for sample in samples])
        print(f"{', '.join(kind)}: {wall}; processor time: {cpu}")
    for mode in MODES:
        pairs = zip(answers[mode, "before"], answers[mode, "now"], strict=True)
        print(f"{mode}: the same in {sum(old[2] == new[2] for old, new in pairs)} of {queries} searches")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--folder", type=Path, required=True, help="data folder of the million passages")
    parser.add_argument("--queries", type=int, default=60, help="number of queries of each mode")
    options = parser.parse_args()
    print(machine(), versions(), sep="\n")
    compare(options.other.resolve(), options.folder, options.queries)
