"""The text of an answer of ``classify``."""

from collections.abc import Callable

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, excerpts, left_out, score, usage_line
from mcp_server_embeddings.tools.results import ClassifyResult, Item

_METHODS: dict[str, str] = {
    "labels": "by nearness to the labels",
    "means": "by nearness to the mean of each label's examples",
    "probe": "by a linear probe and the nearest example",
}


def text(result: ClassifyResult, sent: Sent) -> str:
    """How often each label was sent, then one line a text."""
    total = len(result.items) + result.more
    lines = [f"{count(total, 'text')} labelled {_METHODS[result.method]} ({result.model}):"]
    tally = [f"{_shown(entry.label)} {entry.texts:,}" for entry in result.counts]
    rest = total - sum(entry.texts for entry in result.counts)
    lines.append("; ".join([*tally, *([f"other labels {rest:,}"] if rest else [])]) + ".")
    name = excerpts(result.recalled, sent["texts"])
    lines += [_line(item, name) for item in result.items]
    return "\n".join([*lines, *left_out(result.more, "texts"), usage_line(result.usage)])


def _shown(label: str | None) -> str:
    return "no label" if label is None else f"'{label}'"


def _line(item: Item, name: Callable[[int], str]) -> str:
    next_best = "nearest" if item.label is None else "next"
    return (
        f"{name(item.index)}: {_shown(item.label)} ({score(item)}; margin {item.margin:.4f}, "
        f"{next_best} {_shown(item.runner_up)})"
    )
