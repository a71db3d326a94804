"""The text of an answer of ``collection_search``."""

import json

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, left_out, score, usage_line
from mcp_server_embeddings.tools.collection_results import CollectionSearchResult, FoundPassage
from mcp_server_embeddings.tools.results import ScoredResult


def text(result: CollectionSearchResult, _: Sent) -> str:
    """A few lines a hit, the quote as it stands in the text."""
    total = len(result.hits) + result.more
    lines = [f"Best {len(result.hits)} of {count(total, 'passage')} in {result.collection} ({result.model}):"]
    if result.no_match:
        lines = [f"No match in {result.collection}. Nearest {len(result.hits)} of {count(total, 'passage')}:"]
    for hit in result.hits:
        lines += _lines(hit)
    return "\n".join([*lines, *left_out(result.more), *([usage_line(result.usage)] if result.usage.texts else [])])


def _lines(hit: FoundPassage) -> list[str]:
    metadata = f"; {json.dumps(hit.metadata, ensure_ascii=False)}" if hit.metadata else ""
    place = f"characters {hit.span.start} to {hit.span.end}, found by {hit.found_by}{metadata}"
    lines = [f'[{hit.id}] "{hit.snippet}": {_judged(hit)}{place}']
    lines += [f"  before: {hit.before}"] if hit.before else []
    return lines + ([f"  after: {hit.after}"] if hit.after else [])


def _judged(hit: FoundPassage) -> str:
    if hit.score is None or hit.percentile is None or hit.band is None:
        return ""
    return score(ScoredResult(score=hit.score, percentile=hit.percentile, band=hit.band)) + "; "
