"""Match two lists one to one."""

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import UNWATCHED, Pairs, Watch, pairs_above
from mcp_server_embeddings.vectors.neighbours import nearest_neighbours
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores

_TOLERANCE = 1e-6
"""Rounding error: the cosine of equal vectors can be this much below 1."""

_LARGEST_MATRIX = 4_000_000
"""Maximum cells of a matrix that is solved as a whole: 32 MB, and the same again for its gains."""

_MAX_PAIRS = 4_000_000
"""Maximum number of pairs in a sparse matching: about 300 MB while it is solved."""

_NEIGHBOURS = 50
"""Number of nearest neighbours of each row and column that are considered if more than ``_MAX_PAIRS`` pairs qualify."""

_NO_MATCH_GAIN = 1e-9
"""Gain of a row without a partner: less than that of any pair."""

_POLL_COMPONENTS = 64
"""Number of components between two checks for cancellation."""


def matched(
    left: Vectors,
    right: Vectors,
    threshold: float,
    watch: Watch = UNWATCHED,
    *,
    largest_matrix: int = _LARGEST_MATRIX,
    max_pairs: int = _MAX_PAIRS,
) -> tuple[Pairs, bool]:
    """Match two lists of any size as ``one_to_one`` does.

    Small lists are solved by their matrix, large ones by the pairs that reach the threshold, each component of their
    graph separately. If there are more than ``max_pairs``, only the 50 nearest of each row and column are considered.

    Args:
        left: Shape ``(n, d)``.
        right: Shape ``(m, d)``.
        threshold: The lowest cosine of a pair.
        watch: Progress is counted in bands of 512 rows. A component is solved in one step that cannot be interrupted.
        largest_matrix: Maximum cells of a matrix that is solved as a whole.
        max_pairs: Maximum number of pairs that are considered.

    Returns:
        The matches by row, and whether every pair that reaches the threshold was considered, so the sum is maximal.
    """
    if len(left) * len(right) <= largest_matrix:
        cosines = scores(left, right, "cosine")
        cells = np.array(one_to_one(cosines, threshold), np.int32).reshape(-1, 2)
        return Pairs(cells[:, 0], cells[:, 1], cosines[cells[:, 0], cells[:, 1]], -np.inf), True
    least = threshold - _TOLERANCE
    pairs = pairs_above(left, right, least, max_pairs, watch)
    exact = pairs.complete_above < least
    if not exact:
        pairs = _nearest_pairs(left, right, least, watch)
    matches = _sparse_matching(pairs, (len(left), len(right)), threshold, watch, largest_matrix)
    return Pairs(pairs.rows[matches], pairs.columns[matches], pairs.scores[matches], -np.inf), exact


def _nearest_pairs(left: Vectors, right: Vectors, least: float, watch: Watch) -> Pairs:
    """Return the pairs in which either side is among the nearest neighbours of the other."""
    by_row = nearest_neighbours(left, right, _NEIGHBOURS, least=least, watch=watch)
    by_column = nearest_neighbours(right, left, _NEIGHBOURS, least=least, watch=watch)
    row, column = np.nonzero(by_row.columns >= 0), np.nonzero(by_column.columns >= 0)
    cells = np.concatenate(
        [
            row[0] * len(right) + by_row.columns[row],
            by_column.columns[column].astype(np.int64) * len(right) + column[0],
        ]
    )
    cosines = np.concatenate([by_row.scores[row], by_column.scores[column]])
    cells, first = np.unique(cells, return_index=True)
    rows, columns = (cells // len(right)).astype(np.int32), (cells % len(right)).astype(np.int32)
    return Pairs(rows, columns, cosines[first], np.inf)


def _sparse_matching(
    pairs: Pairs, shape: tuple[int, int], threshold: float, watch: Watch, largest_matrix: int
) -> NDArray[np.int64]:
    """Return the chosen pairs, ascending."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    gains = pairs.scores - threshold + 2 * _TOLERANCE
    edges = pairs.rows, pairs.columns + shape[0]
    graph = coo_array((gains, edges), shape=(sum(shape), sum(shape)))
    _, labels = connected_components(graph, directed=False)
    component = labels[pairs.rows]
    order = np.argsort(component, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(component[order])) + 1) if len(order) else []
    matches = [np.empty(0, np.int64)]
    for done, part in enumerate(parts):
        if done % _POLL_COMPONENTS == 0:
            watch.cancelled()
        matches.append(
            part
            if len(part) == 1
            else part[_solve_component(pairs.rows[part], pairs.columns[part], gains[part], largest_matrix)]
        )
    return np.sort(np.concatenate(matches))


def _solve_component(
    rows: NDArray[np.int32], columns: NDArray[np.int32], gains: Scores, largest_matrix: int
) -> NDArray[np.int64]:
    """Return the chosen pairs of one component, ascending."""
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_array, eye_array, hstack
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    unique_rows, row = np.unique(rows, return_inverse=True)
    unique_columns, column = np.unique(columns, return_inverse=True)
    shape = len(unique_rows), len(unique_columns)
    position = coo_array((np.arange(1, len(gains) + 1), (row, column)), shape=shape).tocsr()
    if shape[0] * shape[1] <= largest_matrix:
        dense = np.zeros(shape)
        dense[row, column] = gains
        matched_rows, matched_columns = linear_sum_assignment(dense, maximize=True)
    else:
        # The solver must match every row and treats zeros as missing edges. So each row gets a private partner that
        # stands for "no match", with a gain close to zero.
        no_match = eye_array(shape[0]) * -_NO_MATCH_GAIN
        costs = hstack([coo_array((-gains, (row, column)), shape=shape), no_match]).tocsr()
        matched_rows, matched_columns = min_weight_full_bipartite_matching(costs)
        kept = matched_columns < shape[1]
        matched_rows, matched_columns = matched_rows[kept], matched_columns[kept]
    numbers = np.asarray(position[matched_rows, matched_columns]).ravel()
    return np.sort(numbers[numbers > 0] - 1)


def one_to_one(cosines: Scores, threshold: float) -> list[tuple[int, int]]:
    """Pair rows with columns so that the sum of the pairs' margins above the threshold is maximal.

    A pair below the threshold counts as zero and is omitted, so it cannot separate two texts that match. The number of
    pairs never grows with the threshold. Solved exactly by scipy (Crouse 2016, IEEE TAES 52).

    Args:
        cosines: Shape ``(n, m)``.
        threshold: The lowest cosine of a pair.

    Returns:
        Pairs ``(row, column)`` by row.
    """
    from scipy.optimize import linear_sum_assignment

    reached = cosines >= threshold - _TOLERANCE
    gains = np.where(reached, cosines - threshold + 2 * _TOLERANCE, 0)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if reached[row, column]]
