"""Random and coverage-guided changes of files, messages and arguments: what reads them ends well or refuses them."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import strategies as st

import fuzz_targets
from rounds import Record, Rounds
from wire import client_environment

TARGETS = fuzz_targets.targets()

SECONDS = 20
"""Of each target by atheris."""

DONE = re.compile(r"Done (\d+) runs")

PIECES = st.binary(max_size=4) | st.sampled_from(
    [b"[" * 300, b"\0", b"\xff", b"\r", b'"', b"\\ud83d", b"<", b"&a;", b"9" * 20]
)


def changed(seed: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    """A seed with pieces in the place of some bytes."""
    for place, length, piece in changes:
        start = int(place * len(seed))
        seed = seed[:start] + piece + seed[start + length :]
    return seed


CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), PIECES), min_size=1, max_size=4)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_read_or_refused(name: str, rounds: Rounds) -> None:
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)
    inputs = st.builds(changed, st.sampled_from(seeds), CHANGES)
    rounds.check_inputs(target, inputs, examples=10, seconds=10)


@pytest.mark.harden
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris exists for Python 3.11 on Linux; see the test above")
@pytest.mark.parametrize("name", TARGETS)
def test_inputs_that_reach_new_lines_are_read_or_refused(name: str, tmp_path: Path, record_property: Record) -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz_atheris.py")), name, str(SECONDS)]
    variables = client_environment(PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    finished = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, check=False, timeout=10 * SECONDS
    )
    said = finished.stderr.decode("utf-8", "replace")
    assert finished.returncode == 0, said[-3_000:]
    done = DONE.search(said)
    assert done, said[-3_000:]
    record_property("guided inputs", int(done[1]))
