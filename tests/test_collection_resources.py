"""Collections as resources: lists, texts, completion of names, and news of changes in both protocol eras."""

import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client.session import MessageHandlerFnT
from mcp_types import ResourceTemplateReference, ResourceUpdatedNotification, ServerNotification, TextResourceContents

from calls import call, client
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.server import build_server
from mcp_server_embeddings.store import open_store
from wire import PATIENCE, ServerProcess

pytestmark = pytest.mark.usefixtures("own_process")

URI = "embeddings://collections"


def add(engine: Engine, name: str, **texts: str) -> None:
    call(engine, "collection_add", {"collection": name, "texts": texts})


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
    call(engine, "collection_remove", {"collection": "colours", "all": True})


def test_a_path_is_an_id_escaped_or_not(engine: Engine) -> None:
    add(engine, "paths", **{"/home/me/a b.md": "Something."})

    async def main() -> None:
        async with client(engine) as connected:
            for document in (quote("/home/me/a b.md", safe=""), quote("/home/me/a b.md")):
                assert await read(connected, f"{URI}/paths/{document}") == "Something."

    anyio.run(main)
    call(engine, "collection_remove", {"collection": "paths", "all": True})


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
        call(engine, "collection_remove", {"collection": name, "all": True})


@pytest.mark.slow
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
        call(engine, "collection_remove", {"collection": "news", "all": True})
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
    call(engine, "collection_remove", {"collection": "later", "all": True})


@pytest.mark.filterwarnings("ignore:resources/subscribe is removed")
def test_clients_of_one_server_are_notified_of_what_each_of_them_subscribed_to(engine: Engine) -> None:
    server = build_server(Service(engine), open_store(engine.settings), engine.settings)
    notified: dict[str, list[str]] = {"weather": [], "sports": []}

    async def main() -> None:
        done = anyio.Event()

        def handler(name: str) -> MessageHandlerFnT:
            async def handle(message: ServerNotification | Exception) -> None:
                if isinstance(message, ResourceUpdatedNotification):
                    notified[name].append(str(message.params.uri))
                    if all(notified.values()):
                        done.set()

            return handle

        async with (
            Client(server, mode="legacy", message_handler=handler("weather")) as first,
            Client(server, mode="legacy", message_handler=handler("sports")) as second,
        ):
            await first.subscribe_resource(f"{URI}/weather")
            await second.subscribe_resource(f"{URI}/sports")
            for name in notified:
                await first.call_tool("collection_add", {"collection": name, "texts": ["one"]})
            with anyio.fail_after(PATIENCE):
                await done.wait()

    anyio.run(main)
    assert notified == {name: [f"{URI}/{name}"] for name in notified}
    for name in notified:
        call(engine, "collection_remove", {"collection": name, "all": True})


def wait_until(server: ServerProcess, holds: Callable[[], bool]) -> None:
    """Go on once something holds, while the server answers."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert server.process.poll() is None, server.log
        assert time.monotonic() < end, server.log
        server.request("ping")


UNSEEN = "changes of collections cannot be detected"
DAMAGE = {
    "a missing table": ("ALTER TABLE collections RENAME TO gone", "ALTER TABLE gone RENAME TO collections"),
    "a name of bytes": (
        "INSERT INTO collections (name, model, identity, dimensions) VALUES (x'00', '', '', 1)",
        "DELETE FROM collections WHERE name = x'00'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
def test_the_server_goes_on_when_the_collections_cannot_be_watched(damage: str, tmp_path: Path) -> None:
    store, (breaking, mending) = open_store(Settings(data_dir=tmp_path)), DAMAGE[damage]
    store.open_or_create("notes", "identity", "model@1", 4)
    with ServerProcess(tmp_path, "--model", str(tmp_path / "none"), "--log-level", "info") as server:
        server.handshake()
        server.request("resources/list")
        for round_ in range(2):
            with closing(sqlite3.connect(tmp_path / "collections.sqlite")) as database, database:
                database.execute(breaking)

            def said(times: int = round_ + 1) -> bool:
                return server.log.count(UNSEEN) == times

            wait_until(server, said)
            with closing(sqlite3.connect(tmp_path / "collections.sqlite")) as database, database:
                database.execute(mending)
            store.open_or_create(f"more{round_}", "identity", "model@1", 4)
            assert server.next_message()["method"] == "notifications/resources/list_changed"
        assert server.log.count(UNSEEN) == 2


@pytest.mark.slow
def test_the_server_goes_on_without_descriptors(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process can be set on Linux only")
    store = open_store(Settings(data_dir=tmp_path))
    store.open_or_create("notes", "identity", "model@1", 4)
    with ServerProcess(tmp_path, "--model", str(tmp_path / "none"), "--log-level", "info") as server:
        server.handshake()
        store.close()
        before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        server.answer(server.send("resources/list"))
        wait_until(server, lambda: UNSEEN in server.log)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)
        names = itertools.count()

        def told() -> bool:
            # What was there at the first look is not told.
            store.open_or_create(f"more{next(names)}", "identity", "model@1", 4)
            return any(b"resources/list_changed" in line for line in server.lines)

        wait_until(server, told)
