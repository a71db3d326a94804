"""What groups there are.

A Ward tree proposes a partition for every number of groups, the silhouette chooses the number, k-means from the
tree's centres settles who belongs where. Nothing is drawn at random.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows

Labels = NDArray[np.int64]
"""Shape ``(n,)``: the cluster of each row."""

Tree = NDArray[np.float64]
"""Shape ``(n - 1, 4)``: scipy's linkage matrix, a merge a row; the third column is its height, ascending."""

_CANDIDATES = 20
"""Numbers of clusters that are tried, evenly spaced on a logarithmic scale."""

_CLEAR = 0.5
"""A silhouette from here on shows a structure (Kaufman and Rousseeuw 1990, "Finding Groups in Data", ch. 2)."""

_APART = 1e-3
"""Vectors nearer than this are one point: their cosine is above 0.9999995."""


@dataclass(frozen=True, slots=True)
class Group:
    """One cluster.

    Attributes:
        members: Positions, nearest the centre first.
        cohesion: Mean cosine of two members; 1 for a single one.
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
    """Every partition from one cluster a row to one for all, by Ward's method on directions.

    Args:
        vectors: Shape ``(n, d)``, two rows or more.
    """
    from scipy.cluster.hierarchy import linkage

    tree: Tree = linkage(unit_rows(vectors).astype(np.float64), "ward")
    return tree


def distinct_points(tree: Tree) -> int:
    """How many clusters there can be: rows that are apart."""
    return 1 + int((tree[:, 2] > _APART).sum())


def grouped(vectors: Vectors, cosines: Scores, tree: Tree, count: int | None, *, weak: float, close: float) -> Grouping:
    """Group vectors by direction.

    Without ``count`` the number is the one with the best mean silhouette (Rousseeuw 1987) by cosine distance
    among up to 20 from 2 to twice the square root of ``n``; or one, where texts are ``close`` on average and no
    silhouette reaches 0.5. A vector whose mean cosine to its fellows is below ``weak`` is an outlier: no nearer
    than unrelated texts are. With ``count`` exactly that many clusters are given: one in which no vector is near
    its fellows is kept whole.

    Args:
        vectors: Shape ``(n, d)``, two rows or more.
        cosines: Shape ``(n, n)``, of the same.
        tree: Theirs.
        count: How many clusters, at most ``distinct_points``; None to choose.
        weak: The cosine where chance ends.
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
    """Exactly ``number`` clusters: as many merges undone. Heights may tie, so merges are counted instead."""
    from scipy.cluster.hierarchy import fcluster

    counted = tree.copy()
    counted[:, 2] = np.arange(1, len(tree) + 1)
    labels: Labels = fcluster(counted, len(tree) + 1 - number, "distance").astype(np.int64) - 1
    return labels


def _number(cosines: Scores, tree: Tree, close: float) -> int:
    size = len(cosines)
    most = min(size - 1, distinct_points(tree), round(2 * np.sqrt(size)))
    if most < 2:
        return 1
    # Imported here: it costs a second that only this tool should pay.
    from sklearn.metrics import silhouette_score

    distances = np.maximum(1 - cosines, 0)
    np.fill_diagonal(distances, 0)
    tried = np.unique(np.geomspace(2, most, _CANDIDATES).round().astype(int))
    silhouettes = [silhouette_score(distances, _cut(tree, number), metric="precomputed") for number in tried]
    best = int(np.argmax(silhouettes))
    on_average = (cosines.sum() - size) / (size * (size - 1))
    return 1 if silhouettes[best] < _CLEAR and on_average >= close else int(tried[best])


def _refined(units: Scores, labels: Labels, number: int) -> Labels:
    """Each vector goes to the centre it is nearest, until none moves."""
    from sklearn.cluster import KMeans

    centres = np.stack([units[labels == label].mean(axis=0) for label in range(number)])
    refined: Labels = KMeans(number, init=centres, n_init=1).fit(units).labels_.astype(np.int64)
    return refined


def _near(cosines: Scores, members: Labels, weak: float, *, keep: bool) -> Labels:
    """The members that are nearer their fellows than chance; with ``keep`` all, rather than none."""
    if len(members) == 1:
        return members if keep else members[:0]
    inside = cosines[np.ix_(members, members)]
    near = members[(inside.sum(axis=1) - inside.diagonal()) / (len(members) - 1) >= weak]
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
