"""Telling clients that collections changed, whichever process changed them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ResourceUpdated
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.surface.collections import ROOT, uri_of

_SECONDS = 1.0
"""Between two looks at the file; a look is one short query."""

Revisions = dict[str, tuple[int, int]]
"""Row and revision of each collection, by name."""


class Changes:
    """Watches the store from the first client that wants to know on; before, nothing runs.

    Clients of the protocol's first era subscribe to single resources and are told that the list changed; those of the
    second open a stream of what they ask for (``subscriptions/listen``).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wanted = anyio.Event()
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)
        # One client a process: over stdio there is no other.
        self._session: ServerSession | None = None
        self._uris: set[str] = set()

    def client_lists(self, session: ServerSession) -> None:
        """A client has asked for the list and will want to know when it changes."""
        self._session = session
        self._wanted.set()

    def subscribe(self, session: ServerSession, uri: str) -> None:
        """A client of the first era wants to know of one resource."""
        self._uris.add(uri)
        self.client_lists(session)

    def unsubscribe(self, uri: str) -> None:
        """It does no longer."""
        self._uris.discard(uri)

    async def listen(
        self, context: ServerRequestContext[object, object], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream of the second era, until the client ends it."""
        self._wanted.set()
        return await self._streams(context, params)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield
            tasks.cancel_scope.cancel()

    async def _watch(self) -> None:
        await self._wanted.wait()
        version, known = await self._look(0, {})
        while True:
            await anyio.sleep(_SECONDS)
            before = known
            version, known = await self._look(version, before)
            await self._tell(before, known)

    async def _look(self, version: int, known: Revisions) -> tuple[int, Revisions]:
        """The version and the revisions now; those known where nothing changed, or the file cannot be read."""

        def look() -> tuple[int, Revisions]:
            now = self._store.version()
            if now == version:
                return version, known
            return now, {record.name: (record.row, record.revision) for record in self._store.list()}

        try:
            return await anyio.to_thread.run_sync(look)
        except StorageError:  # the next call will say so; a client that only listens is not to be troubled
            return version, known

    async def _tell(self, before: Revisions, now: Revisions) -> None:
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if before.keys() != now.keys():
            await self._bus.publish(ResourcesListChanged())
            if self._session is not None:
                await self._session.send_resource_list_changed()
        for uri in [*map(uri_of, changed), *([ROOT] if changed else [])]:
            await self._bus.publish(ResourceUpdated(uri))
            if uri in self._uris and self._session is not None:
                await self._session.send_resource_updated(uri)
