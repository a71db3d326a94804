"""Which collections there are."""

from datetime import UTC, datetime

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.collection_results import CollectionInfo, CollectionListResult
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import Top
from mcp_server_embeddings.tools.results import Usage


@tool(
    title="List collections",
    description=(
        "Lists the stored collections. Use it to see what can be searched. Not to find texts: use collection_search. "
        "Returns name, size in documents, chunks, model, bytes, updated, and usable (null: no model loaded)."
    ),
    purpose="see what is kept",
)
def collection_list(embedder: Embedder, store: CollectionStore, *, top: Top = None) -> CollectionListResult:
    """All collections of the data folder, by name. Needs no model and waits for none.

    Args:
        embedder: The engine; tells which collections fit its model if that is loaded.
        store: The collections.
        top: How many to list, 1 to 2,000; None for as many as fit a small answer.

    Raises:
        OperatorError: The store cannot be read.
    """
    room = AnswerBudget(top)
    *_, loaded = embedder.lifecycle.snapshot()
    identity = loaded.encoder.identity if loaded is not None else None
    found = [collection_info(record, identity.digest if identity else None) for record in store.list()]
    listed = room.take([Entry(info.model_dump_json(), "") for info in found])
    return CollectionListResult(
        model=identity.short if identity else "",
        usage=Usage.counted(),
        more=len(found) - listed,
        collections=found[:listed],
    )


def collection_info(record: CollectionRecord, identity: str | None) -> CollectionInfo:
    """A record as answers give it; ``usable`` by a model of this identity, None where that is not known."""
    return CollectionInfo(
        name=record.name,
        size=record.documents,
        chunks=record.chunks,
        model=record.model,
        usable=record.identity == identity if identity is not None else None,
        bytes=record.bytes,
        updated=datetime.fromtimestamp(record.updated, UTC).isoformat(timespec="seconds"),
    )
