"""The Agent Skill: every name in it exists, its commands run, and it fits the specification."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import mcp_server_embeddings
from mcp_server_embeddings.cli.commands import main_parser
from mcp_server_embeddings.cli.main import main
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.tools.declaration import declared_tools
from mcp_server_embeddings.vectors.calibration import Band
from wire import PATIENCE, PROGRAM, client_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SKILL = Path(mcp_server_embeddings.__file__).parent / "data" / "skill" / "embeddings" / "SKILL.md"
TEXT = SKILL.read_text(encoding="utf-8")
ROWS = re.findall(r"^\| [^|]+ \| `(\w+)` \| `(.+?)` \|$", TEXT, re.MULTILINE)


def names(schema: object) -> set[str]:
    """The names of all properties in a schema."""
    if isinstance(schema, list):
        return set().union(*map(names, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())) | set().union(*map(names, schema.values()))


def test_it_is_an_agent_skill() -> None:
    linted = subprocess.run(
        [Path(sys.executable).with_name("skillsaw"), "lint", "--strict", "--no-custom-rules", str(SKILL.parent)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout
    assert "Skills:    1" in linted.stdout


def test_it_costs_an_agent_less_than_a_thousand_tokens_and_its_description_a_hundred() -> None:
    front, _, body = TEXT.removeprefix("---\n").partition("\n---\n")
    description = re.search(r"^description: (.*)$", front, re.MULTILINE)
    assert description is not None
    assert len(description[1]) < 400
    assert len(body) < 3500


def test_the_command_prints_it() -> None:
    printed = subprocess.run(
        [*PROGRAM, "skill"], env=client_environment(), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert printed.stdout == TEXT


def test_it_tells_when_to_call_every_tool() -> None:
    assert sorted(tool for tool, _ in ROWS) == sorted(declared_tools())


def test_every_command_in_it_is_that_of_its_tool() -> None:
    for tool, command in ROWS:
        program, name, *_ = shlex.split(command)
        assert program == DISTRIBUTION
        own = {"collection_add": "index", "collection_remove": "remove"}.get(tool, tool)
        assert name == own
        assert name in main_parser().commands


def test_every_parameter_field_and_option_in_it_exists() -> None:
    tools = declared_tools().values()
    parameters = set().union(*(tool.arguments.model_fields for tool in tools))
    fields = set().union(*(names(tool.result.model_json_schema()) for tool in tools))
    known = {*declared_tools(), *parameters, *fields, *get_args(Band), "embeddings", "running"}
    named = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert named - known == set()
    assert {"source", "save_as", "band", "differs", "no_match"} <= named
    assert set(re.findall(r"`(--[a-z-]+)`", TEXT)) == {"--allow-dir", "--json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what the examples name."""
    for table in (ROOT / "examples" / "data").iterdir():
        shutil.copy(table, tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "opening.md").write_text(
        "# Shop\n\nWe open at nine o'clock. Closed on Sunday. Ring the bell after five.\n", encoding="utf-8"
    )
    return tmp_path


@pytest.mark.usefixtures("warm_commands")
def test_its_commands_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    for _, command in ROWS:
        status = main([*shlex.split(command)[1:], "--data-dir", str(folder / "data")])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        assert command.split()[1] != "read" or "We open at nine" in printed.out
    assert {"labelled.csv", "vectors.npy"} <= {path.name for path in folder.iterdir()}
