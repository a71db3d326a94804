"""Put the best candidates of a search in the order of a reranker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.vectors.scores import Scores

RERANKED = 30
"""Candidates of a query that are scored at most."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates in their final order.

    Attributes:
        order: Their positions, best first.
        scores: What they are ordered by, shape ``(n,)``, as ``order``.
        relevance: By the reranker, shape ``(n,)``, as ``order``; NaN where it gave none.
    """

    order: list[int]
    scores: Scores
    relevance: Scores


def unchanged(order: list[int], scores: Scores) -> Ranked:
    """Return candidates in the order that they came in."""
    return Ranked(order, scores, np.full(len(order), np.nan))


class Reranking:
    """Reranks the queries of one call.

    Args:
        embedder: With a reranker.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._ranked = self._shown = 0

    def ranked(
        self, query: str, order: list[int], scores: Scores, top: int, passages: Callable[[list[int]], Sequence[str]]
    ) -> Ranked:
        """Score the first candidates with the query.

        Args:
            query: What is looked for.
            order: Positions of the candidates, best first.
            scores: Theirs, in this order.
            top: How many are hits.
            passages: Returns the texts of some positions.

        Returns:
            First the candidates that the reranker scored, by how relevant they are, 0 to 1. Then the
            others in the order that they had: their scores are mapped between -1 and 0, so that scores order all.
        """
        first = order[:RERANKED]
        relevance = np.full(len(order), np.nan)
        relevance[: len(first)] = self._embedder.rerank(query, passages(first)).scores
        scored = np.isfinite(relevance)
        self._ranked += int(scored.sum())
        self._shown += min(len(order), max(top, RERANKED))
        final = np.where(scored, relevance, (scores / (1 + np.abs(scores)) - 1) / 2)
        rows = np.argsort(-final, kind="stable")
        return Ranked([order[row] for row in rows], final[rows], relevance[rows])

    def notes(self) -> list[str]:
        """Say how many candidates were not reranked."""
        if self._ranked == self._shown:
            return []
        limits = f"at most {RERANKED} a query, in {self._embedder.rerank_ms:,} ms"
        return [
            f"{self._ranked:,} of {self._shown:,} candidates were reranked ({limits}); a score below 0: not reranked"
        ]
