"""Cluster vectors.

A Ward tree proposes a partition for each number of clusters, the silhouette selects the number, and k-means from the
tree's centres refines the partition. For large sets the tree is built on a sample, and k-means uses every vector. The
result is deterministic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import UNWATCHED, Watch, in_threads
from mcp_server_embeddings.vectors.scores import Scores, Vectors, unit_rows

Labels = NDArray[np.int64]
"""Shape ``(n,)``: the cluster of each row."""

Tree = NDArray[np.float64]
"""Shape ``(n - 1, 4)``: scipy's linkage matrix, one merge per row; the third column is its height, ascending."""

LARGEST_TREE = 4_000
"""Maximum rows of a tree. From more vectors this many are taken, evenly spaced; their distances take 130 MB."""

_MAX_CLUSTERS = 30
"""Maximum number of clusters that is chosen: more themes are not an overview."""

_MIN_CLUSTERS = 8
"""Minimum number of clusters that is chosen for 1,000 vectors or more; for fewer, their number to the power 0.3."""

_MAX_OUTLIERS = 0.1
_MAX_LARGEST = 0.3
"""Maximum shares of the vectors that are outliers, or in one cluster, in a preferred partition."""

_MIN_SILHOUETTE = 0.5
"""A silhouette from here on indicates a structure (Kaufman and Rousseeuw 1990, "Finding Groups in Data", ch. 2)."""

_MIN_DISTANCE = 1e-3
"""Vectors closer than this are the same point: their cosine is above 0.9999995."""

_STEPS = 100
_STEPS_OF_LARGE_SETS = 10
_STEPS_OF_TRIALS = 5
"""Maximum steps of k-means: while a number of clusters is only tried, the first few steps settle its silhouette."""

_CHUNK_ROWS = 4096
"""Number of vectors that are compared with the centres together."""

_DECIMALS = 6
"""Decimals of a mean cosine, so that equal vectors tie."""

_DISTANCE_DECIMALS = 9
"""Decimals of a comparison with centres, so that equal vectors tie."""


@dataclass(frozen=True, slots=True)
class Group:
    """One cluster.

    Attributes:
        members: Positions, nearest to the centre first.
        cohesion: Mean cosine between two members; 1 for a single member.
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


def sample_rows(count: int) -> Labels:
    """Return the positions of the rows used for the tree of ``count`` vectors: all, or 4,000 evenly spaced."""
    return np.linspace(0, count - 1, min(count, LARGEST_TREE)).round().astype(np.int64)


def ward_tree(vectors: Vectors) -> Tree:
    """Build the tree of all partitions by Ward's method on directions.

    Args:
        vectors: Shape ``(n, d)``, n at least 2; if there are more than 4,000 rows, the tree has only ``sample_rows``.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    units = unit_rows(vectors[sample_rows(len(vectors))]).astype(np.float64)
    squares = np.einsum("ij,ij->i", units, units)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * (units @ units.T), 0))
    np.fill_diagonal(distances, 0)
    tree: Tree = linkage(squareform(distances, checks=False), "ward")
    return tree


def distinct_points(tree: Tree) -> int:
    """Count the distinct rows, which is the maximum number of clusters."""
    return 1 + int((tree[:, 2] > _MIN_DISTANCE).sum())


def clustered(
    vectors: Vectors, tree: Tree, count: int | None, *, weak: float, close: float, watch: Watch = UNWATCHED
) -> Grouping:
    """Cluster vectors by direction.

    Without ``count``, numbers of clusters from 2 (8 for 1,000 vectors or more) to 30, and at most 1.5 times the square
    root of ``n``, are tried. Among the partitions with at most 30 % of the vectors in one cluster and at most 10 %
    outliers, the one with the best mean silhouette (Rousseeuw 1987) by cosine distance is taken; if there is none, the
    one that exceeds these shares least. If texts are ``close`` on average and no silhouette reaches 0.5, the result is
    one cluster. A vector whose mean cosine to the other members of its cluster is below ``weak`` moves to the nearest
    other cluster if its cosine there reaches ``weak``; otherwise it is an outlier. With ``count``, there are exactly
    that many clusters: a cluster without any near members is kept whole.

    Args:
        vectors: Shape ``(n, d)``, at least two rows.
        tree: The result of ``ward_tree``.
        count: Number of clusters, at most ``distinct_points``; None to choose it.
        weak: The cosine that unrelated texts rarely exceed.
        close: The cosine from which texts share more than a subject.
        watch: Cancellation is checked during each step; progress counts the numbers tried and the final refinement.
    """
    units = unit_rows(vectors)
    rows = sample_rows(len(units))
    sample = units if len(rows) == len(units) else units[rows]
    numbers = [count] if count else _candidates(len(sample), tree)
    keep = count is not None
    partitions: list[_Partition] = []
    for number in numbers:
        partitions.append(_Partition.refined(sample, _cut(tree, number), _STEPS_OF_TRIALS, weak, watch, keep=keep))
        watch.progress(len(partitions), len(numbers) + 1)
    best = min(partitions, key=lambda partition: (partition.excess, -partition.silhouette))
    structured = max(partition.silhouette for partition in partitions) >= _MIN_SILHOUETTE
    if not keep and not structured and _mean_cosine(sample) >= close:
        labels = np.zeros(len(units), np.int64)
    else:
        labels = best.labels if len(rows) == len(units) else _nearest(units, best.centres, watch)
    steps = _STEPS if len(rows) == len(units) else _STEPS_OF_LARGE_SETS
    best = _Partition.refined(units, labels, steps, weak, watch, keep=keep)
    watch.progress(len(numbers) + 1, len(numbers) + 1)
    return best.grouping()


def _cut(tree: Tree, number: int) -> Labels:
    """Cut the tree into exactly ``number`` clusters by counting merges, because their heights may tie."""
    from scipy.cluster.hierarchy import fcluster

    counted = tree.copy()
    counted[:, 2] = np.arange(1, len(tree) + 1)
    labels: Labels = fcluster(counted, len(tree) + 1 - number, "distance").astype(np.int64) - 1
    return labels


def _candidates(size: int, tree: Tree) -> list[int]:
    """Return the numbers of clusters to try."""
    largest = min(size - 1, distinct_points(tree), round(1.5 * np.sqrt(size)), _MAX_CLUSTERS)
    minimum = min(max(2, round(size**0.3)), _MIN_CLUSTERS)
    if largest < 2:
        return [1]
    return list(range(min(minimum, largest), largest + 1))


def _mean_cosine(units: Vectors) -> float:
    """Return the mean cosine between two different rows."""
    size = len(units)
    total = units.sum(axis=0, dtype=np.float64)
    return float((total @ total - np.einsum("ij,ij->", units, units)) / (size * (size - 1)))


def _centres(units: Vectors, labels: Labels, number: int) -> tuple[Scores, Labels]:
    """Return the mean and the size of each cluster."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=number)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    sums = np.stack([units[part].sum(axis=0, dtype=np.float64) for part in parts])
    return sums / np.maximum(sizes, 1)[:, None], sizes


def _products(units: Vectors, centres: Scores, watch: Watch) -> Iterator[tuple[slice, Scores]]:
    """Yield the products of each block of vectors with all centres."""

    def product(part: slice) -> tuple[slice, Scores]:
        return part, units[part].astype(np.float64) @ centres.T

    parts = [slice(start, start + _CHUNK_ROWS) for start in range(0, len(units), _CHUNK_ROWS)]
    yield from in_threads([partial(product, part) for part in parts], Watch(watch.cancelled))


def _k_means(units: Vectors, labels: Labels, number: int, steps: int, watch: Watch) -> Labels:
    """Move vectors to the nearest centre until none moves or a cluster would become empty."""
    for _ in range(steps):
        moved = _nearest(units, _centres(units, labels, number)[0], watch)
        if np.array_equal(moved, labels) or np.bincount(moved, minlength=number).min() == 0:
            break
        labels = moved
    return labels


def _nearest(units: Vectors, centres: Scores, watch: Watch) -> Labels:
    halves = np.einsum("ij,ij->i", centres, centres) / 2
    nearest = np.empty(len(units), np.int64)
    for part, products in _products(units, centres, watch):
        nearest[part] = np.argmax(np.round(products - halves, _DISTANCE_DECIMALS), axis=1)
    return nearest


class _Partition:
    """Clusters, with each vector's mean cosine to its own cluster and to the nearest other one.

    Mean cosines come from the sums of the vectors: for x and a cluster with sum S and m other vectors it is x · S / m.

    Attributes:
        labels: The cluster of each vector.
        centres: The means of the clusters.
        silhouette: The mean silhouette of all vectors.
        excess: By how much the shares of the largest cluster and of the outliers exceed their preferred maximum.
    """

    def __init__(self, units: Vectors, labels: Labels, number: int, weak: float, watch: Watch, *, keep: bool) -> None:
        self._units, self._number = units, number
        self.centres = self._measure(labels, weak, watch, keep=keep)
        outliers = int((~self._near).sum())
        moved = np.where(~self._near & (self._other_cosines >= weak), self._other_cluster, labels)
        if not np.array_equal(moved, labels):
            self.centres = self._measure(moved, weak, watch, keep=keep)
            if (~self._near).sum() > outliers:  # the moved vectors made the clusters looser
                self.centres = self._measure(labels, weak, watch, keep=keep)
        self.excess = round(
            max(0.0, float(self._sizes.max()) / len(units) - _MAX_LARGEST)
            + max(0.0, 1 - float(self._near.mean()) - _MAX_OUTLIERS),
            _DECIMALS,
        )
        inner, outer = 1 - self._own_cosines, 1 - self._other_cosines
        widths = (outer - inner) / np.maximum(np.maximum(inner, outer), 1e-12)
        self.silhouette = round(float(np.where(self._sizes[self.labels] > 1, widths, 0).mean()), _DECIMALS)

    @classmethod
    def refined(
        cls, units: Vectors, labels: Labels, steps: int, weak: float, watch: Watch, *, keep: bool
    ) -> "_Partition":
        """Refine the given clusters, none of them empty, by k-means."""
        number = int(labels.max()) + 1
        return cls(units, _k_means(units, labels, number, steps, watch), number, weak, watch, keep=keep)

    def _measure(self, labels: Labels, weak: float, watch: Watch, *, keep: bool) -> Scores:
        size = len(labels)
        centres, self._sizes = _centres(self._units, labels, self._number)
        self.labels = labels
        self._own_cosines, self._other_cosines = np.empty(size), np.empty(size)
        self._other_cluster = np.empty(size, np.int64)
        for part, products in _products(self._units, centres, watch):
            rows, own = np.arange(len(products)), labels[part]
            squares = np.einsum("ij,ij->i", self._units[part], self._units[part], dtype=np.float64)
            members = self._sizes[own]
            means = (products[rows, own] * members - squares) / np.maximum(members - 1, 1)
            self._own_cosines[part] = np.round(np.where(members > 1, means, 0), _DECIMALS)
            products[rows, own] = -np.inf
            products[:, self._sizes == 0] = -np.inf
            self._other_cluster[part] = other_cluster = np.argmax(np.round(products, _DECIMALS), axis=1)
            self._other_cosines[part] = np.maximum(np.round(products[rows, other_cluster], _DECIMALS), -1)
        near = self._own_cosines >= weak
        counts = np.bincount(labels, near, self._number)
        self._near = near | (counts == 0)[labels] if keep else near & (counts > 1)[labels]
        return centres

    def grouping(self) -> Grouping:
        """Return the clusters without their outliers, and the outliers."""
        order = np.flatnonzero(self._near)
        order = order[np.argsort(self.labels[order], kind="stable")]
        parts = np.split(order, np.flatnonzero(np.diff(self.labels[order])) + 1) if len(order) else []
        groups = [_group(self._units, part) for part in parts]
        groups.sort(key=lambda group: (-len(group.members), min(group.members)))
        return Grouping(groups, np.flatnonzero(~self._near).tolist())


def _group(units: Vectors, members: Labels) -> Group:
    rows = units[members].astype(np.float64)
    size = len(members)
    total = rows.sum(axis=0)
    cohesion = (total @ total - np.einsum("ij,ij->", rows, rows)) / (size * (size - 1)) if size > 1 else 1.0
    order = np.argsort(-np.round(rows @ (total / size), _DISTANCE_DECIMALS), kind="stable")
    return Group(members[order].tolist(), min(1.0, float(cohesion)))
