"""Notifications about collections changed by any process."""

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, SubscriptionsListenRequestParams, SubscriptionsListenResult
from starlette.requests import Request

from mcp_server_embeddings.mcp_layer.collection_resources import ROOT, collection_uri
from mcp_server_embeddings.store.protocol import CollectionStore

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
"""Interval between two polls; a poll is one short query."""

_SESSION_HEADER = "mcp-session-id"

_MAX_SUBSCRIBERS = 1_000
"""Maximum number of sessions that are notified; those without a request for the longest time are dropped."""

_MAX_URIS = 1_000
"""Maximum number of resources that a session may subscribe to."""

Revisions = dict[str, tuple[int, int]]
"""Key and revision of each collection, by name."""


@dataclass(frozen=True, slots=True)
class _Poll:
    """Result of the last poll; ``version`` is None before the first."""

    version: int | None = None
    revisions: Revisions = field(default_factory=dict)


@dataclass(slots=True)
class _Subscriber:
    """A client of the initialize handshake that receives notifications.

    Attributes:
        session: The SDK's session of its latest request; notifications are sent over the connection of that session.
        uris: The resources that it subscribed to.
    """

    session: ServerSession | None = None
    uris: set[str] = field(default_factory=set)


class ChangeNotifier:
    """Notifies the clients of one connection, or of one HTTP application, of changes in a store.

    Polling starts when the first client reads or subscribes to collections. Clients of the initialize handshake receive
    ``notifications/resources/list_changed`` and subscribe to single resources; those of the 2026-07-28 protocol open a
    stream (``subscriptions/listen``).

    Args:
        store: The store that is polled for changes.
    """

    def __init__(self, store: CollectionStore) -> None:
        self._store = store
        self._requested = anyio.Event()
        self._polled = anyio.Event()
        self._bus = InMemorySubscriptionBus()
        self._streams = ListenHandler(self._bus)
        self._subscribers: OrderedDict[str | None, _Subscriber] = OrderedDict()

    async def watch_list(self, context: "Context") -> None:
        """Notify the client whenever the list of collections changes."""
        self._subscriber(context).session = context.session
        await self._start_polling()

    async def subscribe(self, context: "Context", uri: str) -> None:
        """Subscribe a client to one resource.

        Raises:
            MCPError: The client has reached the maximum number of subscriptions.
        """
        uris = self._subscriber(context).uris
        if len(uris) >= _MAX_URIS and uri not in uris:
            raise MCPError(INVALID_PARAMS, f"a session may subscribe to {_MAX_URIS:,} resources; unsubscribe from some")
        uris.add(uri)
        await self.watch_list(context)

    def unsubscribe(self, context: "Context", uri: str) -> None:
        """Unsubscribe a client from one resource."""
        self._subscriber(context).uris.discard(uri)

    async def listen(self, context: "Context", params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one stream of events until the client ends it."""
        await self._start_polling()
        return await self._streams(context, params)

    @asynccontextmanager
    async def polling(self) -> AsyncIterator[None]:
        """Poll the store while the block runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._poll_forever)
            yield
            tasks.cancel_scope.cancel()

    def _subscriber(self, context: "Context") -> _Subscriber:
        """Return the client's entry; clients without sessions share one, and nobody receives what is sent to it."""
        key = _session_id(context)
        subscriber = self._subscribers.setdefault(key, _Subscriber())
        self._subscribers.move_to_end(key)
        if len(self._subscribers) > _MAX_SUBSCRIBERS:
            self._subscribers.popitem(last=False)
        return subscriber

    async def _start_polling(self) -> None:
        """Start polling. Returns after the first poll, so that every later change causes a notification."""
        self._requested.set()
        await self._polled.wait()

    async def _poll_forever(self) -> None:
        await self._requested.wait()
        last = _Poll()
        failing = False
        while True:
            try:
                previous, last = last, await anyio.to_thread.run_sync(self._poll, last)
                if previous.version is not None:
                    await self._notify(previous.revisions, last.revisions)
                failing = False
            except Exception as error:  # noqa: BLE001 - no error may end the server
                if not failing:  # log the type alone, since the message may contain a stored text
                    _log.warning("changes of collections cannot be detected at present (%s)", type(error).__name__)
                failing = True
            self._polled.set()
            await anyio.sleep(_POLL_SECONDS)

    def _poll(self, last: _Poll) -> _Poll:
        version = self._store.version()
        if version == last.version:
            return last
        return _Poll(version, {record.name: (record.key, record.revision) for record in self._store.list()})

    async def _notify(self, previous: Revisions, current: Revisions) -> None:
        changed = [name for name in {**previous, **current} if previous.get(name) != current.get(name)]
        updated = [*map(collection_uri, changed), *([ROOT] if changed else [])]
        list_changed = previous.keys() != current.keys()
        if list_changed:
            await self._bus.publish(ResourcesListChanged())
        for uri in updated:
            await self._bus.publish(ResourceUpdated(uri))
        for key, subscriber in list(self._subscribers.items()):
            try:
                await _send(subscriber, updated, list_changed=list_changed)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._subscribers.pop(key, None)


Context = ServerRequestContext[ChangeNotifier, Request]


async def _send(subscriber: _Subscriber, updated: list[str], *, list_changed: bool) -> None:
    if subscriber.session is None:
        return
    if list_changed:
        await subscriber.session.send_resource_list_changed()
    for uri in updated:
        if uri in subscriber.uris:
            await subscriber.session.send_resource_updated(uri)


def _session_id(context: Context) -> str | None:
    """Return the id of the client's HTTP session; None on stdio, where the connection is the session."""
    return context.request.headers.get(_SESSION_HEADER) if context.request is not None else None
