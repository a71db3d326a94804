"""The tool ``collection_list``."""

from mcp_server_embeddings.mcp_layer.arguments import Arguments, Top
from mcp_server_embeddings.mcp_layer.rendering import counted, more
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.collection_list import collection_list
from mcp_server_embeddings.tools.collection_results import CollectionInfo, CollectionListResult


class CollectionListArguments(Arguments):
    """Arguments of ``collection_list``."""

    top: Top = None


def _run(context: ToolContext, given: CollectionListArguments) -> CollectionListResult:
    return collection_list(context.embedder, context.store, top=given.top)


def _text(result: CollectionListResult, _: CollectionListArguments) -> str:
    total = len(result.collections) + result.more
    lines = [f"{counted(total, 'collection')} ({result.model or 'the model is not loaded'}){':' if total else '.'}"]
    return "\n".join([*lines, *map(_line, result.collections), *more(result.more)])


def _line(info: CollectionInfo) -> str:
    reindex = f"; of another model, {info.model}: mcp-server-embeddings reindex {info.name}"
    other = reindex if info.usable is False else ""
    return (
        f"{info.name}: {counted(info.size, 'document')}, {counted(info.chunks, 'chunk')}, {info.bytes / 1e6:.1f} MB, "
        f"updated {info.updated}{other}"
    )


TOOL = ToolSpec(
    name="collection_list",
    title="List collections",
    description=(
        "Lists the stored collections. Use it to see what can be searched. Not to find texts: use collection_search. "
        "Returns name, size in documents, chunks, model, bytes, updated, and usable (null: no model loaded)."
    ),
    arguments=CollectionListArguments,
    result=CollectionListResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
