"""Scripts as processes of their own, and a disk that they fill."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wire import PATIENCE, client_environment


def run(script: str, *arguments: str) -> str:
    """A script's output."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env=client_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[int]:
    """Make ``folder`` a disk of that size; where that is not allowed, gives the limit of one file instead."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    permitted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield 0 if permitted else megabytes * 1_000_000
    finally:
        if permitted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
