"""Streamable HTTP: both eras of the protocol, and what may reach the server."""

import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp_types import ResourceListChangedNotification, ServerNotification

from calls import structured
from http_server import ACCEPTED, HttpServer
from mcp_server_embeddings.mcp_layer.http.addresses import listen
from mcp_server_embeddings.tools.declaration import declared_tools
from test_cli import refusal
from wire import PATIENCE

MODES = {"legacy": "2025-11-25", "2026-07-28": "2026-07-28"}
"""Of the SDK's client, and the revision it then speaks."""


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[HttpServer]:
    with HttpServer(data_dir, "--allowed-host", "team.example,proxy.example:8443") as server:
        yield server


@pytest.fixture(scope="module")
def stateful_server(data_dir: Path) -> Iterator[HttpServer]:
    with HttpServer(data_dir, "--stateful") as server:
        yield server


@pytest.mark.parametrize("mode", MODES)
def test_the_python_client_lists_calls_and_reads_in_both_eras(server: HttpServer, mode: str) -> None:
    async def session() -> None:
        async with server.client(mode) as client:
            await _use(client, MODES[mode])

    anyio.run(session)


def test_the_python_client_has_a_session_where_sessions_are_kept(stateful_server: HttpServer) -> None:
    async def session() -> None:
        async with stateful_server.client("legacy") as client:
            await _use(client, "2025-11-25")

    anyio.run(session)


async def _use(client: Client, protocol: str) -> None:
    assert [tool.name for tool in (await client.list_tools()).tools] == list(declared_tools())
    assert structured(await client.call_tool("status", {}))["protocol"] == protocol
    found = structured(await client.call_tool("similarity", {"left": ["Apple"], "right": ["Orange", "Lightning"]}))
    assert [pair["score"] for pair in found["pairs"]] == [0.4251, 0.3726]
    (guide,) = (await client.read_resource("embeddings://guide")).contents
    assert "related" in guide.model_dump_json()
    assert (await client.list_prompts()).prompts


def test_a_session_is_told_of_changed_collections(stateful_server: HttpServer) -> None:
    changed = anyio.Event()

    async def hear(message: ServerNotification | Exception) -> None:
        if isinstance(message, ResourceListChangedNotification):
            changed.set()

    async def session() -> None:
        async with stateful_server.client("legacy", message_handler=hear) as client:
            await client.list_resources()
            await client.call_tool("collection_add", {"collection": "told", "texts": ["one"]})
            with anyio.fail_after(PATIENCE):
                await changed.wait()
            await client.call_tool("collection_remove", {"collection": "told", "all": True})

    anyio.run(session)


def test_a_client_of_the_stateless_era_listens_for_changes(server: HttpServer) -> None:
    async def session() -> str:
        async with server.client("2026-07-28") as client, client.listen(resources_list_changed=True) as events:
            await client.call_tool("collection_add", {"collection": "heard", "texts": ["one"]})
            async for event in events:
                await client.call_tool("collection_remove", {"collection": "heard", "all": True})
                return type(event).__name__
        return "none"

    assert anyio.run(session) == "ResourcesListChanged"


def test_without_sessions_there_is_nothing_to_open_or_to_end(server: HttpServer) -> None:
    for method in ("GET", "DELETE"):
        answer = server.http.request(method, "/mcp", headers=ACCEPTED)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
    assert "mcp-session-id" not in server.post("tools/list").headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Host": "proxy.example"}, 421),
        ({"Host": "team.example"}, 200),
        ({"Host": "team.example:8080"}, 200),
        ({"Host": "proxy.example:8443"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://team.example"}, 200),
    ],
)
def test_only_known_hosts_and_origins_are_answered(server: HttpServer, headers: dict[str, str], status: int) -> None:
    assert server.post("tools/list", headers=headers).status_code == status
    assert server.post_modern("tools/list", headers=headers).status_code == status
    unknown = server.http.get("/nothing", headers=headers)
    assert unknown.status_code == (404 if status == 200 else status)


def test_an_unknown_host_is_not_in_the_log(server: HttpServer) -> None:
    server.post("tools/list", headers={"Host": "a-host-that-nobody-knows"})
    server.post("tools/list", headers={"Origin": "http://an-origin-that-nobody-knows"})
    assert "nobody-knows" not in server.log


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "build.example"])
def test_without_tokens_only_this_machine_is_served(host: str) -> None:
    assert refusal("serve", "--transport", "http", "--host", host) == (
        f"host {host!r} can be reached from other machines, and without tokens anyone there could read and write; "
        "give --tokens FILE, or listen on 127.0.0.1"
    )


def test_a_taken_port_ends_the_start_with_one_sentence(server: HttpServer) -> None:
    port = str(httpx2.URL(server.url).port)
    said = refusal("serve", "--transport", "http", "--port", port)
    assert said.startswith(f"cannot listen on '127.0.0.1', port {port} (")
    assert said.endswith("; give another --host or --port")


def test_a_url_is_no_allowed_host() -> None:
    said = refusal("serve", "--transport", "http", "--allowed-host", "https://team.example")
    assert said == "allowed-host 'https://team.example' is not a host; give a name such as 'embeddings.example.com'"


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
