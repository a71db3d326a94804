"""What the operator of an HTTP server asks and sees: probes, metrics, logs, spans, and the end of the process."""

import json
import signal
from pathlib import Path

import pytest

from http_server import ACCEPTED, META, HttpServer
from scripts import run
from test_http_limits import BEGUN, LIST, answer
from waiting import wait_until
from wire import PATIENCE

SECRET = "kumquat"


def test_the_process_lives_at_once_and_is_ready_when_its_model_is_loaded(data_dir: Path) -> None:
    with HttpServer(data_dir) as server:
        alive = server.http.get("/healthz", headers={"Host": "10.1.2.3:8765"})
        assert (alive.status_code, alive.text) == (200, "ok\n")
        wait_until(lambda: server.http.get("/readyz").status_code == 200, "the model is loaded")
        assert server.http.get("/readyz").text == "ready\n"
        assert server.metric("model_ready") == 1


def test_a_model_that_cannot_be_loaded_is_never_ready(tmp_path: Path) -> None:
    with HttpServer(tmp_path, "--model", str(tmp_path / "none")) as server:
        wait_until(lambda: server.http.get("/readyz").text != "warming\n", "loading has failed")
        answer = server.http.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "failed\n")
        assert server.http.get("/healthz").status_code == 200


def test_metrics_and_log_hold_no_text(tmp_path: Path) -> None:
    with HttpServer(tmp_path, "--log-level", "debug") as server:
        texts = {"collection": "notes", "texts": {SECRET: f"the {SECRET} is ripe"}}
        server.call("collection_add", texts)
        server.call("search", {"source": "notes", "query": SECRET})
        server.call("embed", {"texts": [SECRET], SECRET: 1})
        server.post("tools/call", {"name": SECRET, "arguments": {}})
        server.post(SECRET, {SECRET: SECRET})
        server.post_modern(SECRET, {SECRET: SECRET})
        server.post_modern("tools/call", {"name": SECRET, "arguments": {SECRET: SECRET}})
        server.post_modern("resources/read", {"uri": f"embeddings://collections/notes/{SECRET}"})
        server.post("resources/read", {"uri": f"embeddings://{SECRET}"})
        for path in (f"/{SECRET}", f"/mcp?{SECRET}={SECRET}", f"/metrics?{SECRET}"):
            server.http.request(SECRET.upper(), path, headers={"X-Text": SECRET, "Origin": f"http://{SECRET}"})
            server.http.get(path, headers={"Authorization": f"Bearer {SECRET}"})
            server.http.post(path, content=SECRET.encode(), headers={"Content-Type": SECRET})
        metrics = server.http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=")
        assert SECRET not in metrics.text.lower()
        counted = 'mcp_embeddings_tool_calls_total{{name="local",outcome="{}",tool="{}"}} {}'
        assert counted.format("ok", "search", 1.0) in metrics.text
        assert counted.format("error", "embed", 1.0) in metrics.text
        assert counted.format("error", "unknown", 2.0) in metrics.text
        assert 'mcp_embeddings_requests_total{name="local",path="other",status="404"} 2.0' in metrics.text
        server.process.send_signal(signal.SIGTERM)
        server.finish()
        assert " /mcp: 200 in " in server.log
        assert SECRET not in server.log.lower()


SPANS = """
import sys, anyio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)

from pathlib import Path
from mcp import Client, MCPError
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.spans import TextFreeSpans
from mcp_server_embeddings.mcp_layer.server import build_server
from mcp_server_embeddings.store import open_store

async def main(server, mode):
    async with Client(server, mode=mode) as client:
        await client.call_tool("status", {})
        await client.call_tool("embed", {"texts": ["kumquat"], "kumquat": 1})
        for ask in (
            lambda: client.call_tool("kumquat", {"texts": "kumquat"}),
            lambda: client.read_resource("embeddings://kumquat"),
            lambda: client.get_prompt("kumquat"),
            lambda: client.complete({"type": "ref/prompt", "name": "kumquat"}, {"name": "kumquat", "value": "kumquat"}),
        ):
            try:
                await ask()
            except Exception as error:
                print("refused:", type(error).__name__, "kumquat" in str(error))

settings = Settings(data_dir=Path(sys.argv[1]))
server = build_server(Service(Engine(settings)), open_store(settings), settings)
server.middleware[:] = [TextFreeSpans(server.middleware[0], server)]
for mode in ("legacy", "2026-07-28"):
    anyio.run(main, server, mode)
for span in kept.get_finished_spans():
    if "client" not in str(span.kind).lower():
        print("span:", span.to_json(indent=None))
"""


def test_spans_name_tools_and_codes_and_hold_no_text(tmp_path: Path) -> None:
    printed = run(SPANS, str(tmp_path)).splitlines()
    spans = [line.removeprefix("span: ") for line in printed if line.startswith("span: ")]
    assert {"tools/call status", "tools/call embed", "tools/call"} <= {json.loads(span)["name"] for span in spans}
    assert any('"rpc.response.status_code": "-32602"' in span for span in spans)
    assert not any(SECRET in span for span in spans)
    assert "refused: MCPError True" in printed  # the caller is told


def test_a_signal_lets_requests_in_progress_be_answered_and_refuses_new_ones(data_dir: Path) -> None:
    with HttpServer(data_dir) as server, server.connect(b"", BEGUN) as begun:
        wait_until(lambda: server.http.get("/readyz").status_code == 200, "the model is loaded")
        wait_until(lambda: server.metric("requests_in_progress") == 1, "the request is admitted")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.http.get("/readyz").text == "draining\n", "the process drains")
        refused = server.post("tools/list")
        assert refused.status_code == 503
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
        assert server.http.get("/healthz").status_code == 200
        begun.sendall(LIST)
        assert answer(begun)[0] == 200
        assert server.finish() == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_streams_do_not_hold_up_the_end(number: signal.Signals, data_dir: Path) -> None:
    listen = {"_meta": META, "notifications": {"resourcesListChanged": True}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": listen}).encode()
    said = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
    with HttpServer(data_dir) as server, server.connect(body, {**said, "Content-Length": str(len(body))}) as stream:
        assert answer(stream)[0] == 200
        server.process.send_signal(number)
        assert server.process.wait(5) == 128 + number
        while stream.recv(4096):
            continue  # until the server has closed it
        assert "Error" not in server.log


def test_a_second_signal_ends_the_process_at_once(data_dir: Path) -> None:
    with HttpServer(data_dir) as server, server.connect(b"", BEGUN):
        wait_until(lambda: server.metric("requests_in_progress") == 1, "the request is admitted")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.http.get("/readyz").text == "draining\n", "the process drains")
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_an_answer_is_sent_at_once_so_that_a_killed_process_sent_all_of_it_or_nothing(data_dir: Path) -> None:
    """A proxy that was sent a head without a body can ask no other replica."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    with HttpServer(data_dir) as server, server.connect(b"", {"Content-Length": str(len(body))}) as connection:
        connection.sendall(body)
        for _ in range(20):
            head, _, content = connection.recv(10_000).partition(b"\r\n\r\n")
            (length,) = (line.split()[1] for line in head.lower().splitlines() if line.startswith(b"content-length:"))
            assert len(content) == int(length)
            lines = ["POST /mcp HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
            lines += [*(f"{name}: {value}" for name, value in ACCEPTED.items()), f"Content-Length: {len(body)}"]
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
