"""Run commands and scripts as separate processes, and make a small disk for them to fill."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from wire import PATIENCE, client_environment


def at_start(folder: Path, code: str) -> dict[str, str]:
    """Return variables that make the interpreters of new processes run this code before anything else."""
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def output(command: Sequence[str | Path], environment: Mapping[str, str], folder: Path | None = None) -> str:
    """Run a command that must succeed; return its output."""
    finished = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def run(script: str, *arguments: str) -> str:
    """Run a Python script that must succeed, with warnings as errors; return its output."""
    return output([sys.executable, "-W", "error", "-c", script, *arguments], client_environment())


def command_without(module: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the program as if a module were not installed."""
    code = f"import sys; sys.modules[{module!r}] = None; from mcp_server_embeddings.cli.main import main; "
    return subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main())", *arguments],
        env=client_environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[int]:
    """Make ``folder`` a disk of this size; gives 0, or where mounting is not allowed, a limit of bytes for one file."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    permitted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield 0 if permitted else megabytes * 1_000_000
    finally:
        if permitted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
