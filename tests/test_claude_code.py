"""Claude Code with a server that it starts itself, and what its model gets: the model is played on the loopback."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_server_embeddings.mcp_layer.registry import published
from mcp_server_embeddings.mcp_layer.server import INSTRUCTIONS
from mcp_server_embeddings.tools.declaration import declared_tools
from messages_api import CLAUDE_CODE, PREFIX, serving, tool_results
from test_clients import COMPARED, run_node, settings
from wire import PROGRAM

pytestmark = pytest.mark.slow

CALLS: dict[str, dict[str, Any]] = {"similarity": COMPARED, "status": {}}
FINAL_TEXT = "Lightning is closer."

MOST_TOKENS = 25_000
"""Of one tool's answer; Claude Code refuses more. A token has at least one byte."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What Claude Code sent its model before and after the calls, and how a server serves."""

    asked: dict[str, Any]
    answered: dict[str, Any]
    engine_process: str


@pytest.fixture(scope="module")
def conversation(data_dir: Path, engine_process: str, tmp_path_factory: pytest.TempPathFactory) -> Conversation:
    """One conversation to its end, with the client's own tools off."""
    command, *arguments = PROGRAM
    server = {"command": command, "args": arguments, "env": settings(data_dir)}
    home = tmp_path_factory.mktemp("home")
    with serving([CALLS], FINAL_TEXT) as model:
        ended = run_node(
            str(CLAUDE_CODE),
            "--no-session-persistence",
            "--print",
            "Is an apple closer to an orange or to lightning?",
            "--mcp-config",
            json.dumps({"mcpServers": {"embeddings": server}}),
            "--strict-mcp-config",
            "--allowedTools",
            *(PREFIX + name for name in CALLS),
            "--tools",
            "",
            folder=home,
            HOME=str(home),
            **model.variables(),
        )
    assert (ended.returncode, ended.stdout.strip()) == (0, FINAL_TEXT), ended.stdout + ended.stderr
    asked, answered = model.requests
    return Conversation(asked, answered, engine_process)


def test_claude_code_offers_its_model_every_tool_whole(conversation: Conversation) -> None:
    """It cuts descriptions and instructions that are too long for it."""
    offered = {tool["name"]: tool for tool in conversation.asked["tools"]}
    ours = {PREFIX + tool.name: published(tool) for tool in declared_tools().values()}

    assert offered.keys() == ours.keys()
    for name, tool in ours.items():
        assert offered[name]["description"] == tool.description
        assert offered[name]["input_schema"] == tool.input_schema
    assert any(INSTRUCTIONS in block["text"] for block in conversation.asked["system"])


def test_the_model_of_claude_code_gets_the_scores_as_compact_json(conversation: Conversation) -> None:
    result = tool_results(conversation.answered)["similarity"]
    text = result["content"]
    answer = json.loads(text)

    assert "is_error" not in result
    assert answer["scores"] == [[0.3726, 0.4251]]
    assert [pair["score"] for pair in answer["pairs"]] == [0.4251, 0.3726]
    assert text == json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    assert len(text.encode()) < MOST_TOKENS


def test_claude_code_is_served_by_the_process_of_its_configuration(conversation: Conversation) -> None:
    status = json.loads(tool_results(conversation.answered)["status"]["content"])

    serves = {"shared": "engine process ", "own": "process "}[conversation.engine_process]
    assert status["process"].startswith(serves)
    assert status["protocol"] == "2025-11-25"
