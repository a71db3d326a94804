"""The log of an engine process."""

import subprocess
import sys
from pathlib import Path

import pytest

from wire import PATIENCE, client_environment

WRITING = """
import logging, os, sys
from pathlib import Path
from mcp_server_embeddings.mcp_layer.session_logs import LogFile
logging.basicConfig(handlers=[LogFile(Path(sys.argv[1]))], format="%(message)s")
for number in range(40_000):
    logging.warning("record %d of many that are kept for a while and no longer", number)
os.write(2, b"native code\\n")
print("a print", flush=True)
"""


@pytest.mark.slow
def test_the_log_has_a_bounded_size_and_includes_printed_lines(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    command = [sys.executable, "-c", WRITING, str(path)]
    finished = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True, env=client_environment())
    assert finished.stdout + finished.stderr == b""
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["engine.log", "engine.log.1"]
    assert all(file.stat().st_size <= 1_000_100 for file in files)
    written = path.read_text(encoding="utf-8")
    assert written.endswith("record 39999 of many that are kept for a while and no longer\nnative code\na print\n")
