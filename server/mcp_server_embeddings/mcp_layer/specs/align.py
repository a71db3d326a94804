"""The tool ``align``."""

from collections.abc import Callable, Sequence

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, Texts, Top
from mcp_server_embeddings.mcp_layer.rendering import counted, judged, more, naming, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.align import align
from mcp_server_embeddings.tools.corpus import opened
from mcp_server_embeddings.tools.results import AlignResult


class AlignArguments(Arguments):
    """Arguments of ``align``."""

    left: Texts | None = Field(default=None, description="texts, such as the old list", json_schema_extra=BOUNDS)
    right: Texts | None = Field(default=None, description="texts, such as the new list", json_schema_extra=BOUNDS)
    collection: str | None = Field(default=None, description="a stored collection, instead of left or right")
    threshold: float | None = Field(
        default=None,
        description="lowest cosine of a match; absent: where 'related' begins",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    top: Top = None


def _run(context: ToolContext, given: AlignArguments) -> AlignResult:
    collection = opened(context.embedder, context.store, given.collection)
    return align(
        context.embedder, given.left, given.right, collection=collection, threshold=given.threshold, top=given.top
    )


def _text(result: AlignResult, given: AlignArguments) -> str:
    """One line a match, then what only one list has."""
    counts = result.counts
    lefts, rights = naming(result.recalled, given.left), naming(result.recalled, given.right)
    lines = [
        (
            f"{counted(counts.matches, 'match', 'matches')} at threshold {result.threshold:.4g}, most changed first "
            f"({result.model}):"
        )
    ]
    lines += [f"left{lefts(pair.left)} ~ right{rights(pair.right)}: {judged(pair)}" for pair in result.matches]
    lines += more(counts.matches - len(result.matches), "matches")
    lines += _one_side("left", result.left_only, counts.left_only, lefts)
    lines += _one_side("right", result.right_only, counts.right_only, rights)
    return "\n".join([*lines, used(result.usage)])


def _one_side(side: str, listed: Sequence[int], total: int, name: Callable[[int], str]) -> list[str]:
    lines = [f"Only {side}, {counted(total, 'text')}{':' if listed else '.'}"]
    lines += [f"{side}{name(position)}" for position in listed]
    return lines + more(total - len(listed), f"only {side}")


TOOL = ToolSpec(
    name="align",
    title="Compare two lists",
    description=(
        "Matches two lists one to one by meaning: a diff that sees through rewording. Use it for two versions of "
        "requirements, minutes or questions: unchanged, changed, removed, added. Not for the best hits of a query: "
        "use rank. Returns matches by position with score, percentile and band, most changed first, and texts "
        "on one side only. Read low matches: a changed number or a 'not' hardly moves the score."
    ),
    arguments=AlignArguments,
    result=AlignResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
