"""Which texts say the same."""

import numpy as np

from mcp_server_embeddings.vectors.scores import Scores

_TOLERANCE = 5e-7
"""Half the last decimal of a score: a cosine that equals the threshold reaches it."""

_CROWDED = 0.05
"""A gap narrower than this share of the doubtful range is no gap."""


def complete_groups(cosines: Scores, threshold: float) -> list[list[int]]:
    """Groups in which every pair reaches the threshold, by complete linkage.

    No chains: where a fits b and b fits c but a does not fit c, only the closer two are grouped. The groups of
    a higher threshold always lie within those of a lower one, since both are cuts of one tree.

    Args:
        cosines: Shape ``(n, n)``, symmetric.
        threshold: The lowest cosine within a group.

    Returns:
        Groups of two or more positions, each ascending, in the order of their first positions.
    """
    if len(cosines) < 2:
        return []
    # Imported here, as everywhere in this package: only the tools that need scipy pay for its import.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(np.maximum(1 - cosines, 0), checks=False), "complete")
    labels = fcluster(tree, 1 - threshold + _TOLERANCE, "distance")
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def suggested_threshold(cosines: Scores, low: float, high: float) -> float:
    """Where these texts themselves part duplicates from the rest: the middle of the widest gap in doubt.

    Above ``high`` a pair is a duplicate and below ``low`` it is none; the widest gap between the scores that
    lie in between, both ends included, is where a threshold decides about the fewest. Where they are so many
    that no gap stands out, ``high``.

    Args:
        cosines: Shape ``(n, n)``, symmetric.
        low: Where doubt begins.
        high: Where doubt ends.

    Returns:
        A cosine from ``low`` to ``high``.
    """
    upper = cosines[np.triu_indices(len(cosines), 1)]
    doubtful = np.sort(upper[(upper > low) & (upper < high)])
    ends = np.concatenate([[low], doubtful, [high]])
    gaps = np.diff(ends)
    widest = int(np.argmax(gaps))
    if gaps[widest] < _CROWDED * (high - low):
        return high
    return float((ends[widest] + ends[widest + 1]) / 2)
