"""Select the best rows, with or without diversity."""

import numpy as np

from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows

_DECIMALS = 6
"""Decimals of a similarity, so that equal texts tie."""


def best_rows(relevance: Scores, top: int) -> list[int]:
    """Return the positions of the ``top`` highest values of ``(n,)``, best first, ties by position."""
    return [int(row) for row in np.argsort(-relevance, kind="stable")[:top]]


def diverse_rows(relevance: Scores, vectors: Vectors, top: int, diversity: float) -> list[int]:
    """Choose positions one by one by maximal marginal relevance, ties by position.

    Each choice maximises ``(1 - diversity) * relevance - diversity * similarity``, where similarity is the highest
    cosine to a previous choice (Carbonell and Goldstein 1998, SIGIR, with lambda = 1 - diversity). The first choice is
    always the most relevant text.

    Args:
        relevance: Shape ``(n,)``: cosines to the query.
        vectors: Shape ``(n, d)``.
        top: Maximum number of positions.
        diversity: 0 (relevance alone) to 1 (dissimilarity alone).
    """
    if diversity == 0:
        return best_rows(relevance, top)
    units = unit_rows(vectors)
    chosen = [int(np.argmax(relevance))]
    similarity = np.full(len(vectors), -1.0)
    while len(chosen) < min(top, len(vectors)):
        similarity = np.maximum(similarity, np.round(units @ units[chosen[-1]], _DECIMALS))
        marginal = (1 - diversity) * relevance - diversity * similarity
        marginal[chosen] = -np.inf
        chosen.append(int(np.argmax(marginal)))
    return chosen
