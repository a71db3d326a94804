"""The tool ``collection_remove``."""

from pydantic import Field

from mcp_server_embeddings.surface.arguments import BOUNDS, Arguments, CollectionName, Texts
from mcp_server_embeddings.surface.served_tool import Caller, ServedTool
from mcp_server_embeddings.surface.words import counted
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.collection_results import CollectionRemoved
from mcp_server_embeddings.tools.texts import snippet


class CollectionRemoveArguments(Arguments):
    """Arguments of ``collection_remove``."""

    collection: CollectionName
    ids: Texts | None = Field(
        default=None, description="documents to remove; absent: the whole collection", json_schema_extra=BOUNDS
    )


def _run(caller: Caller, given: CollectionRemoveArguments) -> CollectionRemoved:
    return collection_remove(caller.embedder, caller.store, given.collection, given.ids)


def _text(result: CollectionRemoved, given: CollectionRemoveArguments) -> str:
    removed = counted(result.removed, "document")
    if given.ids is None:
        return f"Collection {result.collection} removed with {removed}."
    lines = [f"{removed} removed from {result.collection}; {result.size:,} left."]
    if result.missing:
        lines.append("Not there: " + ", ".join(snippet(key) for key in result.missing) + ".")
    return "\n".join(lines)


TOOL = ServedTool(
    name="collection_remove",
    title="Remove from a collection",
    description=(
        "Removes documents by id, or a whole collection, for good. Use it when the user wants them gone. Not to "
        "replace a text: use collection_add. Returns how many were removed, and ids not there."
    ),
    arguments=CollectionRemoveArguments,
    result=CollectionRemoved,
    run=_run,
    text=_text,
    too_large="pass fewer ids",
    effect="destroys",
)
