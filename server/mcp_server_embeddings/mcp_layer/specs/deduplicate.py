"""The tool ``deduplicate``."""

from collections.abc import Callable

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, StoredTexts, Texts, Top
from mcp_server_embeddings.mcp_layer.rendering import counted, judged, more, naming, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.corpus import opened
from mcp_server_embeddings.tools.deduplicate import Keep, deduplicate
from mcp_server_embeddings.tools.results import DeduplicateResult, DuplicateGroup


class DeduplicateArguments(Arguments):
    """Arguments of ``deduplicate``."""

    texts: Texts | None = Field(default=None, description="texts to compare", json_schema_extra=BOUNDS)
    collection: StoredTexts = None
    threshold: float | None = Field(
        default=None,
        description="lowest cosine of duplicates; absent: suggested from these texts",
        json_schema_extra={"minimum": 0, "maximum": 1},
    )
    keep: Keep = Field(default="longest", description="which text of a group to keep")
    top: Top = None


def _run(context: ToolContext, given: DeduplicateArguments) -> DeduplicateResult:
    return deduplicate(
        context.embedder,
        given.texts,
        collection=opened(context.embedder, context.store, given.collection),
        threshold=given.threshold,
        keep=given.keep,
        top=given.top,
    )


def _text(result: DeduplicateResult, given: DeduplicateArguments) -> str:
    """One line a kept text and one a duplicate."""
    total = counted(result.usage.texts, "text")
    threshold = f"threshold {result.threshold:.4g} (suggested {result.suggested_threshold:.4g}; {result.model})"
    lines = [f"{result.unique:,} of {total} are unique at {threshold}."]
    name = naming(result.recalled, given.texts)
    for group in result.groups:
        lines += _lines(group, name)
    return "\n".join([*lines, *more(result.more, "groups"), used(result.usage)])


def _lines(group: DuplicateGroup, name: Callable[[int], str]) -> list[str]:
    lines = [f"keep {name(group.keep)}"]
    lines += [f"  drop {name(found.index)}: {judged(found)}" for found in group.duplicates]
    return lines + ["  " + line for line in more(group.size - 1 - len(group.duplicates), "of this group")]


TOOL = ToolSpec(
    name="deduplicate",
    title="Find repeats",
    description=(
        "Finds texts that say the same, reworded or copied. Use it to clean a list or to merge findings. Not for "
        "texts that merely share a subject: use cluster; not between two lists: use align. Returns groups with the "
        "position to keep and its duplicates, how many texts are unique, and the threshold; check the lowest scores "
        "and call again with another threshold if they are not the same."
    ),
    arguments=DeduplicateArguments,
    result=DeduplicateResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
