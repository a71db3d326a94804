"""The tool ``collection_add``."""

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, CollectionName, Objects, Texts
from mcp_server_embeddings.mcp_layer.rendering import counted, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.collection_results import CollectionAddResult


class CollectionAddArguments(Arguments):
    """Arguments of ``collection_add``."""

    collection: CollectionName
    texts: Texts | None = Field(default=None, description="texts to store", json_schema_extra=BOUNDS)
    paths: Texts | None = Field(default=None, description="or files, folders, globs to read, instead of texts")
    ids: Texts | None = Field(default=None, description="one per text; an id that exists is replaced")
    metadata: Objects | None = Field(default=None, description="flat objects for where: one per text, or one for all")
    field: str | None = Field(default=None, description="CSV column or JSONL key that holds the text")


def _run(context: ToolContext, given: CollectionAddArguments) -> CollectionAddResult:
    reader = Reader(
        context.engine.settings.allow_dir, field=given.field, cancelled=context.embedder.call.raise_if_cancelled
    )
    return collection_add(
        context.embedder,
        context.store,
        given.collection,
        given.texts,
        paths=given.paths,
        reader=reader,
        ids=given.ids,
        metadata=given.metadata,
    )


def _text(result: CollectionAddResult, _: CollectionAddArguments) -> str:
    lines = [
        (
            f"Collection {result.collection}: {result.added:,} added, {result.updated:,} updated, {result.unchanged:,} "
            f"unchanged, {result.removed:,} removed; it has {counted(result.size, 'document')} in "
            f"{counted(result.chunks, 'chunk')} ({result.model})."
        )
    ]
    if result.skipped_count:
        lines.append(f"Skipped {counted(result.skipped_count, 'file')}:")
        lines += [f"{skipped.path}: {skipped.why}" for skipped in result.skipped]
        rest = result.skipped_count - len(result.skipped)
        lines += [f"{rest:,} more."] if rest else []
    if result.ignored:
        lines.append(f"{result.ignored:,} hidden or ignored by .gitignore.")
    return "\n".join([*lines, used(result.usage)])


TOOL = ToolSpec(
    name="collection_add",
    title="Store texts or files in a collection",
    description=(
        "Stores texts, or files read on this machine, in a named collection that stays. Use it for what is asked about "
        "more than once; again after changes. Not for a list you need once: use rank. Returns counts of documents "
        "added, updated, unchanged, removed, and files skipped with the reason. Then use collection_search."
    ),
    arguments=CollectionAddArguments,
    result=CollectionAddResult,
    run=_run,
    text=_text,
    too_large="add fewer files at a time",
    effect="destroys",
)
