"""Order the best candidates of a search by the scores of a reranker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.vectors.scores import Scores

_MAX_SCORED = 30
"""Maximum number of candidates per query that are scored."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates in their final order.

    Attributes:
        order: Positions of the candidates, best first.
        scores: The scores they are ordered by, in this order, shape ``(n,)``.
        relevance: Scores of the reranker in this order, shape ``(n,)``; NaN for candidates it did not score.
    """

    order: list[int]
    scores: Scores
    relevance: Scores


class Reranking:
    """Reranks the candidates of all queries of one call, with an embedder that has a reranker."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._scored = self._total = 0

    def rerank(
        self, query: str, order: list[int], scores: Scores, top: int, passages: Callable[[list[int]], Sequence[str]]
    ) -> Ranked:
        """Order candidates, the first of which the reranker scores against the query.

        Args:
            query: The query.
            order: Positions of the candidates, best first.
            scores: Scores of the candidates in this order.
            top: The number of hits.
            passages: Returns the texts at given positions.

        Returns:
            First the candidates that the reranker scored, by relevance, 0 to 1. Then the others in their given order:
            their scores are mapped to -1 to 0, so that the scores order all candidates.
        """
        first = order[:_MAX_SCORED]
        relevance = np.full(len(order), np.nan)
        relevance[: len(first)] = self._embedder.rerank(query, passages(first)).scores
        scored = np.isfinite(relevance)
        self._scored += int(scored.sum())
        self._total += min(len(order), max(top, _MAX_SCORED))
        final = np.where(scored, relevance, (scores / (1 + np.abs(scores)) - 1) / 2)
        rows = np.argsort(-final, kind="stable")
        return Ranked([order[row] for row in rows], final[rows], relevance[rows])

    def notes(self) -> list[str]:
        """Return a note if candidates were not reranked."""
        if self._scored == self._total:
            return []
        limits = f"at most {_MAX_SCORED} a query, in {self._embedder.rerank_ms:,} ms"
        return [
            f"{self._scored:,} of {self._total:,} candidates were reranked ({limits}); a score below 0: not reranked"
        ]
