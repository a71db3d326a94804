"""The text of an answer of ``condense``."""

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, excerpt, left_out, usage_line
from mcp_server_embeddings.tools.results import CondenseResult


def text(result: CondenseResult, sent: Sent) -> str:
    """The chosen texts or sentences in their order."""
    about = " that is about the query" if sent["query"] else ""
    kept, noun = len(result.selected) + result.more, "text" if result.passages is None else "sentence"
    lines = [
        (
            f"Keep {count(kept, noun)}, {count(result.tokens, 'token')} by this model's tokenizer; they stand for "
            f"{result.coverage:.1%} of all{about} ({result.model}):"
        )
    ]
    if result.no_match:
        lines.insert(0, "No match: nothing is closer to the query than weak.")
    if result.passages is None:
        lines += [excerpt(position, sent["texts"]) for position in result.selected]
    else:
        lines += [
            f'sentence {position}, characters {passage.start} to {passage.end}: "{passage.snippet}"'
            for position, passage in zip(result.selected, result.passages, strict=True)
        ]
    return "\n".join([*lines, *left_out(result.more), usage_line(result.usage)])
