"""A new user, from the README alone: installs the package, adds it to Claude Code, and has a CSV file labelled."""

import csv
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local_index import LocalIndex
from mcp_server_embeddings.program import DISTRIBUTION
from messages_api import CLAUDE_CODE, PREFIX, serving, tool_results
from scripts import output
from test_clients import run_node
from wire import client_environment

pytestmark = pytest.mark.slow

LABELS = {
    "delivery": "when the card comes",
    "payment": "a wrong, double or unknown charge",
    "PIN": "the secret number of a card",
    "cash": "cash machines and withdrawals",
}
TURNS: list[dict[str, dict[str, Any]]] = [
    {"status": {}},
    {"classify": {"source": "tickets.csv#message", "labels": LABELS, "top": 3, "save_as": "labelled.csv"}},
]
FINAL_TEXT = "labelled.csv is there."


@dataclass(frozen=True, slots=True)
class User:
    """A home with the tickets in it, and the installed program."""

    home: Path
    program: Path

    def run(self, *arguments: str) -> str:
        """What a command prints."""
        return output([self.program, *arguments], client_environment(HOME=str(self.home)), self.home)


@pytest.fixture(scope="module")
def user(index: LocalIndex, tmp_path_factory: pytest.TempPathFactory) -> User:
    """Who has done the first step of docs/installation.md."""
    home = tmp_path_factory.mktemp("user")
    shutil.copy(Path(__file__).parents[1] / "examples" / "data" / "tickets.csv", home)
    programs = {"UV_TOOL_BIN_DIR": str(home / "bin"), "UV_TOOL_DIR": str(home / "tools")}
    output(["uv", "tool", "install", "--quiet", DISTRIBUTION], index.environment | programs)
    return User(home, home / "bin" / DISTRIBUTION)


@pytest.fixture(scope="module")
def received(user: User) -> list[dict[str, Any]]:
    """The requests that the model of Claude Code got, whose configuration is only what ``install`` wrote."""
    user.run("install", "claude-code", "--yes", "--allow-dir", str(user.home), "--output-dir", str(user.home))
    with serving(TURNS, FINAL_TEXT) as model:
        ended = run_node(
            str(CLAUDE_CODE),
            "--no-session-persistence",
            "--print",
            "Sort the tickets of tickets.csv into delivery, payment, PIN and cash; write them to labelled.csv.",
            "--allowedTools",
            *(PREFIX + name for turn in TURNS for name in turn),
            folder=user.home,
            HOME=str(user.home),
            **model.variables(),
        )
    assert (ended.returncode, ended.stdout.strip()) == (0, FINAL_TEXT), ended.stdout + ended.stderr
    return model.requests


def test_what_install_would_write_is_shown_and_not_written(user: User, tmp_path: Path) -> None:
    shown = replace(user, home=tmp_path).run("install", "claude-code", "--print")

    assert str(user.program) in shown
    assert not (tmp_path / ".claude.json").exists()


def test_the_model_reads_a_small_answer_and_none_of_the_rows(user: User, received: list[dict[str, Any]]) -> None:
    asked, told_status, told_labels = received
    assert {PREFIX + name for turn in TURNS for name in turn} <= {tool["name"] for tool in asked["tools"]}
    assert str(user.home) in tool_results(told_status)["status"]["content"]

    result = tool_results(told_labels)["classify"]
    assert "is_error" not in result
    answer = json.loads(result["content"])
    assert sum(answer["counts"].values()) == 16
    assert answer["file"]["rows"] == 16
    assert [doubt["id"] for doubt in answer["check"]] == ["T109", "T115", "T114"]
    rows = rows_of(user.home / "tickets.csv")
    unseen = [row["message"] for row in rows if row["id"] not in {"T109", "T115", "T114"}]
    assert not [message for message in unseen if message in json.dumps(told_labels)]


def test_the_file_has_the_rows_of_the_table_and_their_labels(user: User, received: list[dict[str, Any]]) -> None:
    answer = json.loads(tool_results(received[-1])["classify"]["content"])
    tickets, labelled = rows_of(user.home / "tickets.csv"), rows_of(user.home / "labelled.csv")

    assert [{name: row[name] for name in tickets[0]} for row in labelled] == tickets
    assert {row["id"]: row["label"] for row in labelled} == {
        ticket: label for label, ids in answer["labels"].items() for ticket in ids
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
