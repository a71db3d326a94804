"""Commands run with the garbage collector on: parsers leave cycles, 1.5 MB a PDF."""

from pathlib import Path

import pytest

from mcp_server_embeddings.cli.commands import COMMANDS
from scripts import run

_SCRIPT = """
import gc, sys
gc.disable()  # as __main__ does
from mcp_server_embeddings.cli.main import main
status = main(sys.argv[1:])
print(f"\\nended {status}, collector {gc.isenabled()}, frozen {gc.get_freeze_count() > 0}")
"""


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"serve"}))
def test_every_command_runs_with_the_collector_on(name: str, tmp_path: Path) -> None:
    # Most of these end at once, since there is no such collection, model or file.
    operands = [str(tmp_path / "missing")] * (COMMANDS[name].least or COMMANDS[name].most or 0)
    if name in ("index", "search", "export", "import", "reindex"):
        operands[0] = "missing"
    last = run(_SCRIPT, name, *operands, "--data-dir", str(tmp_path)).splitlines()[-1]
    assert last in ("ended 0, collector True, frozen True", "ended 2, collector True, frozen True")
