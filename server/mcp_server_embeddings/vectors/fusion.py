"""Putting rankings together."""

from collections.abc import Sequence

_K = 60
"""Of reciprocal rank fusion: how little the first places weigh over the next (Cormack, Clarke and Buettcher 2009,
SIGIR, found 60 to be near the best on four TREC collections)."""


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> list[int]:
    """Rank what any of several rankings has by the sum of ``weight / (60 + place)``, places from 1.

    Args:
        rankings: Each best first, without repeats.
        weights: One a ranking, above 0.

    Returns:
        Every item once, best first; ties in the order of the items themselves.
    """
    worth: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for place, item in enumerate(ranking, 1):
            worth[item] = worth.get(item, 0.0) + weight / (_K + place)
    return sorted(worth, key=lambda item: (-worth[item], item))
