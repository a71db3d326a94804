"""Run the long rounds of ``make harden`` and count hostile messages, kills, faults, random inputs and losses.

    python tests/harden.py

Exits with status 1 if a round failed, something was lost, or a count is below its minimum. Tests report their counts
with pytest's ``record_property``.
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
    # The first three of the nine minutes are the warm-up.
    "mixed load of four clients": (str(BENCHMARKS / "soak.py"), "--minutes", "9", "--no-cache"),
    "long forms of tests, and tests of faults": (
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "harden or fault", "-n", "2", "--dist", "worksteal"),
        *("--durations", "25", str(HERE)),
    ),
}

MINIMUM = {
    "messages": 100_000,
    "answers": 75_000,
    "kills": 2 * KILLS,
    "faults": 1_500,
    "random inputs": 40_000,
    "guided inputs": 500_000,
    "acknowledged writes": 5_000,
}
"""Minimum of each count: a run below it did not exercise what it claims to."""

_SESSIONS = re.compile(
    r"(\d+) kills, .* (\d+) calls unanswered, (\d+) refused, (\d+) of ([\d,]+) acknowledged writes lost"
)


def run(name: str, arguments: tuple[str, ...], report: Path) -> tuple[bool, str]:
    """Run a round; return whether it succeeded, and its output."""
    began = time.monotonic()
    variables = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTEST_ADDOPTS": f"--junitxml={report}"}
    pipe, output = subprocess.PIPE, []
    with subprocess.Popen(
        [sys.executable, *arguments], env=variables, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            output.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
    sys.stdout.write(f"== {name}: status {process.returncode}, {(time.monotonic() - began) / 60:.1f} min\n")
    return process.returncode == 0, "".join(output)


def counts_of_tests(report: Path) -> Counter[str]:
    """Sum the counts that tests recorded, without those of skipped tests."""
    counts = Counter[str]()
    for test in ET.parse(report).iter("testcase"):
        if test.find("skipped") is None:
            counts["tests"] += 1
            for recorded in test.iter("property"):
                counts[recorded.attrib["name"]] += int(recorded.attrib["value"])
    return counts


def counts_of_sessions(output: str) -> Counter[str]:
    """Parse the counts of ``benchmarks/sessions.py --kills``; empty if it did not run to its end."""
    found = _SESSIONS.search(output)
    if not found:
        return Counter()
    names = ("kills", "calls unanswered", "calls refused", "writes lost", "acknowledged writes")
    return Counter({name: int(count.replace(",", "")) for name, count in zip(names, found.groups(), strict=True)})


def main() -> int:
    """Run all rounds and print the counts."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        outcomes = [run(name, arguments, report) for name, arguments in ROUNDS.items()]
        counts = counts_of_tests(report) if report.exists() else Counter[str]()
    counts += counts_of_sessions(outcomes[0][1])
    lost = counts["writes lost"] + counts["calls unanswered"] + counts["calls refused"]
    too_few = [name for name, minimum in MINIMUM.items() if counts[name] < minimum]
    for name in ("tests", *MINIMUM, "calls unanswered", "calls refused", "writes lost"):
        sys.stdout.write(f"{name}: {counts[name]:,}{f' (minimum: {MINIMUM[name]:,})' if name in too_few else ''}\n")
    failed = [name for name, (succeeded, _) in zip(ROUNDS, outcomes, strict=True) if not succeeded]
    sys.stdout.write(f"lost: {lost}; {(time.monotonic() - began) / 60:.0f} min")
    sys.stdout.write(f"; FAILED: {', '.join(failed)}\n" if failed else "\n")
    return 1 if failed or lost or too_few else 0


if __name__ == "__main__":
    sys.exit(main())
