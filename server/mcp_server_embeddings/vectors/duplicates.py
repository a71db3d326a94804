"""Group texts with the same meaning."""

import numpy as np

from mcp_server_embeddings.vectors.scores import Scores

_TOLERANCE = 5e-7
"""Half the last decimal of a score: a cosine equal to the threshold reaches it."""

_MIN_GAP = 0.05
"""A narrower gap, as a share of the doubtful range, is not significant."""


def complete_groups(cosines: Scores, threshold: float) -> list[list[int]]:
    """Find the groups in which every pair reaches the threshold, by complete linkage.

    There are no chains: where a matches b and b matches c but a does not match c, only the closer two are grouped. The
    groups of a higher threshold lie within those of a lower one, since both are cuts of one tree.

    Args:
        cosines: Shape ``(n, n)``, symmetric.
        threshold: The lowest cosine within a group.

    Returns:
        Groups of two or more positions, each ascending, in the order of their first positions.
    """
    if len(cosines) < 2:
        return []
    # Imported here, as everywhere in this package, so that only the tools that need scipy pay for its import.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(np.maximum(1 - cosines, 0), checks=False), "complete")
    labels = fcluster(tree, 1 - threshold + _TOLERANCE, "distance")
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def suggested_threshold(cosines: Scores, low: float, high: float) -> float:
    """Find the threshold that separates the duplicates of these texts best: the middle of the widest gap.

    Pairs above ``high`` are duplicates and those below ``low`` are not. The scores between them, both ends included,
    are compared; where they are so many that no gap is significant, the result is ``high``.

    Args:
        cosines: Shape ``(n, n)``, symmetric.
        low: Where the doubtful range begins.
        high: Where the doubtful range ends.

    Returns:
        A cosine from ``low`` to ``high``.
    """
    upper = cosines[np.triu_indices(len(cosines), 1)]
    ends = np.concatenate([[low], np.sort(upper[(upper > low) & (upper < high)]), [high]])
    gaps = np.diff(ends)
    widest = int(np.argmax(gaps))
    if gaps[widest] < _MIN_GAP * (high - low):
        return high
    return float((ends[widest] + ends[widest + 1]) / 2)
