"""Combine rankings."""

from collections import defaultdict
from collections.abc import Sequence

_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009, SIGIR, found 60 to be near the optimum on
four TREC collections)."""


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> list[int]:
    """Order the items of several rankings by the sum of ``weight / (60 + rank)``, ranks from 1.

    Args:
        rankings: Each best first, without repeats.
        weights: One for each ranking, above 0.

    Returns:
        Every item once, best first; ties in the order of the items themselves.
    """
    fused: defaultdict[int, float] = defaultdict(float)
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, item in enumerate(ranking, 1):
            fused[item] += weight / (_K + rank)
    return sorted(fused, key=lambda item: (-fused[item], item))
