"""The best of many, with or without variety."""

import numpy as np

from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows

_DECIMALS = 6
"""Of a likeness, so that equal texts tie."""


def best_rows(relevance: Scores, top: int) -> list[int]:
    """Positions of the highest values, best first, ties by position.

    Args:
        relevance: Shape ``(n,)``.
        top: How many at most.
    """
    return [int(row) for row in np.argsort(-relevance, kind="stable")[:top]]


def diverse_rows(relevance: Scores, vectors: Vectors, top: int, diversity: float) -> list[int]:
    """Positions chosen one by one by maximal marginal relevance, ties by position.

    Each choice maximises ``(1 - diversity) * relevance - diversity * likeness``, where likeness is the highest
    cosine to what was chosen before (Carbonell and Goldstein 1998, SIGIR, with lambda = 1 - diversity). The
    first choice is the most relevant text, whatever the diversity.

    Args:
        relevance: Shape ``(n,)``, cosines to the query.
        vectors: Shape ``(n, d)``.
        top: How many at most.
        diversity: 0 (relevance alone) to 1 (unlikeness alone).
    """
    if diversity == 0:
        return best_rows(relevance, top)
    units = unit_rows(vectors)
    chosen = [int(np.argmax(relevance))]
    likeness = np.full(len(vectors), -1.0)
    while len(chosen) < min(top, len(vectors)):
        likeness = np.maximum(likeness, np.round(units @ units[chosen[-1]], _DECIMALS))
        worth = (1 - diversity) * relevance - diversity * likeness
        worth[chosen] = -np.inf
        chosen.append(int(np.argmax(worth)))
    return chosen
