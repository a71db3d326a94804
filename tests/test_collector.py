"""Commands run with the garbage collector on: parsers leave cycles, 1.5 MB a PDF."""

from pathlib import Path

import pytest

from mcp_server_embeddings.cli.commands import main_parser
from scripts import run

_SCRIPT = """
import gc, sys
gc.disable()  # as __main__ does
from mcp_server_embeddings.cli.main import main
status = main(sys.argv[1:])
print(f"\\nended {status}, collector {gc.isenabled()}, frozen {gc.get_freeze_count() > 0}")
"""


OPERANDS = {
    "index": ("missing", "{folder}"),
    "search": ("missing", "a query"),
    "read": ("missing", "an id"),
    "classify": ("missing",),
    "cluster": ("missing",),
    "deduplicate": ("missing",),
    "align": ("missing", "{folder}"),
    "condense": ("missing",),
    "similarity": ("missing", "{folder}"),
    "embed": ("missing",),
    "status": (),
    "view": ("missing", "--no-open"),
    "remove": ("missing", "--all"),
    "eval": ("missing",),
    "collections": (),
    "export": ("missing", "{folder}"),
    "import": ("missing", "{folder}"),
    "reindex": ("missing",),
    "pull": ("{folder}",),
    "compile": ("{folder}",),
    "models": (),
    "token": ("alice",),
    "completion": ("fish",),
    "skill": (),
    "doctor": ("--model", "{folder}", "--engine-process", "own"),
    "install": ("cursor", "--print"),
    "uninstall": ("cursor",),
}
"""Of each command; most end at once, since there is no such collection, model or file."""


def test_the_table_of_this_file_has_every_command() -> None:
    assert {"serve", "engine", *OPERANDS} == set(main_parser().commands)


@pytest.mark.parametrize("name", OPERANDS)
def test_every_command_runs_with_the_collector_on(name: str, tmp_path: Path) -> None:
    operands = [operand.format(folder=tmp_path / "missing") for operand in OPERANDS[name]]
    last = run(_SCRIPT, name, *operands, "--data-dir", str(tmp_path)).splitlines()[-1]
    assert last in {f"ended {status}, collector True, frozen True" for status in (0, 1, 2)}
