"""Pages inside clients (MCP Apps): told only to clients that show them, and in a host page that speaks their bridge."""

import json
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp_types import CallToolResult, TextResourceContents

from browser import Seen, Shown, show
from calls import server
from mcp_server_embeddings.engine.engine import Engine

pytestmark = pytest.mark.slow

TICKETS = {
    "a": "My card has not arrived.",
    "b": "The new card still has not arrived.",
    "c": "How do I change my PIN?",
    "d": "How can I change the PIN?",
    "e": "I was charged twice.",
}
CALLS: dict[str, dict[str, Any]] = {
    "cluster": {"texts": TICKETS},
    "similarity": {"left": ["Apple"], "right": ["Orange", "Lightning"]},
    "align": {"left": ["Pay in 30 days."], "right": ["Pay within 60 days."]},
    "deduplicate": {"texts": TICKETS},
}

_HOST = """<!doctype html><html lang="en"><title>Host</title><script>
"use strict";
const heard = [];
const [page, result] = PASSED;
window.addEventListener("message", ({ source, data }) => {
  heard.push(data.method ?? "answer");
  const send = (message) => source.postMessage({ jsonrpc: "2.0", ...message }, "*");
  if (data.method === "ui/initialize") send({ id: data.id, result: {
    protocolVersion: data.params.protocolVersion, hostInfo: { name: "host", version: "1" },
    hostCapabilities: { updateModelContext: { text: {} } }, hostContext: { theme: "dark" },
  } });
  if (data.method === "ui/notifications/initialized") send({ method: "ui/notifications/tool-result", params: result });
  if (data.method === "ui/update-model-context") {
    heard.push(data.params.content[0].text);
    send({ id: data.id, result: {} });
  }
});
addEventListener("DOMContentLoaded", () => {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.title = "page";
  frame.width = 1000;
  frame.height = 700;
  frame.srcdoc = page;
  document.body.append(frame);
});
</script><body></body></html>"""


@pytest.fixture(scope="module")
def answers(engine: Engine) -> dict[str, CallToolResult]:
    """The answer of each tool that has a page, to a client that shows them."""

    async def main() -> dict[str, CallToolResult]:
        async with Client(server(engine), extensions=[_EXTENSION]) as client:
            return {tool: await client.call_tool(tool, arguments) for tool, arguments in CALLS.items()}

    return anyio.run(main)


_EXTENSION = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})


def pages_of(engine: Engine) -> dict[str, TextResourceContents]:
    """The pages that tools name."""

    async def main() -> dict[str, TextResourceContents]:
        async with Client(server(engine), extensions=[_EXTENSION]) as client:
            listed = {str(resource.uri) for resource in (await client.list_resources()).resources}
            named = {
                tool.name: tool.meta["ui"]["resourceUri"] for tool in (await client.list_tools()).tools if tool.meta
            }
            assert set(named.values()) <= listed
            read = {name: await client.read_resource(uri) for name, uri in named.items()}
            return {name: page.contents[0] for name, page in read.items()}  # type: ignore[misc]

    return anyio.run(main)


@pytest.fixture(scope="module")
def pages(engine: Engine) -> dict[str, TextResourceContents]:
    """The same, once."""
    return pages_of(engine)


@pytest.fixture(scope="module")
def seen(
    pages: dict[str, TextResourceContents],
    answers: dict[str, CallToolResult],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Seen]:
    """Each page in a host page that passes on the tool's answer."""
    folder = tmp_path_factory.mktemp("host")
    steps: dict[str, list[list[object]]] = {
        "cluster": [["text", ".row .id"], ["click", ".row"], ["until", ".chosen", "1 selected"], ["evaluate", _THEME]],
        "similarity": [["evaluate", "document.querySelector('.plot').data[0].z"]],
        "align": [["text", ".card ins"]],
        "deduplicate": [["text", ".choices button"]],
    }
    plan = {}
    for tool, answer in answers.items():
        passed = [pages[tool].text, answer.model_dump(mode="json", by_alias=True, exclude_none=True)]
        text = json.dumps(passed).replace("<", "\\u003c")
        host = folder / f"{tool}.html"
        host.write_text(_HOST.replace("PASSED", text), encoding="utf-8")
        plan[tool] = Shown(host.as_uri(), steps[tool], framed=True)
    return show(plan, folder)


_THEME = "document.documentElement.dataset.theme"


def test_a_client_without_pages_gets_what_it_got(engine: Engine) -> None:
    async def main() -> tuple[Any, Any, CallToolResult]:
        async with Client(server(engine)) as client:
            call = await client.call_tool("align", CALLS["align"])
            return await client.list_tools(), await client.list_resources(), call

    tools, resources, call = anyio.run(main)
    assert all(tool.meta is None for tool in tools.tools)
    assert not any(str(resource.uri).startswith("ui:") for resource in resources.resources)
    assert "page" not in json.dumps(call.meta)


def test_pages_are_html_of_the_extension_without_network(pages: dict[str, TextResourceContents]) -> None:
    assert set(pages) == set(CALLS)
    for page in pages.values():
        assert page.mime_type == APP_MIME_TYPE
        assert "default-src 'none'" in page.text


def test_the_model_reads_the_same_with_a_page(engine: Engine, answers: dict[str, CallToolResult]) -> None:
    async def main() -> dict[str, CallToolResult]:
        async with Client(server(engine)) as client:
            return {tool: await client.call_tool(tool, arguments) for tool, arguments in CALLS.items()}

    for tool, plain in anyio.run(main).items():
        assert answers[tool].content == plain.content
        assert answers[tool].structured_content == plain.structured_content


def test_a_host_shows_the_answer_and_hears_what_is_selected(seen: dict[str, Seen]) -> None:
    for name, shown in seen.items():
        assert shown.errors == [], name
        assert "ui/notifications/initialized" in shown.results[-1], name
    ids, _, _, theme, heard = seen["cluster"].results
    assert ids == list(TICKETS)
    assert theme == "dark"
    assert 'Ids selected in the picture: ["a"]' in heard
    assert len(seen["similarity"].results[0][0]) == 2
    assert seen["align"].results[0] == ["60 days"]
    assert seen["deduplicate"].results[0] == ["Doubtful2", "Groups2"]
