"""The tool ``collection_remove``."""

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, CollectionName, Texts
from mcp_server_embeddings.mcp_layer.rendering import counted
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.collection_results import CollectionRemoveResult
from mcp_server_embeddings.tools.texts import snippet


class CollectionRemoveArguments(Arguments):
    """Arguments of ``collection_remove``."""

    collection: CollectionName
    ids: Texts | None = Field(
        default=None, description="documents to remove; absent: the whole collection", json_schema_extra=BOUNDS
    )


def _run(context: ToolContext, given: CollectionRemoveArguments) -> CollectionRemoveResult:
    return collection_remove(context.embedder, context.store, given.collection, given.ids)


def _text(result: CollectionRemoveResult, given: CollectionRemoveArguments) -> str:
    removed = counted(result.removed, "document")
    if given.ids is None:
        return f"Collection {result.collection} removed with {removed}."
    lines = [f"{removed} removed from {result.collection}; {result.size:,} left."]
    if result.missing:
        lines.append("Not there: " + ", ".join(snippet(key) for key in result.missing) + ".")
    return "\n".join(lines)


TOOL = ToolSpec(
    name="collection_remove",
    title="Remove from a collection",
    description=(
        "Removes documents by id, or a whole collection, for good. Use it when the user wants them gone. Not to "
        "replace a text: use collection_add. Returns how many were removed, and ids not there."
    ),
    arguments=CollectionRemoveArguments,
    result=CollectionRemoveResult,
    run=_run,
    text=_text,
    too_large="pass fewer ids",
    effect="destroys",
)
