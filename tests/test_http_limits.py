"""How much the HTTP server takes on, and what it answers to more."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from http_server import META, HttpServer
from mcp_server_embeddings.mcp_layer.http.limits import (
    MAX_BODIES_BYTES,
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    MAX_REQUESTS,
    MAX_STREAMS,
    TENANT_STREAMS,
    RequestRate,
)
from mcp_server_embeddings.mcp_layer.http.serving import DRAIN_SECONDS
from mcp_server_embeddings.mcp_layer.http.tenants import MAX_SESSIONS
from mcp_server_embeddings.mcp_layer.http.tokens import Entry
from readme import HTTP_PAGE
from test_http_tokens import write_tokens
from waiting import wait_until

LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
BEGUN = {"Content-Length": str(len(LIST))}


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[HttpServer]:
    with HttpServer(data_dir) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("limits") / "tokens.toml"
    names = {"one": "concurrency = 1", "few": "rate = 3", "many": ""}
    made = {name: f"Bearer {token}" for name, token in write_tokens(path, **names).items()}
    return {"file": str(path), **made}


@pytest.fixture(scope="module")
def guarded(tokens: dict[str, str], data_dir: Path) -> Iterator[HttpServer]:
    with HttpServer(data_dir, "--tokens", tokens["file"]) as server:
        yield server


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer: status, headers in lower case, the body so far."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        assert part, received
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body


@pytest.mark.parametrize("headers", [{"Content-Length": str(MAX_BODY_BYTES + 1)}, {"Transfer-Encoding": "chunked"}])
def test_a_body_over_the_limit_is_refused(server: HttpServer, headers: dict[str, str]) -> None:
    with server.connect(b"", headers) as connection:
        if "Transfer-Encoding" in headers:
            connection.sendall(b"%x\r\n" % (MAX_BODY_BYTES + 1) + b" " * (MAX_BODY_BYTES + 1) + b"\r\n")
        assert answer(connection)[0] == 413


def test_two_million_characters_fit_into_a_body(server: HttpServer) -> None:
    refused = server.call("embed", {"texts": ["a" * 2_000_001]})
    assert "2,000,000" in refused["content"][0]["text"]


def test_one_request_too_many_of_a_token_is_told_to_come_again(guarded: HttpServer, tokens: dict[str, str]) -> None:
    with guarded.connect(b"", {**BEGUN, "Authorization": tokens["one"]}) as first:
        sent = {"Authorization": tokens["one"]}
        wait_until(lambda: guarded.post("tools/list", headers=sent).status_code == 429, "the first is in progress")
        refused = guarded.post("tools/list", headers=sent)
        assert refused.headers["retry-after"] == "1"
        assert refused.json() == {
            "error": "rate_limited",
            "error_description": "this token has 1 requests in progress, its limit",
        }
        assert guarded.post("tools/list", headers={"Authorization": tokens["many"]}).status_code == 200
        first.sendall(LIST)
        assert answer(first)[0] == 200
    wait_until(lambda: guarded.post("tools/list", headers=sent).status_code == 200, "the next is served")


def test_more_requests_a_minute_than_a_token_may_send_are_refused(guarded: HttpServer, tokens: dict[str, str]) -> None:
    answers = [guarded.post("tools/list", headers={"Authorization": tokens["few"]}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 20


def test_what_may_be_sent_comes_back_steadily() -> None:
    rate = RequestRate(60_000)
    assert [rate.take() for _ in range(60_000)] == [0] * 60_000
    seconds = [rate.take() for _ in range(1_000)]
    assert all(0 <= waits <= 0.001 for waits in seconds)


def test_one_stream_too_many_of_a_token_is_refused(guarded: HttpServer, tokens: dict[str, str]) -> None:
    listen: dict[str, Any] = {"_meta": META, "notifications": {"resourcesListChanged": True}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": listen}).encode()
    headers = {
        "Authorization": tokens["many"],
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "subscriptions/listen",
        "Content-Length": str(len(body)),
    }
    with ExitStack() as stack:
        streams = [stack.enter_context(guarded.connect(body, headers)) for _ in range(TENANT_STREAMS)]
        assert [answer(stream)[0] for stream in streams] == [200] * TENANT_STREAMS
        with guarded.connect(body, headers) as one_more:
            status, said, _ = answer(one_more)
            assert (status, said["retry-after"]) == (429, "1")
        assert guarded.post("tools/list", headers={"Authorization": tokens["many"]}).status_code == 200


def test_more_requests_than_the_server_can_serve_are_refused_and_the_others_answered(server: HttpServer) -> None:
    with ExitStack() as stack:
        begun = [stack.enter_context(server.connect(b"", BEGUN)) for _ in range(MAX_REQUESTS)]
        wait_until(lambda: server.metric("requests_in_progress") == MAX_REQUESTS, "all are in progress")
        refused = server.post("tools/list")
        assert refused.headers["retry-after"] == "1"
        assert refused.json() == {"error": "unavailable", "error_description": "the server is busy"}
        for connection in begun:
            connection.sendall(LIST)
        assert [answer(connection)[0] for connection in begun] == [200] * MAX_REQUESTS
    assert server.post("tools/list").status_code == 200


def test_bodies_that_take_too_much_memory_together_are_refused(server: HttpServer) -> None:
    with ExitStack() as stack:
        most = MAX_BODIES_BYTES // MAX_BODY_BYTES
        for _ in range(most):
            stack.enter_context(server.connect(b"", {"Content-Length": str(MAX_BODY_BYTES)}))
        wait_until(lambda: server.metric("requests_in_progress") == most, "no memory is left for bodies")
        assert "memory" in server.post("tools/list").text
    wait_until(lambda: server.post("tools/list").status_code == 200, "the memory is free again")


def test_a_call_of_the_stateless_era_ends_with_its_connection(server: HttpServer) -> None:
    def done() -> dict[str, int]:
        found: dict[str, int] = server.call("status", {})["structuredContent"]["queue"]
        return found

    texts = [f"{number} " + "river letter court signal " * 30 for number in range(2_000)]
    params = {"name": "deduplicate", "arguments": {"texts": texts}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "deduplicate"}
    headers["Content-Length"] = str(len(body))
    before = done()["pieces_done"]
    with server.connect(body, headers):
        wait_until(lambda: done()["pieces_done"] > before, "the call is being encoded", pause=0.05)
    wait_until(lambda: done()["calls_waiting"] == 0, "the call has ended", pause=0.05)
    assert done()["pieces_done"] - before < len(texts)


def test_the_documented_limits_are_those_of_the_code() -> None:
    page = HTTP_PAGE.read_text(encoding="utf-8")
    limits = [MAX_BODY_BYTES, MAX_BODIES_BYTES, MAX_REQUESTS, MAX_STREAMS, MAX_CONNECTIONS, TENANT_STREAMS]
    for limit in (*limits, MAX_SESSIONS, DRAIN_SECONDS, Entry(sha256="0" * 64).rate):
        assert f" {limit:,} " in page
