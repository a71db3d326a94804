"""The text of an answer of ``rank``."""

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, left_out, score, usage_line
from mcp_server_embeddings.tools.results import Hit, RankResult


def text(result: RankResult, _: Sent) -> str:
    """Return one line for each hit, the quote as it stands in the text."""
    total = len(result.hits) + result.more
    lines = [f"Best {len(result.hits)} of {count(total, 'text')} ({result.model}):"]
    if result.no_match:
        lines = [f"No match: nothing is closer than weak. Nearest {len(result.hits)} of {count(total, 'text')}:"]
    lines += [f'[{_key(hit)}] "{hit.snippet}": {score(hit)}{_place(hit)}' for hit in result.hits]
    return "\n".join([*lines, *left_out(result.more), usage_line(result.usage)])


def _key(hit: Hit) -> str | int:
    return hit.index if hit.id is None else hit.id


def _place(hit: Hit) -> str:
    if hit.span is None:
        return ""
    return f"; characters {hit.span.start} to {hit.span.end}, alone {score(hit.span)}"
