"""The long rounds of ``make harden``: hostile messages, kills, faults and random inputs; counts what was done.

    python tests/harden.py

Ends with status 1 where a round failed, something was lost, or less was done than is asked. Tests count by pytest's
``record_property``.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

HERE = Path(__file__).parent
BENCHMARKS = HERE.parent / "benchmarks"

KILLS = 200

ROUNDS: dict[str, tuple[str, ...]] = {
    "kills of relays and engines": (str(BENCHMARKS / "sessions.py"), "--kills", str(KILLS)),
    # Of the nine minutes, three are the warm-up.
    "mixed load of four clients": (str(BENCHMARKS / "soak.py"), "--minutes", "9", "--no-cache"),
    "long forms of tests, and tests of faults": (
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "harden or fault", "-n", "2", "--dist", "worksteal"),
        *("--durations", "25", str(HERE)),
    ),
}

LEAST = {
    "messages": 100_000,
    "answers": 75_000,
    "kills": 2 * KILLS,
    "faults": 1_500,
    "random inputs": 40_000,
    "guided inputs": 500_000,
    "acknowledged writes": 5_000,
}
"""Of each, fewer mean that a round did not do what it is for."""

_SESSIONS = re.compile(
    r"(\d+) kills, .* (\d+) calls unanswered, (\d+) refused, (\d+) of ([\d,]+) acknowledged writes lost"
)


def run(name: str, arguments: tuple[str, ...], report: Path) -> tuple[bool, str]:
    """Run a round; whether it went well, and what it wrote."""
    began = time.monotonic()
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTEST_ADDOPTS": f"--junitxml={report}"}
    pipe, written = subprocess.PIPE, []
    with subprocess.Popen(
        [sys.executable, *arguments], env=variables, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            written.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    sys.stdout.write(f"== {name}: status {process.returncode}, {(time.monotonic() - began) / 60:.1f} min\n")
    return process.returncode == 0, "".join(written)


def counts_of_tests(report: Path) -> Counter[str]:
    """What the tests that were not skipped recorded."""
    counts = Counter[str]()
    for test in ET.parse(report).iter("testcase"):
        if test.find("skipped") is None:
            counts["tests"] += 1
            for recorded in test.iter("property"):
                counts[recorded.attrib["name"]] += int(recorded.attrib["value"])
    return counts


def counts_of_sessions(said: str) -> Counter[str]:
    """What ``benchmarks/sessions.py --kills`` counted; nothing where it did not come to its end."""
    found = _SESSIONS.search(said)
    if not found:
        return Counter()
    names = ("kills", "calls unanswered", "calls refused", "writes lost", "acknowledged writes")
    return Counter({name: int(count.replace(",", "")) for name, count in zip(names, found.groups(), strict=True)})


def main() -> int:
    """Run all rounds, and print what was counted."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        outcomes = [run(name, arguments, report) for name, arguments in ROUNDS.items()]
        counts = counts_of_tests(report) if report.exists() else Counter[str]()
    counts += counts_of_sessions(outcomes[0][1])
    lost = counts["writes lost"] + counts["calls unanswered"] + counts["calls refused"]
    short = [name for name, least in LEAST.items() if counts[name] < least]
    for name in ("tests", *LEAST, "calls unanswered", "calls refused", "writes lost"):
        sys.stdout.write(f"{name}: {counts[name]:,}{f' (asked: {LEAST[name]:,})' if name in short else ''}\n")
    failed = [name for name, (well, _) in zip(ROUNDS, outcomes, strict=True) if not well]
    sys.stdout.write(f"lost: {lost}; {(time.monotonic() - began) / 60:.0f} min")
    sys.stdout.write(f"; FAILED: {', '.join(failed)}\n" if failed else "\n")
    return 1 if failed or lost or short else 0


if __name__ == "__main__":
    sys.exit(main())
