"""The text of an answer of ``similarity``."""

import json

from mcp_server_embeddings.mcp_layer.rendering import Sent, count, excerpt, left_out, score, usage_line
from mcp_server_embeddings.tools.results import SimilarityResult
from mcp_server_embeddings.tools.texts import SNIPPET

_SMALL_MATRIX = 100
"""Cells beside which the text has room to recall the texts of each pair at length."""

_BRIEF = 16
"""Characters that recall a text beside a larger matrix."""


def text(result: SimilarityResult, sent: Sent) -> str:
    """One line a pair; the matrix too, when it says more than the pairs."""
    others, side = (sent["left"], "left") if sent["right"] is None else (sent["right"], "right")
    possible = len(result.pairs) + result.more
    matrix = result.scores if result.more else None
    length = _BRIEF if matrix is not None and len(matrix) * len(matrix[0]) > _SMALL_MATRIX else SNIPPET
    lines = [f"Closest {len(result.pairs)} of {count(possible, 'pair')} by {result.metric} ({result.model}):"]
    for pair in result.pairs:
        left, right = excerpt(pair.left, sent["left"], length), excerpt(pair.right, others, length)
        lines.append(f"left{left} ~ {side}{right}: {score(pair)}")
    lines += left_out(result.more)
    if matrix is not None:
        lines.append(f"All scores, a row for each of left: {json.dumps(matrix, separators=(',', ':'))}")
    return "\n".join([*lines, usage_line(result.usage)])
