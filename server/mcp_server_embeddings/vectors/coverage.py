"""Choose a few texts that represent many."""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import UNWATCHED, Watch
from mcp_server_embeddings.vectors.neighbours import Neighbours, nearest_neighbours
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores

Costs = NDArray[np.int64]
"""Shape ``(n,)``: the amount of the budget that each text uses."""

_MIN_GAIN = 1e-9
"""A text whose gain is not above this is redundant."""

_POLL_STEPS = 64
"""Number of steps between two checks for cancellation."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen texts.

    Attributes:
        rows: Positions in the order of choice: the most informative first.
        coverage: Share of the weight of all texts that is covered by the chosen texts, 0 to 1.
    """

    rows: list[int]
    coverage: float


def best_cover(similarity: Scores, weights: Scores, costs: Costs, *, budget: int | None, count: int) -> Choice:
    """Choose the subset that covers the most: facility location under a budget.

    The value of a subset is the weighted sum, over all texts, of the similarity to the nearest chosen text. It is
    submodular, so the greedy choice is near the optimum; under a budget, the better of two greedy runs, by gain and by
    gain per cost, is at least (1 - 1/e) / 2 of it (Leskovec et al. 2007, KDD, "Cost-effective outbreak detection").

    Args:
        similarity: Shape ``(n, n)``, 0 to 1, with 1 on the diagonal: how well the column represents the row.
        weights: Shape ``(n,)``, 0 or more, not all 0.
        costs: Shape ``(n,)``, 1 or more.
        budget: Maximum sum of costs; None for no limit.
        count: Maximum number of texts.

    Returns:
        Texts, until no other text adds anything; empty only if no text fits the budget.
    """
    return _best_run(_Dense(similarity), weights, costs, budget, count, UNWATCHED)


def best_cover_of_vectors(
    vectors: Vectors,
    weights: Scores,
    costs: Costs,
    edge: float,
    *,
    budget: int | None,
    count: int,
    watch: Watch = UNWATCHED,
    largest_matrix: int = 2_000,
    neighbours: int = 50,
) -> Choice:
    """Choose as ``best_cover`` from any number of texts, whose similarity is ``risen(cosine, edge)``.

    For large sets, a text is assumed to represent only its 50 nearest texts when texts are chosen; the coverage of the
    choice is computed from all texts.

    Args:
        vectors: Shape ``(n, d)``.
        weights: Shape ``(n,)``, 0 or more, not all 0.
        costs: Shape ``(n,)``, 1 or more.
        edge: The cosine from which a text represents another, below 1.
        budget: Maximum sum of costs; None for no limit.
        count: Maximum number of texts.
        watch: Progress is counted in bands of 512 texts; cancellation is also checked while texts are chosen.
        largest_matrix: Maximum number of texts for which the whole matrix is computed.
        neighbours: Number of neighbours per text; each takes 12 bytes during the search, then up to 24.
    """
    if len(vectors) <= largest_matrix:
        similarity = risen(scores(vectors, vectors, "cosine"), edge)
        return _best_run(_Dense(similarity), weights, costs, budget, count, watch)
    nearest = nearest_neighbours(vectors, None, neighbours, least=edge, watch=watch)
    choice = _best_run(_Sparse(nearest, edge), weights, costs, budget, count, watch)
    if not choice.rows:
        return choice
    cosines = nearest_neighbours(vectors, vectors[choice.rows], 1, least=edge, watch=watch).scores[:, 0]
    return Choice(choice.rows, float(weights @ risen(cosines, edge) / weights.sum()))


def risen(cosines: Scores, edge: float) -> Scores:
    """Rescale cosines to 0 at ``edge`` and below, and 1 for a cosine of 1."""
    scaled: Scores = np.clip((cosines - edge) / (1 - edge), 0, 1)
    return scaled


class _Dense:
    """Similarities as a whole matrix."""

    def __init__(self, similarity: Scores) -> None:
        self._similarity = similarity

    def column(self, text: int) -> tuple[slice, Scores]:
        """Return the texts that one text represents, and how well."""
        return slice(None), self._similarity[:, text]

    def gains(self, weights: Scores) -> Scores:
        """Return the weight that each text alone covers."""
        return weights @ self._similarity


class _Sparse:
    """Similarities between each text and its nearest texts, in both directions."""

    def __init__(self, nearest: Neighbours, edge: float) -> None:
        from scipy.sparse import coo_array, eye_array

        rows, rank = np.nonzero(nearest.columns >= 0)
        size = len(nearest.columns)
        values = risen(nearest.scores[rows, rank], edge)
        graph = coo_array((values, (rows.astype(np.int32), nearest.columns[rows, rank])), shape=(size, size)).tocsr()
        self._graph = graph.maximum(graph.T).maximum(eye_array(size, format="csr")).tocsr()

    def column(self, text: int) -> tuple[NDArray[np.int32], Scores]:
        """Return the texts that one text represents, and how well."""
        part = slice(self._graph.indptr[text], self._graph.indptr[text + 1])
        return self._graph.indices[part], self._graph.data[part]

    def gains(self, weights: Scores) -> Scores:
        """Return the weight that each text alone covers."""
        covered: Scores = self._graph @ weights
        return covered


def _best_run(
    similarity: _Dense | _Sparse, weights: Scores, costs: Costs, budget: int | None, count: int, watch: Watch
) -> Choice:
    runs = [_greedy(similarity, weights, np.ones_like(costs), costs, budget, count, watch)]
    if budget is not None:
        runs.append(_greedy(similarity, weights, costs, costs, budget, count, watch))
    return max(runs, key=lambda run: run.coverage)


def _greedy(
    similarity: _Dense | _Sparse,
    weights: Scores,
    divisors: Costs,
    costs: Costs,
    budget: int | None,
    count: int,
    watch: Watch,
) -> Choice:
    """Choose lazily (Minoux 1978): gains only fall, so a text whose updated gain is still the highest is the best."""
    covered = np.zeros(len(weights))
    heap = [(-float(gain), row) for row, gain in enumerate(similarity.gains(weights) / divisors)]
    heapq.heapify(heap)
    chosen: list[int] = []
    remaining = math.inf if budget is None else budget
    step = 0
    while heap and len(chosen) < count:
        if step % _POLL_STEPS == 0:
            watch.cancelled()
        step += 1
        _, row = heapq.heappop(heap)
        if costs[row] > remaining:
            continue
        texts, values = similarity.column(row)
        gain = float(weights[texts] @ np.maximum(values - covered[texts], 0) / divisors[row])
        if heap and (-gain, row) > heap[0]:
            heapq.heappush(heap, (-gain, row))
            continue
        if gain <= _MIN_GAIN:
            break
        chosen.append(row)
        covered[texts] = np.maximum(covered[texts], values)
        remaining -= int(costs[row])
    return Choice(chosen, float(weights @ covered / weights.sum()))
