"""Choose a few texts that represent many."""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores

Costs = NDArray[np.int64]
"""Shape ``(n,)``: the part of the budget that each text uses."""

_MIN_GAIN = 1e-9
"""A text that adds no more is redundant."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen texts.

    Attributes:
        rows: Positions, in the order in which they were chosen: the most informative first.
        coverage: Share of the weight of all texts that the chosen ones cover, 0 to 1.
    """

    rows: list[int]
    coverage: float


def best_cover(similarity: Scores, weights: Scores, costs: Costs, *, budget: int | None, count: int) -> Choice:
    """Choose the subset that covers the most: facility location under a budget.

    The value of a subset is the weighted sum, over all texts, of the similarity to the nearest chosen one. It is
    submodular, so the greedy choice is near the optimum; under a budget the better of two greedy runs, by gain and by
    gain per cost, is within (1 - 1/e) / 2 of it (Leskovec et al. 2007, KDD, "Cost-effective outbreak detection").

    Args:
        similarity: Shape ``(n, n)``, 0 to 1, 1 on the diagonal: how well the column represents the row.
        weights: Shape ``(n,)``, 0 or more, not all 0.
        costs: Shape ``(n,)``, 1 or more.
        budget: Maximum sum of costs; None for no limit.
        count: Maximum number of texts.

    Returns:
        Texts until no other adds anything; empty only if none fits the budget.
    """
    runs = [_greedy(similarity, weights, np.ones_like(costs), costs, budget, count)]
    if budget is not None:
        runs.append(_greedy(similarity, weights, costs, costs, budget, count))
    return max(runs, key=lambda run: run.coverage)


def _greedy(
    similarity: Scores, weights: Scores, divisors: Costs, costs: Costs, budget: int | None, count: int
) -> Choice:
    """Lazy greedy (Minoux 1978): gains only fall, so a text whose updated gain is still the highest is the best."""
    covered = np.zeros(len(weights))
    heap = [(-float(gain), row) for row, gain in enumerate(weights @ similarity / divisors)]
    heapq.heapify(heap)
    chosen: list[int] = []
    left = math.inf if budget is None else budget
    while heap and len(chosen) < count:
        _, row = heapq.heappop(heap)
        if costs[row] > left:
            continue
        gain = float(weights @ np.maximum(similarity[:, row] - covered, 0) / divisors[row])
        if heap and (-gain, row) > heap[0]:
            heapq.heappush(heap, (-gain, row))
            continue
        if gain <= _MIN_GAIN:
            break
        chosen.append(row)
        covered = np.maximum(covered, similarity[:, row])
        left -= int(costs[row])
    return Choice(chosen, float(weights @ covered / weights.sum()))
