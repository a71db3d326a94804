"""The tool ``collection_search``."""

import json

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import Arguments, CollectionName, Json
from mcp_server_embeddings.mcp_layer.rendering import counted, judged, more, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.answer_budget import MAX_TOP
from mcp_server_embeddings.tools.collection_results import CollectionSearchResult, FoundPassage, SearchMode
from mcp_server_embeddings.tools.collection_search import collection_search
from mcp_server_embeddings.tools.results import ScoredResult


class CollectionSearchArguments(Arguments):
    """Arguments of ``collection_search``."""

    collection: CollectionName
    query: str = Field(description="what is looked for, a phrase or sentence")
    top: int | None = Field(
        default=None, description="how many hits; absent: up to 5", json_schema_extra={"minimum": 1, "maximum": MAX_TOP}
    )
    mode: SearchMode = Field(default="hybrid", description="by meaning, by exact words, or both")
    where: Json | None = Field(
        default=None,
        description='filter by metadata, such as {"year": {"gte": 2020}, "kind": ["a", "b"]}',
    )
    neighbours: bool = Field(default=False, description="add what stands before and after each hit")


def _run(context: ToolContext, given: CollectionSearchArguments) -> CollectionSearchResult:
    return collection_search(
        context.embedder,
        context.store,
        given.collection,
        given.query,
        top=given.top,
        mode=given.mode,
        where=given.where,
        neighbours=given.neighbours,
    )


def _text(result: CollectionSearchResult, _: CollectionSearchArguments) -> str:
    """A few lines a hit, the quote as it stands in the text."""
    total = len(result.hits) + result.more
    lines = [f"Best {len(result.hits)} of {counted(total, 'passage')} in {result.collection} ({result.model}):"]
    if result.no_match:
        lines = [f"No match in {result.collection}. Nearest {len(result.hits)} of {counted(total, 'passage')}:"]
    for hit in result.hits:
        lines += _lines(hit)
    return "\n".join([*lines, *more(result.more), *([used(result.usage)] if result.usage.texts else [])])


def _lines(hit: FoundPassage) -> list[str]:
    metadata = f"; {json.dumps(hit.metadata, ensure_ascii=False)}" if hit.metadata else ""
    place = f"characters {hit.span.start} to {hit.span.end}, found by {hit.found_by}{metadata}"
    lines = [f'[{hit.id}] "{hit.snippet}": {_judged(hit)}{place}']
    lines += [f"  before: {hit.before}"] if hit.before else []
    return lines + ([f"  after: {hit.after}"] if hit.after else [])


def _judged(hit: FoundPassage) -> str:
    if hit.score is None or hit.percentile is None or hit.band is None:
        return ""
    return judged(ScoredResult(score=hit.score, percentile=hit.percentile, band=hit.band)) + "; "


TOOL = ToolSpec(
    name="collection_search",
    title="Search a collection",
    description=(
        "Finds passages about a query in a stored collection, by meaning and by words. Use it to answer from stored "
        "texts, and quote. Not for a list you send along: use rank. Returns the best hits with id, score, percentile, "
        "band (null in keyword mode), snippet, span, metadata; no_match: nothing fits. Read around a hit with "
        "neighbours or its resource."
    ),
    arguments=CollectionSearchArguments,
    result=CollectionSearchResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
