"""Which collections there are."""

from datetime import UTC, datetime

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.tools.collection_results import CollectionInfo, CollectionsListed
from mcp_server_embeddings.tools.listing import Entry, Room
from mcp_server_embeddings.tools.results import Usage


def collection_list(embedder: Embedder, store: Store, *, top: int | None = None) -> CollectionsListed:
    """All collections of the data folder, by name.

    Args:
        embedder: The engine.
        store: The collections.
        top: How many to list, 1 to 2,000; None for as many as fit a small answer.

    Raises:
        OperatorError: The model or the store cannot be used.
    """
    room = Room(embedder, top)
    identity = embedder.identity()
    found = [collection_info(record, identity.digest) for record in store.list()]
    listed = room.take([Entry(info.model_dump_json(), "") for info in found])
    return CollectionsListed(
        model=identity.short,
        usage=Usage.counted(),
        more=len(found) - listed,
        collections=found[:listed],
    )


def collection_info(record: CollectionRecord, identity: str) -> CollectionInfo:
    """A record as answers give it; ``usable`` by a model of this identity."""
    return CollectionInfo(
        name=record.name,
        size=record.documents,
        chunks=record.chunks,
        model=record.model,
        usable=record.identity == identity,
        bytes=record.bytes,
        updated=datetime.fromtimestamp(record.updated, UTC).isoformat(timespec="seconds"),
    )
