"""Telling clients that collections changed, whichever process changed them."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ResourceUpdated
from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

from mcp_server_embeddings.mcp_layer.collection_resources import ROOT, uri_of
from mcp_server_embeddings.store.store import Store

_log = logging.getLogger(__name__)

_SECONDS = 1.0
"""Between two looks at the file; a look is one short query."""

Revisions = dict[str, tuple[int, int]]
"""Row and revision of each collection, by name."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the last look found; no version before the first."""

    version: int | None = None
    revisions: Revisions = field(default_factory=dict)


class ChangeNotifier:
    """Watches the store from the first client that wants to know on; before, nothing runs.

    Clients of the protocol's first era subscribe to single resources and are told that the list changed; those of the
    second open a stream of what they ask for (``subscriptions/listen``).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wanted = anyio.Event()
        self._looked = anyio.Event()
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)
        # One client a process: over stdio there is no other.
        self._session: ServerSession | None = None
        self._uris: set[str] = set()

    async def client_lists(self, session: ServerSession) -> None:
        """A client has asked for the list and will want to know when it changes."""
        self._session = session
        await self._begin()

    async def subscribe(self, session: ServerSession, uri: str) -> None:
        """A client of the first era wants to know of one resource."""
        self._uris.add(uri)
        await self.client_lists(session)

    def unsubscribe(self, uri: str) -> None:
        """Unsubscribe from one resource."""
        self._uris.discard(uri)

    async def listen(
        self, context: ServerRequestContext[object, object], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Serve one stream of the second era, until the client ends it."""
        await self._begin()
        return await self._streams(context, params)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            yield
            tasks.cancel_scope.cancel()

    async def _begin(self) -> None:
        """Begin to watch. Returns after the first look, so that what changes from now on is told."""
        self._wanted.set()
        await self._looked.wait()

    async def _watch(self) -> None:
        await self._wanted.wait()
        seen = _Seen()
        failing = False
        while True:
            try:
                before, seen = seen, await anyio.to_thread.run_sync(self._look, seen)
                if before.version is not None:
                    await self._tell(before.revisions, seen.revisions)
                failing = False
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the server
                if not failing:  # without its message, which may hold a stored text
                    _log.warning("changes of collections are not seen for now (%s)", type(error).__name__)
                failing = True
            self._looked.set()
            await anyio.sleep(_SECONDS)

    def _look(self, seen: _Seen) -> _Seen:
        """Version and revisions now."""
        version = self._store.version()
        if version == seen.version:
            return seen
        return _Seen(version, {record.name: (record.row, record.revision) for record in self._store.list()})

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
