"""Choosing the few that stand for the many."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores

Costs = NDArray[np.int64]
"""Shape ``(n,)``: what choosing each text uses of the budget."""

_NOTHING = 1e-9
"""A text that adds no more than this says what the chosen ones say."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        rows: Positions, in the order in which they were chosen: the most telling first.
        coverage: Share of the weight of all texts that the chosen ones stand for, 0 to 1.
    """

    rows: list[int]
    coverage: float


def best_cover(likeness: Scores, weights: Scores, costs: Costs, *, budget: int | None, count: int) -> Choice:
    """The subset that covers most: facility location under a budget.

    The value of a subset is the weighted sum, over all texts, of the likeness to the nearest chosen one. It is
    submodular, so choosing greedily is near the best; under a budget the better of two greedy runs, by gain
    and by gain for its cost, is within (1 - 1/e) / 2 of it (Leskovec et al. 2007, KDD, "Cost-effective
    outbreak detection").

    Args:
        likeness: Shape ``(n, n)``, 0 to 1, 1 on the diagonal: how far the column stands for the row.
        weights: Shape ``(n,)``, 0 or more, not all 0.
        costs: Shape ``(n,)``, 1 or more.
        budget: The sum of costs is never over this; None for no bound.
        count: How many at most.

    Returns:
        The choice: as long as another text adds anything; empty only if none fits the budget.
    """
    runs = [_greedy(likeness, weights, np.ones_like(costs), costs, budget, count)]
    if budget is not None:
        runs.append(_greedy(likeness, weights, costs, costs, budget, count))
    return max(runs, key=lambda run: run.coverage)


def _greedy(likeness: Scores, weights: Scores, divisors: Costs, costs: Costs, budget: int | None, count: int) -> Choice:
    """Lazy greedy (Minoux 1978): a gain only ever falls, so a text that leads with a fresh gain is the best."""
    covered = np.zeros(len(weights))
    gains = weights @ likeness / divisors
    heap = [(-float(gain), row) for row, gain in enumerate(gains)]
    heapq.heapify(heap)
    chosen: list[int] = []
    left = budget
    while heap and len(chosen) < count:
        _, row = heapq.heappop(heap)
        if left is not None and costs[row] > left:
            continue
        gain = float(weights @ np.maximum(likeness[:, row] - covered, 0) / divisors[row])
        if heap and (-gain, row) > heap[0]:
            heapq.heappush(heap, (-gain, row))
            continue
        if gain <= _NOTHING:
            break
        chosen.append(row)
        covered = np.maximum(covered, likeness[:, row])
        left = None if left is None else left - int(costs[row])
    return Choice(chosen, float(weights @ covered / weights.sum()))
