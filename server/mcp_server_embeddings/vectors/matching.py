"""Match two lists one to one."""

import numpy as np

from mcp_server_embeddings.vectors.scores import Scores

_TOLERANCE = 1e-6
"""Rounding errors: the cosine of equal vectors can be this much below 1."""


def one_to_one(cosines: Scores, threshold: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of the pairs' margins above the threshold is maximal.

    A pair below the threshold counts as zero and is left out, so it cannot separate two that match. The number of pairs
    never grows with the threshold. Solved exactly (Crouse 2016, IEEE TAES 52, in scipy).

    Args:
        cosines: Shape ``(n, m)``.
        threshold: The lowest cosine of a pair.

    Returns:
        Pairs ``(row, column)`` by row.
    """
    from scipy.optimize import linear_sum_assignment

    fits = cosines >= threshold - _TOLERANCE
    gains = np.where(fits, cosines - threshold + 2 * _TOLERANCE, 0)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if fits[row, column]]
