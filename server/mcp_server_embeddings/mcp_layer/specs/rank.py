"""The tool ``rank``."""

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, StoredTexts, Texts
from mcp_server_embeddings.mcp_layer.rendering import counted, judged, more, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.answer_budget import MAX_TOP
from mcp_server_embeddings.tools.corpus import opened
from mcp_server_embeddings.tools.rank import rank
from mcp_server_embeddings.tools.results import Hit, RankResult


class RankArguments(Arguments):
    """Arguments of ``rank``."""

    query: str = Field(description="what is looked for, a phrase or sentence")
    texts: Texts | None = Field(default=None, description="texts to search", json_schema_extra=BOUNDS)
    collection: StoredTexts = None
    top: int = Field(default=5, description="how many hits", json_schema_extra={"minimum": 1, "maximum": MAX_TOP})
    diversity: float = Field(
        default=0.0,
        description="above 0: hits that resemble earlier ones come later",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    spans: bool = Field(default=False, description="find each hit's best sentence, to quote, with its offsets")


def _run(context: ToolContext, given: RankArguments) -> RankResult:
    return rank(
        context.embedder,
        given.query,
        given.texts,
        collection=opened(context.embedder, context.store, given.collection),
        top=given.top,
        diversity=given.diversity,
        spans=given.spans,
    )


def _text(result: RankResult, _: RankArguments) -> str:
    """One line a hit, the quote as it stands in the text."""
    total = len(result.hits) + result.more
    lines = [f"Best {len(result.hits)} of {counted(total, 'text')} ({result.model}):"]
    if result.no_match:
        lines = [f"No match: nothing is closer than weak. Nearest {len(result.hits)} of {counted(total, 'text')}:"]
    lines += [f'[{_key(hit)}] "{hit.snippet}": {judged(hit)}{_place(hit)}' for hit in result.hits]
    return "\n".join([*lines, *more(result.more), used(result.usage)])


def _key(hit: Hit) -> str | int:
    return hit.index if hit.id is None else hit.id


def _place(hit: Hit) -> str:
    if hit.span is None:
        return ""
    return f"; characters {hit.span.start} to {hit.span.end}, alone {judged(hit.span)}"


TOOL = ToolSpec(
    name="rank",
    title="Find the texts about a query",
    description=(
        "Finds which texts are about a query, by meaning. Use it to search a list, pick what to read first, or quote "
        "the sentence that answers (spans). Not for sorting into kinds: use classify; not for exact words. Returns the "
        "best hits by position with score, percentile, band and snippet; no_match: nothing fits. Pass hits on to "
        "similarity or condense."
    ),
    arguments=RankArguments,
    result=RankResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
