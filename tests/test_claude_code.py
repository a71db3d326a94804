"""Claude Code with a server that it starts itself, and what its model gets: the model is played on the loopback."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mcp_server_embeddings.mcp_layer.registry import published
from mcp_server_embeddings.mcp_layer.server import INSTRUCTIONS
from mcp_server_embeddings.tools.declaration import declared_tools
from test_clients import CLIENTS, COMPARED, run_node, settings
from wire import PATIENCE, PROGRAM

CLAUDE_CODE = CLIENTS / "node_modules" / "@anthropic-ai" / "claude-code" / "cli.js"
"""Version 2.1.87: from 2.1.89 it asks its model without the tools of a server that is not there within 5 seconds, which
a busy machine makes of any; from 2.1.113 it is a native program, and no longer a script."""

PREFIX = "mcp__embeddings__"
"""Of our tools' names, for a server that the client's configuration names ``embeddings``."""

CALLS: dict[str, dict[str, Any]] = {"similarity": COMPARED, "status": {}}
FINAL_TEXT = "Lightning is closer."

MOST_TOKENS = 25_000
"""Of one tool's answer; Claude Code refuses more. A token has at least one byte."""


class Model(ThreadingHTTPServer):
    """Plays the Messages API: calls the tools of ``CALLS``, then ends with ``FINAL_TEXT``; keeps what it was sent.

    It is the client's proxy too and refuses all: what the client fetches with everything turned off stays here as well.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Turn)
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Turn(BaseHTTPRequestHandler):
    """One request, answered as a stream; of any method but POST the base class says that it is not supported."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Model)
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in turn(request):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())


def turn(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of the model's turn."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"], "content": []}
    yield {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage}}
    final = bool(tool_results(request))
    for index, (block, delta) in enumerate(final_block() if final else tool_blocks()):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {"stop_reason": "end_turn" if final else "tool_use", "stop_sequence": None}
    yield {"type": "message_delta", "delta": stop, "usage": usage}
    yield {"type": "message_stop"}


def tool_blocks() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """A block and its delta for each call."""
    for name, arguments in CALLS.items():
        block = {"type": "tool_use", "id": f"toolu_{name}", "name": PREFIX + name, "input": {}}
        yield block, {"type": "input_json_delta", "partial_json": json.dumps(arguments)}


def final_block() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The final text as a block and its delta."""
    yield {"type": "text", "text": ""}, {"type": "text_delta", "text": FINAL_TEXT}


def tool_results(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results that end a request, by tool."""
    blocks = request["messages"][-1]["content"]
    return {block["tool_use_id"].removeprefix("toolu_"): block for block in blocks if block["type"] == "tool_result"}


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
    with Model() as model:
        serving = threading.Thread(target=model.serve_forever)
        serving.start()
        try:
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
                ANTHROPIC_BASE_URL=model.url,
                ANTHROPIC_API_KEY="made-up",
                CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
                DISABLE_TELEMETRY="1",
                MCP_TIMEOUT=str(int(1_000 * PATIENCE)),
                HTTPS_PROXY=model.url,
                NO_PROXY="127.0.0.1",
            )
        finally:
            model.shutdown()
            serving.join()
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
