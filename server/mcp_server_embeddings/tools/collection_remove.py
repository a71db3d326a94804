"""Remove items, or a whole collection."""

from collections.abc import Set
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.freshness import includes
from mcp_server_embeddings.tools.items import shown_ids
from mcp_server_embeddings.tools.parameters import CollectionName, Ids
from mcp_server_embeddings.tools.results import CollectionRemoveResult


@tool(
    title="Remove from a collection",
    description=(
        "Removes items by id, or with all=true the collection, for good. Use it when the user wants them gone. Not "
        "to replace a text: use collection_add. Returns how many are left."
    ),
    purpose="delete from a collection",
    effect="destroys",
)
def collection_remove(
    embedder: Embedder,
    store: CollectionStore,
    collection: CollectionName,
    ids: Ids = None,
    *,
    all: Annotated[bool, Field(description="remove the collection itself")] = False,  # noqa: A002 - the contract's word
) -> CollectionRemoveResult:
    """Permanently remove items by id, or the whole collection. No model is needed.

    Args:
        embedder: Provides the call, whose cancellation is checked last, before anything is removed.
        store: The collections.
        collection: Name of the collection.
        ids: Ids of items.
        all: Remove the collection itself.

    Raises:
        InputError: Both or neither of ``ids`` and ``all`` are given.
        CollectionError: There is no such collection.
        OperatorError: The store cannot be written.
        CallCancelledError: The caller cancelled; nothing was removed.

    Example:
        >>> collection_remove(embedder, store, "notes", ["monday.md"]).removed
        1
    """
    check_cancelled = embedder.call.raise_if_cancelled
    if all == (ids is not None):
        given = "both" if all else "neither"
        raise InputError(f"{given} of ids and all=true came; pass the ids to remove, or all=true for the collection")
    if ids is None:
        record = store.remove(collection, check_cancelled)
        return CollectionRemoveResult(model=record.model, removed=record.documents, size=0)
    if not ids:
        raise InputError("ids is an empty list; give the ids to remove, or all=true for the whole collection")
    target = store.open(collection)
    requested = [str(key) for key in ids]
    stored = target.stored(requested)
    removed = target.remove(requested, check_cancelled)
    _exclude_files(target, {document.file for document in stored.values() if document.file})
    missing = sorted(set(requested) - set(removed.ids))
    notes = [f"{len(missing):,} ids were not there: {shown_ids(missing)}"] if missing else []
    return CollectionRemoveResult(model=target.record.model, notes=notes, removed=len(removed.ids), size=removed.left)


def _exclude_files(collection: Collection, files: Set[str]) -> None:
    """Exclude files without remaining items, so that the next update from sources does not add them again."""
    sources, left = collection.sources(), collection.files()
    removed = [file for file in files if file not in left and any(includes(path, file) for path in sources)]
    if removed:
        collection.keep_sources(dict.fromkeys(removed, ""))
