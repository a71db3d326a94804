"""Group texts with the same meaning."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import UNWATCHED, Pairs, Watch
from mcp_server_embeddings.vectors.scores import Scores

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_PAIRS = 20_000_000
"""Maximum number of pairs in one search for duplicates: they take 320 MB, and briefly 960 MB."""

_TOLERANCE = 5e-7
"""Half a unit in the last decimal of a score, so that a cosine equal to the threshold reaches it."""

_MIN_GAP = 0.05
"""Minimum width of a significant gap, as a share of the doubtful range."""

_FAR = 3.0
"""A distance above that of every cosine."""

_POLL_STEPS = 64
"""Number of steps between two checks for cancellation."""


def complete_groups(cosines: Scores, threshold: float) -> list[list[int]]:
    """Find the groups in which every pair reaches the threshold, by complete linkage.

    Groups are not chained: if a matches b and b matches c but a does not match c, only the closer pair is grouped. The
    groups of a higher threshold lie within those of a lower one, since both are cuts of the same tree.

    Args:
        cosines: Shape ``(n, n)``, symmetric.
        threshold: The lowest cosine within a group.

    Returns:
        Groups of two or more positions, each ascending, ordered by first position.
    """
    return [group for group in _linkage_groups(np.maximum(1 - cosines, 0), threshold) if len(group) > 1]


def complete_groups_of_pairs(
    pairs: Pairs, size: int, threshold: float, watch: Watch = UNWATCHED, *, largest_matrix: int = 2_000
) -> list[list[int]]:
    """Find the groups of ``complete_groups`` from the pairs that reach the threshold.

    Texts that are not connected by such pairs are never grouped, so each component of their graph is grouped
    separately: from its matrix or, if it is large, from its pairs. Which of several pairs with equal cosines is joined
    first may differ from ``complete_groups``.

    Args:
        pairs: Every pair of one set that reaches the threshold (``pairs_above`` without ``right``). If there were too
            many of them, the threshold must be above ``pairs.complete_above``.
        size: Number of texts.
        threshold: The lowest cosine within a group.
        watch: Progress is counted in texts.
        largest_matrix: Maximum number of texts in a component for which a matrix is computed; for 2,000 it takes 50 MB.

    Returns:
        Groups of two or more positions, each ascending, ordered by first position.

    Raises:
        ValueError: The threshold is not above ``pairs.complete_above``.
    """
    if threshold <= pairs.complete_above:
        raise ValueError(
            f"threshold {threshold} is not over {pairs.complete_above}, above which the pairs are complete"
        )
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    reached = pairs.scores >= threshold - _TOLERANCE
    rows, columns, cosines = pairs.rows[reached], pairs.columns[reached], pairs.scores[reached]
    edges = np.concatenate([rows, columns]), np.concatenate([columns, rows])
    graph = coo_array((np.concatenate([cosines, cosines]), edges), shape=(size, size)).tocsr()
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    graph = graph[order][:, order]
    starts = np.flatnonzero(np.r_[True, np.diff(labels[order]) > 0, True])
    groups: list[list[int]] = []
    for done, (start, end) in enumerate(pairwise(starts.tolist())):
        if done % _POLL_STEPS == 0:
            watch.cancelled()
            watch.progress(end, size)
        if end - start > 1:
            part = _Component.of(graph, start, end)
            if part.is_complete:  # most components are single pairs, and a tree for each would dominate the time
                local_groups = [list(range(end - start))]
            elif end - start <= largest_matrix:
                local_groups = part.by_matrix(threshold)
            else:
                local_groups = _NeighbourChain(part).groups(watch.cancelled)
            groups += [sorted(order[start:end][group].tolist()) for group in local_groups if len(group) > 1]
    return sorted(groups)


def _linkage_groups(distances: Scores, threshold: float) -> list[list[int]]:
    if len(distances) < 2:
        return []
    # Imported on use, as everywhere in this package, so that only tools that need scipy pay for its import.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tree = linkage(squareform(distances, checks=False), "complete")
    labels = fcluster(tree, 1 - threshold + _TOLERANCE, "distance")
    groups: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(int(label), []).append(position)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class _Component:
    """Texts connected by pairs: row i has its neighbours and their cosines at ``starts[i]`` to ``starts[i + 1]``."""

    starts: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    scores: Scores

    @classmethod
    def of(cls, graph: "csr_array", start: int, end: int) -> "_Component":
        """Extract rows of a graph that have no neighbours outside of them."""
        first, last = graph.indptr[start], graph.indptr[end]
        return cls(graph.indptr[start : end + 1] - first, graph.indices[first:last] - start, graph.data[first:last])

    @property
    def is_complete(self) -> bool:
        """Whether every two texts are a pair, so that all texts are one group."""
        size = len(self.starts) - 1
        return len(self.neighbours) == size * (size - 1)

    def by_matrix(self, threshold: float) -> list[list[int]]:
        """Group by complete linkage as in ``complete_groups``."""
        size = len(self.starts) - 1
        distances = np.full((size, size), _FAR)
        distances[np.repeat(np.arange(size), np.diff(self.starts)), self.neighbours] = np.maximum(1 - self.scores, 0)
        np.fill_diagonal(distances, 0)
        return _linkage_groups(distances, threshold)


class _NeighbourChain:
    """Complete linkage on a sparse graph by chains of nearest neighbours.

    Two clusters that are each other's nearest can be joined as soon as they are found: joining other clusters never
    brings a cluster nearer (Murtagh 1983, "A survey of recent advances in hierarchical clustering algorithms"). The
    pairs between two clusters are counted from the pairs of their members, so only the lists of members grow.
    """

    def __init__(self, component: _Component) -> None:
        self._pairs = component
        size = len(component.starts) - 1
        self._cluster = np.arange(size)
        self._sizes = np.ones(size, np.int64)
        self._members: dict[int, NDArray[np.int64]] = {row: np.array([row]) for row in range(size)}

    def groups(self, cancelled: Callable[[], None]) -> list[list[int]]:
        """Join until no two clusters have all their pairs."""
        steps = 0
        for first in range(len(self._cluster)):
            chain = [first]
            while first in self._members:
                if steps % _POLL_STEPS == 0:
                    cancelled()
                steps += 1
                nearest = self._nearest(chain[-1], chain[-2] if len(chain) > 1 else -1)
                if nearest < 0:
                    break  # the chain is only ``first``: any later cluster has at least its predecessor as a neighbour
                if len(chain) > 1 and nearest == chain[-2]:
                    self._join(chain.pop(), chain.pop())
                    chain = chain or [first]
                else:
                    chain.append(nearest)
        return [members.tolist() for members in self._members.values()]

    def _nearest(self, cluster: int, previous: int) -> int:
        """Return the cluster, among those with all pairs, whose farthest pair is nearest; -1 if there is none."""
        members, pairs = self._members[cluster], self._pairs
        entries = np.concatenate([np.arange(pairs.starts[row], pairs.starts[row + 1]) for row in members])
        others = self._cluster[pairs.neighbours[entries]]
        order = np.argsort(others, kind="stable")
        others, cosines = others[order], pairs.scores[entries[order]]
        starts = np.flatnonzero(np.r_[True, others[1:] != others[:-1]])
        clusters = others[starts]
        farthest = np.minimum.reduceat(cosines, starts)
        complete = (np.diff(np.r_[starts, len(others)]) == self._sizes[clusters] * len(members)) & (clusters != cluster)
        if not complete.any():
            return -1
        best = farthest[complete].max()
        nearest = clusters[complete & (farthest == best)]
        return previous if previous in nearest else int(nearest[0])

    def _join(self, one: int, other: int) -> None:
        kept, removed = min(one, other), max(one, other)
        self._cluster[self._members[removed]] = kept
        self._members[kept] = np.concatenate([self._members[kept], self._members.pop(removed)])
        self._sizes[kept] = len(self._members[kept])


def suggested_threshold(cosines: Scores, low: float, high: float, complete_above: float = -np.inf) -> float:
    """Find the threshold that separates the duplicates of these texts best: the middle of the widest gap.

    Pairs above ``high`` are duplicates and pairs below ``low`` are not. The gaps between the scores in this range, both
    ends included, are compared; if there are so many scores that no gap is significant, the result is ``high``.

    Args:
        cosines: Cosines of pairs, in any shape and order; those below ``low`` may be missing.
        low: Start of the doubtful range.
        high: End of the doubtful range.
        complete_above: ``cosines`` has all pairs above this; below it there are too many pairs for a gap.

    Returns:
        A cosine from ``low`` to ``high``; above ``complete_above``, even if that exceeds ``high``.
    """
    begin = max(low, complete_above)
    if begin >= high:
        return begin + 2 * _TOLERANCE if complete_above >= high else high
    doubtful = np.sort(cosines[(cosines > begin) & (cosines < high)])
    ends = np.concatenate([[begin], doubtful, [high]])
    gaps = np.diff(ends)
    widest = int(np.argmax(gaps))
    if gaps[widest] < _MIN_GAP * (high - low):
        return high
    return float((ends[widest] + ends[widest + 1]) / 2)


def pairs_of_kept(pairs: Pairs, kept: Sequence[int | None], limit: int) -> list[tuple[int, int, float]]:
    """Return the pairs of an item and the item kept in its place as ``(row, column, cosine)``, lowest cosine first.

    Args:
        pairs: Pairs of the items.
        kept: For each item, the item kept in its place; None if it is kept itself.
        limit: Maximum number of pairs.
    """
    replacement = np.array([-1 if at is None else at for at in kept], dtype=pairs.rows.dtype)
    merged = (replacement[pairs.rows] == pairs.columns) | (replacement[pairs.columns] == pairs.rows)
    positions = np.flatnonzero(merged)
    positions = positions[np.argsort(pairs.scores[positions], kind="stable")][:limit]
    return [(int(pairs.rows[i]), int(pairs.columns[i]), float(pairs.scores[i])) for i in positions]


def nearest_threshold(pairs: Pairs, threshold: float, top: int) -> list[tuple[int, int, float]]:
    """Return the pairs nearest the threshold as ``(row, column, cosine)``, nearest first, ties by row and column."""
    distance = np.round(np.abs(pairs.scores - threshold), 6)
    order = np.lexsort((pairs.columns, pairs.rows, distance))[:top]
    return [(int(pairs.rows[i]), int(pairs.columns[i]), float(pairs.scores[i])) for i in order]
