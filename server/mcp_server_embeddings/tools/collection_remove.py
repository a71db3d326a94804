"""Texts, files or a whole collection away."""

from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.collection_results import CollectionRemoveResult
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import CollectionName, Texts
from mcp_server_embeddings.tools.results import Usage
from mcp_server_embeddings.tools.texts import MAX_TEXTS

_LISTED = 20
"""Ids that were not there and that an answer names."""


@tool(
    title="Remove from a collection",
    description=(
        "Removes documents by id, or a whole collection, for good. Use it when the user wants them gone. Not to "
        "replace a text: use collection_add. Returns how many were removed, and ids not there."
    ),
    purpose="let go of it",
    too_large="pass fewer ids",
    effect="destroys",
)
def collection_remove(
    embedder: Embedder,
    store: CollectionStore,
    collection: CollectionName,
    ids: Annotated[Texts | None, Field(description="documents to remove; absent: the whole collection")] = None,
) -> CollectionRemoveResult:
    """Remove documents by id, or the whole collection. For good; no model is needed.

    Args:
        embedder: Tells whether the caller cancelled, which is looked at last: then nothing is removed.
        store: The collections.
        collection: Its name.
        ids: 1 to 2,000 ids of documents; None removes the collection itself.

    Returns:
        How many documents were removed, and the ids that were not there (the first 20).

    Raises:
        InputError: ``ids`` is empty or too long.
        CollectionError: There is no such collection.
        OperatorError: The store cannot be written.
        CallCancelledError: The caller cancelled; nothing was removed.
    """
    ids = [ids] if isinstance(ids, str) else ids
    if ids is not None and not 1 <= len(ids) <= MAX_TEXTS:
        raise InputError(
            f"ids has {len(ids):,} entries; give 1 to {MAX_TEXTS:,}, or leave ids out to remove the whole collection"
        )
    confirm = embedder.call.raise_if_cancelled
    missing: list[str] = []
    if ids is None:
        record = store.remove(collection, confirm)
        removed, size = record.documents, 0
    else:
        source = store.open(collection)
        record, gone = source.record, source.remove(ids, confirm)
        missing = [key for key in dict.fromkeys(ids) if key not in set(gone.ids)]
        removed, size = len(gone.ids), gone.left
    return CollectionRemoveResult(
        model=record.model,
        usage=Usage.counted(),
        collection=collection,
        removed=removed,
        missing=missing[:_LISTED],
        size=size,
    )
