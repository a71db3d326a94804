"""Collections as resources: lists, texts, completion of names, and news of changes in both protocol eras."""

import json
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from mcp import Client, MCPError
from mcp_types import ResourceTemplateReference, TextResourceContents

from calls import call, client
from mcp_server_embeddings.engine.engine import Engine
from wire import ServerProcess

URI = "embeddings://collections"


def add(engine: Engine, name: str, **texts: str) -> None:
    call(engine, "collection_add", {"collection": name, "texts": list(texts.values()), "ids": list(texts)})


async def read(connected: Client, uri: str) -> str:
    (contents,) = (await connected.read_resource(uri)).contents
    assert isinstance(contents, TextResourceContents)
    return contents.text


def test_collections_and_their_documents_can_be_read(engine: Engine) -> None:
    add(engine, "colours", red="Red is warm.", blue="Blue is cold.")

    async def main() -> None:
        async with client(engine) as connected:
            uris = [str(resource.uri) for resource in (await connected.list_resources()).resources]
            assert f"{URI}/colours" in uris
            templates = (await connected.list_resource_templates()).resource_templates
            assert [template.uri_template for template in templates] == [f"{URI}/{{name}}", f"{URI}/{{name}}/{{+id}}"]
            every = json.loads(await read(connected, URI))
            assert "colours" in [entry["name"] for entry in every]
            one = json.loads(await read(connected, f"{URI}/colours"))
            assert (one["size"], one["first"][0]) == (2, {"id": "red", "snippet": "Red is warm."})
            assert await read(connected, f"{URI}/colours/blue") == "Blue is cold."
            for wrong in ("colors", "colours/green"):
                with pytest.raises(MCPError, match=r"there is no collection|has no document"):
                    await connected.read_resource(f"{URI}/{wrong}")

    anyio.run(main)
    call(engine, "collection_remove", {"collection": "colours"})


def test_a_path_is_an_id_escaped_or_not(engine: Engine) -> None:
    add(engine, "paths", **{"/home/me/a b.md": "Something."})

    async def main() -> None:
        async with client(engine) as connected:
            for document in (quote("/home/me/a b.md", safe=""), quote("/home/me/a b.md")):
                assert await read(connected, f"{URI}/paths/{document}") == "Something."

    anyio.run(main)
    call(engine, "collection_remove", {"collection": "paths"})


def test_names_of_collections_are_completed(engine: Engine) -> None:
    add(engine, "summer", a="x")
    add(engine, "sunday", a="x")
    reference = ResourceTemplateReference(type="ref/resource", uri=f"{URI}/{{name}}")

    async def main() -> None:
        async with client(engine) as connected:
            for begun, names in (("su", ["summer", "sunday"]), ("sun", ["sunday"]), ("z", [])):
                found = await connected.complete(reference, {"name": "name", "value": begun})
                assert found.completion.values == names

    anyio.run(main)
    for name in ("summer", "sunday"):
        call(engine, "collection_remove", {"collection": name})


def test_clients_of_the_first_era_are_told_of_changes_by_another_process(data_dir: Path, engine: Engine) -> None:
    with ServerProcess(data_dir) as server:
        capabilities = server.handshake()["capabilities"]
        assert capabilities["resources"] == {"subscribe": True, "listChanged": True}
        server.request("resources/list")
        server.request("resources/subscribe", {"uri": f"{URI}/news"})
        server.call("status", {})
        add(engine, "news", a="one")  # this process, not the server's
        told = {
            message["method"]: message.get("params", {}) for message in (server.next_message(), server.next_message())
        }
        assert "notifications/resources/list_changed" in told
        assert told["notifications/resources/updated"]["uri"] == f"{URI}/news"
        server.request("resources/unsubscribe", {"uri": f"{URI}/news"})
        call(engine, "collection_remove", {"collection": "news"})
        assert server.next_message()["method"] == "notifications/resources/list_changed"


def test_clients_of_the_second_era_are_told_what_they_listen_for(engine: Engine) -> None:
    async def main() -> list[object]:
        found: list[object] = []
        wanted = [f"{URI}/later"]
        async with (
            client(engine) as connected,
            connected.listen(resources_list_changed=True, resource_subscriptions=wanted) as events,
        ):
            await connected.call_tool("collection_add", {"collection": "later", "texts": ["one"]})
            async for event in events:
                found.append(event)
                if len(found) == 2:
                    break
        return found

    kinds = {type(event).__name__ for event in anyio.run(main)}
    assert kinds == {"ResourcesListChanged", "ResourceUpdated"}
    call(engine, "collection_remove", {"collection": "later"})
