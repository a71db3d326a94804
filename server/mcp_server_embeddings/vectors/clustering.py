"""Cluster vectors.

A Ward tree proposes a partition for each number of clusters, the silhouette selects the number, and k-means from the
tree's centres refines the partition. Nothing is random.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows

Labels = NDArray[np.int64]
"""Shape ``(n,)``: the cluster of each row."""

Tree = NDArray[np.float64]
"""Shape ``(n - 1, 4)``: scipy's linkage matrix, one merge per row; the third column is its height, ascending."""

_CANDIDATES = 20
"""Numbers of clusters that are tried, evenly spaced on a logarithmic scale."""

_MIN_SILHOUETTE = 0.5
"""From here on there is a structure (Kaufman and Rousseeuw 1990, "Finding Groups in Data", ch. 2)."""

_MIN_DISTANCE = 1e-3
"""Vectors nearer than this are the same point: their cosine is above 0.9999995."""


@dataclass(frozen=True, slots=True)
class Group:
    """One cluster.

    Attributes:
        members: Positions, nearest to the centre first.
        cohesion: Mean cosine between two members; 1 for a single one.
    """

    members: list[int]
    cohesion: float


@dataclass(frozen=True, slots=True)
class Grouping:
    """A partition: every position is in one group or an outlier.

    Attributes:
        groups: Largest first, ties by first position.
        outliers: Positions, ascending.
    """

    groups: list[Group]
    outliers: list[int]


def ward_tree(vectors: Vectors) -> Tree:
    """Build the tree of all partitions by Ward's method on the directions of ``(n, d)`` vectors, n at least 2."""
    from scipy.cluster.hierarchy import linkage

    tree: Tree = linkage(unit_rows(vectors).astype(np.float64), "ward")
    return tree


def distinct_points(tree: Tree) -> int:
    """Count the distinct rows: the maximum number of clusters."""
    return 1 + int((tree[:, 2] > _MIN_DISTANCE).sum())


def grouped(vectors: Vectors, cosines: Scores, tree: Tree, count: int | None, *, weak: float, close: float) -> Grouping:
    """Cluster vectors by direction.

    Without ``count`` the number of clusters is the one with the best mean silhouette (Rousseeuw 1987) by cosine
    distance among up to 20 candidates from 2 to twice the square root of ``n``; or 1, where texts are ``close`` on
    average and no silhouette reaches 0.5. A vector whose mean cosine to the other members is below ``weak`` is an
    outlier. With ``count`` there are exactly that many clusters: one without any near members is kept whole.

    Args:
        vectors: Shape ``(n, d)``, at least two rows.
        cosines: Shape ``(n, n)``, between the vectors.
        tree: The result of ``ward_tree``.
        count: Number of clusters, at most ``distinct_points``; None to choose.
        weak: The cosine that unrelated texts seldom exceed.
        close: The cosine from which texts share more than a subject.
    """
    units = unit_rows(vectors).astype(np.float64)
    number = count or _number(cosines, tree, close)
    labels = _refined(units, _cut(tree, number), number)
    groups: list[Group] = []
    outliers: list[int] = []
    for label in range(number):
        members = np.flatnonzero(labels == label)
        kept = _near(cosines, members, weak, keep=count is not None)
        outliers += [int(position) for position in np.setdiff1d(members, kept)]
        if len(kept):
            groups.append(_group(units, cosines, kept))
    groups.sort(key=lambda group: (-len(group.members), min(group.members)))
    return Grouping(groups, sorted(outliers))


def _cut(tree: Tree, number: int) -> Labels:
    """Cut the tree into exactly ``number`` clusters, by counting merges, because their heights may tie."""
    from scipy.cluster.hierarchy import fcluster

    counted = tree.copy()
    counted[:, 2] = np.arange(1, len(tree) + 1)
    labels: Labels = fcluster(counted, len(tree) + 1 - number, "distance").astype(np.int64) - 1
    return labels


def _number(cosines: Scores, tree: Tree, close: float) -> int:
    size = len(cosines)
    largest = min(size - 1, distinct_points(tree), round(2 * np.sqrt(size)))
    if largest < 2:
        return 1
    # Imported here, so that only this tool pays the second that it takes.
    from sklearn.metrics import silhouette_score

    distances = np.maximum(1 - cosines, 0)
    np.fill_diagonal(distances, 0)
    tried = np.unique(np.geomspace(2, largest, _CANDIDATES).round().astype(int))
    silhouettes = [silhouette_score(distances, _cut(tree, number), metric="precomputed") for number in tried]
    best = int(np.argmax(silhouettes))
    mean = (cosines.sum() - size) / (size * (size - 1))
    return 1 if silhouettes[best] < _MIN_SILHOUETTE and mean >= close else int(tried[best])


def _refined(units: Scores, labels: Labels, number: int) -> Labels:
    """Refine the partition by k-means."""
    from sklearn.cluster import KMeans

    centres = np.stack([units[labels == label].mean(axis=0) for label in range(number)])
    refined: Labels = KMeans(number, init=centres, n_init=1).fit(units).labels_.astype(np.int64)
    return refined


def _near(cosines: Scores, members: Labels, weak: float, *, keep: bool) -> Labels:
    """Select the members with a mean cosine of at least ``weak`` to the others; with ``keep`` all rather than none."""
    inside = cosines[np.ix_(members, members)]
    near = members[(inside.sum(axis=1) - inside.diagonal()) / max(1, len(members) - 1) >= weak]
    if keep:
        return near if len(near) else members
    return near if len(near) > 1 else members[:0]


def _group(units: Scores, cosines: Scores, members: Labels) -> Group:
    size = len(members)
    inside = cosines[np.ix_(members, members)]
    cohesion = (inside.sum() - inside.trace()) / (size * (size - 1)) if size > 1 else 1.0
    nearness = units[members] @ units[members].mean(axis=0)
    order = np.argsort(-np.round(nearness, 9), kind="stable")
    return Group([int(position) for position in members[order]], float(cohesion))
