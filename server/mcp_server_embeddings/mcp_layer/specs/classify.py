"""The tool ``classify``."""

from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field

from mcp_server_embeddings.mcp_layer.arguments import (
    BOUNDS,
    Arguments,
    StoredTexts,
    Texts,
    Top,
    as_objects,
    within_bounds,
)
from mcp_server_embeddings.mcp_layer.rendering import counted, judged, more, naming, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.classify import Example, Method, classify
from mcp_server_embeddings.tools.corpus import opened
from mcp_server_embeddings.tools.results import ClassifyResult, Item

_METHODS: dict[Method, str] = {
    "labels": "by nearness to the labels",
    "means": "by nearness to the mean of each label's examples",
    "probe": "by a linear probe and the nearest example",
}


class ClassifyArguments(Arguments):
    """Arguments of ``classify``."""

    texts: Texts | None = Field(default=None, description="texts to label", json_schema_extra=BOUNDS)
    labels: Texts = Field(
        description="2 or more words, phrases or sentences that name a subject", json_schema_extra={"minItems": 2}
    )
    examples: Annotated[list[Example] | None, BeforeValidator(within_bounds), BeforeValidator(as_objects)] = Field(
        default=None, description="labelled texts, for every label; 4 or more each work best"
    )
    collection: StoredTexts = None
    abstain: bool = Field(default=True, description="give no label where none fits or two fit alike")
    top: Top = None


def _run(context: ToolContext, given: ClassifyArguments) -> ClassifyResult:
    return classify(
        context.embedder,
        given.texts,
        labels=given.labels,
        examples=given.examples,
        collection=opened(context.embedder, context.store, given.collection),
        abstain=given.abstain,
        top=given.top,
    )


def _text(result: ClassifyResult, given: ClassifyArguments) -> str:
    """How often each label was given, then one line a text."""
    total = len(result.items) + result.more
    lines = [f"{counted(total, 'text')} labelled {_METHODS[result.method]} ({result.model}):"]
    tally = [f"{_shown(count.label)} {count.texts:,}" for count in result.counts]
    rest = total - sum(count.texts for count in result.counts)
    lines.append("; ".join([*tally, *([f"other labels {rest:,}"] if rest else [])]) + ".")
    name = naming(result.recalled, given.texts)
    lines += [_line(item, name) for item in result.items]
    return "\n".join([*lines, *more(result.more, "texts"), used(result.usage)])


def _shown(label: str | None) -> str:
    return "no label" if label is None else f"'{label}'"


def _line(item: Item, name: Callable[[int], str]) -> str:
    next_best = "nearest" if item.label is None else "next"
    return (
        f"{name(item.index)}: {_shown(item.label)} ({judged(item)}; margin {item.margin:.4f}, "
        f"{next_best} {_shown(item.runner_up)})"
    )


TOOL = ToolSpec(
    name="classify",
    title="Label texts",
    description=(
        "Gives each text the label that fits its meaning. Use it to sort texts into kinds you name, from the labels "
        "alone or from examples, which are more reliable. Not to find unknown kinds: use cluster. Returns for each "
        "text label (null where it abstains), score, margin, runner_up, and counts. Check small margins yourself."
    ),
    arguments=ClassifyArguments,
    result=ClassifyResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
