"""The entry of the MCP registry says what the project declares, in the registry's form."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mcp_server_embeddings.program import DISTRIBUTION
from server_json import SERVER_JSON, server_json
from wire import PATIENCE

pytestmark = pytest.mark.slow

ROOT = SERVER_JSON.parent


def test_the_entry_is_what_the_project_declares() -> None:
    assert SERVER_JSON.read_text(encoding="utf-8") == server_json()


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    """skillsaw has the schemas and the rules of the registry in it, so it asks no network."""
    rules = ["--rule", "mcp-registry-server-json-valid", "--rule", "mcp-registry-version-semver"]
    program = str(Path(sys.executable).with_name("skillsaw"))
    return subprocess.run(
        [program, "lint", "--strict", "--type", "mcp-registry", *rules, str(folder)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_registry_would_take_the_entry(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(server_json(), encoding="utf-8")
    linted = lint(tmp_path)
    assert linted.returncode == 0, linted.stdout
    assert "Rules run: 2" in linted.stdout


def test_the_check_finds_an_entry_that_the_registry_would_refuse(tmp_path: Path) -> None:
    entry = json.loads(server_json())
    (tmp_path / "server.json").write_text(json.dumps({**entry, "version": "latest"}), encoding="utf-8")
    assert lint(tmp_path).returncode != 0


def test_uvx_finds_the_program_by_the_name_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert json.loads(server_json())["packages"][0]["identifier"] == project["name"] == DISTRIBUTION
    assert project["name"] in project["scripts"]
