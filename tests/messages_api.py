"""A local server of Anthropic's Messages API: plays a scripted model for Claude Code, and records the requests."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from test_clients import CLIENTS
from wire import PATIENCE

CLAUDE_CODE = CLIENTS / "node_modules" / "@anthropic-ai" / "claude-code" / "cli.js"
"""Version 2.1.87. From 2.1.89 it leaves out the tools of a server that is not connected within 5 seconds, which happens
on a busy machine; from 2.1.113 it is a native program instead of a script.
"""

PREFIX = "mcp__embeddings__"
"""Prefix of our tools' names for a server that the client's configuration calls ``embeddings``."""


class Model(ThreadingHTTPServer):
    """A model that calls the tools of each turn, by name, with these arguments, and then ends with a text.

    It is also the client's proxy, and refuses everything: what the client fetches in spite of its settings stays here.
    """

    def __init__(self, turns: Sequence[Mapping[str, dict[str, Any]]], final_text: str) -> None:
        super().__init__(("127.0.0.1", 0), Turn)
        self.turns = turns
        self.final_text = final_text
        self.requests: list[dict[str, Any]] = []

    def variables(self) -> dict[str, str]:
        """Return variables that make Claude Code use this model, and nothing else on the network."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "made-up",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "MCP_TIMEOUT": str(int(1_000 * PATIENCE)),
            "HTTPS_PROXY": url,
            "NO_PROXY": "127.0.0.1",
        }

    def events(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of the model's next turn."""
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        final = turn == len(self.turns)
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": f"msg_{turn}", "type": "message", "role": "assistant", "model": request["model"]}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        yield {"type": "message_start", "message": message}
        blocks = final_block(self.final_text) if final else tool_blocks(self.turns[turn])
        for index, (block, delta) in enumerate(blocks):
            yield {"type": "content_block_start", "index": index, "content_block": block}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        stop = {"stop_reason": "end_turn" if final else "tool_use", "stop_sequence": None}
        yield {"type": "message_delta", "delta": stop, "usage": usage}
        yield {"type": "message_stop"}


class Turn(BaseHTTPRequestHandler):
    """Answers a request with a stream of events; the base class refuses every method except POST."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Model)
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in self.server.events(request):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())


def tool_blocks(calls: Mapping[str, dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield a block and its delta for each call."""
    for name, arguments in calls.items():
        block = {"type": "tool_use", "id": f"toolu_{name}", "name": PREFIX + name, "input": {}}
        yield block, {"type": "input_json_delta", "partial_json": json.dumps(arguments)}


def final_block(text: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the final text as a block and its delta."""
    yield {"type": "text", "text": ""}, {"type": "text_delta", "text": text}


def tool_results(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tool results in the last message of a request, by tool."""
    blocks = request["messages"][-1]["content"]
    return {block["tool_use_id"].removeprefix("toolu_"): block for block in blocks if block["type"] == "tool_result"}


@contextmanager
def serving(turns: Sequence[Mapping[str, dict[str, Any]]], final_text: str) -> Iterator[Model]:
    """Serve a model until the ``with`` block ends."""
    with Model(turns, final_text) as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            model.shutdown()
            thread.join()
