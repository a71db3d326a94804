"""The long rounds of ``make harden``: hostile messages, kills, faults and random inputs; counts what was done.

    python tests/harden.py

Ends with status 1 where a round failed. Each test there checks itself that nothing is lost.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

KILLS = 200

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")

ROUNDS: dict[str, tuple[str, ...]] = {
    "kills of relays and engines": (
        sys.executable,
        str(HERE.parent / "benchmarks" / "sessions.py"),
        "--kills",
        str(KILLS),
    ),
    "mixed load of four clients": (
        sys.executable,
        str(HERE.parent / "benchmarks" / "soak.py"),
        "--minutes",
        "9",  # of three, two are the warm-up
        "--no-cache",
    ),
    "long forms of tests": (*PYTEST, "-m", "harden", "-n", "2", "--dist", "worksteal", str(HERE)),
    "random inputs, writes and messages": (
        *(*PYTEST, "-n", "2", "--dist", "worksteal"),
        *(str(HERE / f"test_{name}.py") for name in ("store_machine", "cache_machine", "background_machine")),
        *(str(HERE / f"test_{name}.py") for name in ("relay_machine", "damaged_pages", "fuzz_parsers", "fuzz")),
    ),
}

_LOST = re.compile(r"(\d+) calls unanswered, (\d+) of ([\d,]+) acknowledged writes lost")
_PASSED = re.compile(r"(\d+) passed")


def run(name: str, command: tuple[str, ...]) -> tuple[bool, str]:
    """Run a round; whether it went well, and what it wrote."""
    began = time.monotonic()
    variables = {**os.environ, "MCP_EMBEDDINGS_TEST_ROUNDS": "long", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    written = []
    with subprocess.Popen(command, env=variables, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            written.append(line)
            sys.stdout.write(line)
    sys.stdout.write(f"== {name}: status {process.returncode}, {(time.monotonic() - began) / 60:.1f} min\n")
    return process.returncode == 0, "".join(written)


def main() -> int:
    """Run all rounds, and print what was counted."""
    outcomes = [run(name, command) for name, command in ROUNDS.items()]
    said = "".join(output for _, output in outcomes)
    well = all(outcome for outcome, _ in outcomes)
    found = _LOST.search(said)
    unanswered, lost, writes = found.groups() if found else ("?", "?", "?")
    well = well and (unanswered, lost) == ("0", "0")
    tests = sum(int(count) for count in _PASSED.findall(said))
    sys.stdout.write(
        f"{tests} long tests passed; {KILLS} kills of relays and engines; {writes} acknowledged writes, lost: {lost}; "
        f"calls unanswered: {unanswered}\n"
    )
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
