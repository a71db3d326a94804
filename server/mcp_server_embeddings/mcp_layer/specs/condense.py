"""The tool ``condense``."""

from pydantic import Field

from mcp_server_embeddings.mcp_layer.arguments import BOUNDS, Arguments, Texts, Top
from mcp_server_embeddings.mcp_layer.rendering import counted, more, named, used
from mcp_server_embeddings.mcp_layer.tool_spec import ToolContext, ToolSpec
from mcp_server_embeddings.tools.condense import condense
from mcp_server_embeddings.tools.results import CondenseResult


class CondenseArguments(Arguments):
    """Arguments of ``condense``."""

    texts: Texts = Field(description="texts to choose from, or one long text", json_schema_extra=BOUNDS)
    max_tokens: int | None = Field(
        default=None, description="tokens that may stay, by this model's tokenizer", json_schema_extra={"minimum": 1}
    )
    count: int | None = Field(default=None, description="texts that may stay", json_schema_extra={"minimum": 1})
    query: str | None = Field(default=None, description="what matters; absent: keep what is typical")
    top: Top = None


def _run(context: ToolContext, given: CondenseArguments) -> CondenseResult:
    return condense(
        context.embedder,
        given.texts,
        max_tokens=given.max_tokens,
        count=given.count,
        query=given.query,
        top=given.top,
    )


def _text(result: CondenseResult, given: CondenseArguments) -> str:
    """The chosen texts or sentences in their order."""
    kept, noun = len(result.selected) + result.more, "text" if result.passages is None else "sentence"
    lines = [
        (
            f"Keep {counted(kept, noun)}, {counted(result.tokens, 'token')} by this model's tokenizer; they stand for "
            f"{result.coverage:.1%} of all{'' if given.query is None else ' that is about the query'} ({result.model}):"
        )
    ]
    if result.no_match:
        lines.insert(0, "No match: nothing is closer to the query than weak.")
    if result.passages is None:
        lines += [named(position, given.texts) for position in result.selected]
    else:
        lines += [
            f'sentence {position}, characters {passage.start} to {passage.end}: "{passage.snippet}"'
            for position, passage in zip(result.selected, result.passages, strict=True)
        ]
    return "\n".join([*lines, *more(result.more), used(result.usage)])


TOOL = ToolSpec(
    name="condense",
    title="Keep what says most",
    description=(
        "Chooses the few texts, or sentences of one long text, that stand for all of them. Use it to fit notes, "
        "results or a document into a context; with query, keeps what matters for it. Not to summarise: it rewrites "
        "nothing; not for the best hits: use rank. Returns selected positions in their order, tokens (never over "
        "max_tokens) and coverage (0 to 1), for one text also where its sentences are."
    ),
    arguments=CondenseArguments,
    result=CondenseResult,
    run=_run,
    text=_text,
    too_large="pass a smaller top",
)
