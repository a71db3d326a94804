"""Commands run with the garbage collector on: parsers leave cycles, 1.5 MB a PDF."""

import json
from pathlib import Path

import pytest

from mcp_server_embeddings.cli.commands import main_parser
from scripts import run

_SCRIPT = """
import gc, json, sys
from mcp_server_embeddings.cli.main import main
folder = sys.argv[2]
for name, operands in json.loads(sys.argv[1]).items():
    gc.unfreeze()
    gc.disable()  # as __main__ does
    status = main([name, *operands, "--data-dir", folder])
    print(f"\\nended {name} {status}, collector {gc.isenabled()}, frozen {gc.get_freeze_count() > 0}")
"""
"""All commands in one process: each would take a second to start."""


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


@pytest.mark.slow
def test_every_command_runs_with_the_collector_on(tmp_path: Path) -> None:
    given = {
        name: [operand.format(folder=tmp_path / "missing") for operand in operands]
        for name, operands in OPERANDS.items()
    }
    printed = run(_SCRIPT, json.dumps(given), str(tmp_path)).splitlines()
    ended = [line.removeprefix("ended ").partition(",") for line in printed if line.startswith("ended ")]
    assert [command.split()[0] for command, _, _ in ended] == list(OPERANDS)
    assert {command.split()[1] for command, _, _ in ended} <= {"0", "1", "2"}
    assert {state for _, _, state in ended} == {" collector True, frozen True"}
