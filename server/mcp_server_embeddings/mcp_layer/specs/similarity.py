"""The tool ``similarity``."""

import json

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, LongTexts, Texts
from mcp_server_embeddings.mcp_layer.rendering import counted, judged, more, named, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.answer_budget import MAX_TOP
from mcp_server_embeddings.tools.results import SimilarityResult
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.tools.texts import SNIPPET
from mcp_server_embeddings.vectors.scores import Metric

_SMALL_MATRIX = 100
"""Cells beside which the text has room to recall the texts of each pair at length."""

_BRIEF = 16
"""Characters that recall a text beside a larger matrix."""


class SimilarityArguments(Arguments):
    """Arguments of ``similarity``."""

    left: Texts = Field(description="texts", json_schema_extra=BOUNDS)
    right: Texts | None = Field(
        default=None,
        description="texts to compare left with; absent: every pair inside left",
        json_schema_extra=BOUNDS,
    )
    metric: Metric = Field(default="cosine", description="of the score; distances are negated, so higher is closer")
    top: int = Field(
        default=10,
        description="how many of the closest pairs",
        json_schema_extra={"minimum": 1, "maximum": MAX_TOP},
    )
    long_text: LongTexts = "window"


def _run(context: ToolContext, given: SimilarityArguments) -> SimilarityResult:
    return similarity(
        context.embedder,
        given.left,
        given.right,
        metric=given.metric,
        top=given.top,
        long_text=given.long_text,
    )


def _text(result: SimilarityResult, given: SimilarityArguments) -> str:
    """One line a pair; the matrix too, when it says more than the pairs."""
    others, side = (given.left, "left") if given.right is None else (given.right, "right")
    possible = len(result.pairs) + result.more
    matrix = result.scores if result.more else None
    length = _BRIEF if matrix is not None and len(matrix) * len(matrix[0]) > _SMALL_MATRIX else SNIPPET
    lines = [f"Closest {len(result.pairs)} of {counted(possible, 'pair')} by {result.metric} ({result.model}):"]
    for pair in result.pairs:
        left, right = named(pair.left, given.left, length), named(pair.right, others, length)
        lines.append(f"left{left} ~ {side}{right}: {judged(pair)}")
    lines += more(result.more)
    if matrix is not None:
        lines.append(f"All scores, a row for each of left: {json.dumps(matrix, separators=(',', ':'))}")
    return "\n".join([*lines, used(result.usage)])


TOOL = ToolSpec(
    name="similarity",
    title="Compare meanings",
    description=(
        "Tells how close in meaning texts are. Use it to compare two texts, or to find the nearest pairs between "
        "two lists or within one (leave right out). Not for exact wording, facts or logic: opposites on one subject "
        "score high; to search use rank. Returns the closest pairs by position, with score (cosine), percentile and "
        "band: unrelated, weak, related, close, same. Judge by band; raw scores differ between models."
    ),
    arguments=SimilarityArguments,
    result=SimilarityResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
