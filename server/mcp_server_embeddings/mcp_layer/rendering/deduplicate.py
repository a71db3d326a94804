"""The text of an answer of ``deduplicate``."""

from collections.abc import Callable

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, excerpts, left_out, score, usage_line
from mcp_server_embeddings.tools.results import DeduplicateResult, DuplicateGroup


def text(result: DeduplicateResult, sent: Sent) -> str:
    """One line a kept text and one a duplicate."""
    total = count(result.usage.texts, "text")
    threshold = f"threshold {result.threshold:.4g} (suggested {result.suggested_threshold:.4g}; {result.model})"
    lines = [f"{result.unique:,} of {total} are unique at {threshold}."]
    name = excerpts(result.recalled, sent["texts"])
    for group in result.groups:
        lines += _lines(group, name)
    return "\n".join([*lines, *left_out(result.more, "groups"), usage_line(result.usage)])


def _lines(group: DuplicateGroup, name: Callable[[int], str]) -> list[str]:
    lines = [f"keep {name(group.keep)}"]
    lines += [f"  drop {name(found.index)}: {score(found)}" for found in group.duplicates]
    return lines + ["  " + line for line in left_out(group.size - 1 - len(group.duplicates), "of this group")]
