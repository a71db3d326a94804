"""An installation over the network into an empty folder, by the page's own commands: ``make harden``."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import uv

from mcp_server_embeddings.program import DISTRIBUTION
from test_installation import documented
from wire import PATIENCE

pytestmark = pytest.mark.slow

SECONDS_TO_FIRST_ANSWER = 30
MEGABYTES = 700


def offline() -> list[str]:
    """What runs a command in a network of its own without any way out; nothing where the system has none."""
    command = ["unshare", "--map-root-user", "--net"]
    permitted = shutil.which("unshare") and subprocess.run([*command, "true"], check=False).returncode == 0
    return command if permitted else []


@pytest.mark.harden
def test_the_slim_way_downloads_little_and_answers_soon_without_a_network(wheel: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join((str(Path(uv.find_uv_bin()).parent), os.environ["PATH"])),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_TOOL_DIR": str(tmp_path / "tools"),
    }
    commands = [
        line.replace(f"install {DISTRIBUTION}", f"install {wheel}") for line in documented("Without PyTorch")[:2]
    ]
    subprocess.run(
        ["bash", "-e", "-c", "\n".join(commands)], env=environment, cwd=tmp_path, check=True, timeout=10 * PATIENCE
    )
    size = sum(path.stat().st_size for path in (tmp_path / "tools").rglob("*") if not path.is_symlink()) / 1e6
    assert not list((tmp_path / "tools").rglob("site-packages/torch"))
    assert size < MEGABYTES
    began = time.monotonic()
    answer = subprocess.run(
        [
            *offline(),
            str(tmp_path / "bin" / DISTRIBUTION),
            "similarity",
            "--left",
            "Apple",
            "--right",
            "Orange",
            "--json",
        ],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    seconds = time.monotonic() - began
    assert "0.3726" in answer.stdout
    assert seconds < SECONDS_TO_FIRST_ANSWER
