"""Assign labels by the means of examples, or by a linear probe."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.blocks import UNWATCHED, Watch, in_threads
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores, unit_rows

Classes = NDArray[np.int64]
"""Shape ``(n,)``: the class of each row, numbered from 0."""

_INVERSE_REGULARISATION = 20.0
"""Inverse regularisation strength of the probe. On BANKING77 with 8 examples per label, 10, 20 and 30 are within 0.1
points of each other, and 1 is nearly 3 points lower."""

_NEAREST_WEIGHT = 5.0
"""Weight of the cosine to the nearest example; on BANKING77, 3 to 8 are within 0.2 points of each other."""

_MAX_STEPS = 1_000
"""Maximum steps of the solver, which takes 20 to 70."""

_GRADIENT_TOLERANCE = 1e-4
"""The solver stops when no entry of the gradient of the mean loss is larger, as in scikit-learn."""

_HISTORY = 10
"""Number of past steps from which the solver estimates curvature, as in scipy."""

_SMALLEST_STEP = 1e-10
"""Step size below which no step can lower the loss any more."""

_MIN_PROBABILITY = np.finfo(np.float64).tiny
"""Lower bound of a probability, so that its logarithm is finite."""

_CHUNK_ROWS = 2048
"""Number of vectors that are labelled together; with 1,000 examples this takes about 50 MB."""


def class_means(examples: Vectors, classes: Classes, count: int) -> Vectors:
    """Compute the mean direction of each class.

    Args:
        examples: Shape ``(n, d)``.
        classes: Shape ``(n,)``; every class has an example.
        count: Number of classes.

    Returns:
        Shape ``(count, d)``, unit rows.
    """
    units = unit_rows(examples)
    return unit_rows(np.stack([units[classes == number].mean(axis=0) for number in range(count)]))


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels of vectors, as arrays of equal length.

    Attributes:
        best: The most likely class of each vector.
        second: The second most likely class.
        scores: The cosine to the best class.
        margins: The lead of the best class over the second, in cosines or in probabilities.
        leads: The lead of the best class over all others in cosines; negative if another class is nearer.
    """

    best: Classes
    second: Classes
    scores: Scores
    margins: Scores
    leads: Scores

    def sure(self, chance: float, margin: float) -> NDArray[np.bool_]:
        """Select labels whose cosine plus half the lead reaches ``chance`` and whose margin reaches ``margin``."""
        return (self.scores + self.leads / 2 >= chance) & (self.margins >= margin)


def labelled(vectors: Vectors, means: Vectors, probe: "Probe | None" = None, watch: Watch = UNWATCHED) -> Labelled:
    """Find the two best classes of each vector, ties by class.

    Args:
        vectors: Shape ``(n, d)``.
        means: Shape ``(count, d)``, at least two: the result of ``class_means``.
        probe: If given, its probabilities decide instead of cosines.
        watch: Progress is counted in blocks of vectors.
    """

    def label_block(start: int) -> tuple[NDArray[np.int64], Scores]:
        block = vectors[start : start + _CHUNK_ROWS]
        cosines = scores(block, means, "cosine")
        ranking = cosines if probe is None else probe.probabilities(block)
        rows = np.arange(len(block))
        best = np.argmax(ranking, axis=1)
        others = ranking.copy()
        others[rows, best] = -np.inf
        second = np.argmax(others, axis=1)
        score, margin = cosines[rows, best], ranking[rows, best] - ranking[rows, second]
        cosines[rows, best] = -np.inf
        return np.stack([best, second]), np.stack([score, margin, score - cosines.max(axis=1)])

    blocks = list(in_threads([partial(label_block, start) for start in range(0, len(vectors), _CHUNK_ROWS)], watch))
    best, second = np.concatenate([np.empty((2, 0), np.int64), *(classes for classes, _ in blocks)], axis=1)
    return Labelled(best, second, *np.concatenate([np.empty((3, 0)), *(numbers for _, numbers in blocks)], axis=1))


class Probe:
    """Estimates the probability of each class by a linear probe and by the nearest example.

    Multinomial logistic regression on unit vectors: 5 times the cosine to the nearest example of a class is added to
    its log probability, and the sums are normalised. On BANKING77 with 8 examples per label, the nearest examples add
    half a point to the probe.
    """

    def __init__(self, examples: Vectors, classes: Classes) -> None:
        """Fit the probe.

        Args:
            examples: Shape ``(n, d)``, of at least two classes.
            classes: Shape ``(n,)``; every class has an example.
        """
        units = unit_rows(examples)
        self._weights = _regression(units, classes)
        order = np.argsort(classes, kind="stable")
        self._examples = units[order].T
        self._starts = np.flatnonzero(np.r_[True, np.diff(classes[order]) > 0])

    def probabilities(self, vectors: Vectors) -> Scores:
        """Estimate the probabilities of ``(m, d)`` vectors: shape ``(m, number of classes)``, rows sum to 1."""
        units = unit_rows(vectors)
        nearest = np.maximum.reduceat(units @ self._examples, self._starts, axis=1)
        # The regression's logits can be used without normalisation: its constant is the same for all classes of a row.
        return _softmax(_with_ones(units) @ self._weights + _NEAREST_WEIGHT * nearest)


def _regression(units: Vectors, classes: Classes) -> Scores:
    """Fit a multinomial logistic regression: shape ``(d + 1, number of classes)``, the last row the intercepts.

    The loss is that of scikit-learn's ``LogisticRegression``, which is not used because its import takes two seconds.
    """
    rows, positions, count = _with_ones(units), np.arange(len(units)), int(classes.max()) + 1

    def loss(flat: Scores) -> tuple[float, Scores]:
        """Return the mean loss with its regularisation, and its gradient."""
        weights = flat.reshape(-1, count)
        penalised = weights[:-1] / _INVERSE_REGULARISATION
        errors = _softmax(rows @ weights)
        likelihoods = np.maximum(errors[positions, classes], _MIN_PROBABILITY)
        value = (weights[:-1] * penalised).sum() / 2 - np.log(likelihoods).sum()
        errors[positions, classes] -= 1
        gradient = rows.T @ errors
        gradient[:-1] += penalised
        return value / len(rows), gradient.ravel() / len(rows)

    return minimum(loss, np.zeros(rows.shape[1] * count)).reshape(-1, count)


def minimum(loss: Callable[[Scores], tuple[float, Scores]], start: Scores) -> Scores:
    """Minimise a convex loss by L-BFGS with step halving (Nocedal and Wright 2006, algorithms 7.4 and 3.1).

    It converges as closely as ``scipy.optimize.minimize`` in as many steps. scipy is not used because its import takes
    a second, more than all steps of most calls.

    Args:
        loss: Returns the value at a point and its gradient.
        start: Shape ``(n,)``.

    Returns:
        Shape ``(n,)``: a point where no entry of the gradient is above ``_GRADIENT_TOLERANCE``.
    """
    point, (value, gradient) = start, loss(start)
    steps: deque[tuple[Scores, Scores]] = deque(maxlen=_HISTORY)
    for _ in range(_MAX_STEPS):
        if np.abs(gradient).max() <= _GRADIENT_TOLERANCE:
            break
        direction = _descent_direction(gradient, steps)
        size, expected = 1.0, gradient @ direction / 10_000
        while (candidate := loss(point + direction))[0] > value + size * expected and size > _SMALLEST_STEP:
            size, direction = size / 2, direction / 2
        change = candidate[1] - gradient
        if direction @ change > 0:
            steps.append((direction, change))
        point, (value, gradient) = point + direction, candidate
    return point


def _descent_direction(gradient: Scores, steps: "deque[tuple[Scores, Scores]]") -> Scores:
    """Return a descent direction from the gradient and the last steps with their changes of the gradient."""
    if not steps:
        return -gradient / max(1.0, float(np.linalg.norm(gradient)))
    direction, parts = -gradient, []
    for step, change in reversed(steps):
        parts.append(step @ direction / (step @ change))
        direction = direction - parts[-1] * change
    step, change = steps[-1]
    direction *= step @ change / (change @ change)
    for (step, change), part in zip(steps, reversed(parts), strict=True):
        direction += step * (part - change @ direction / (step @ change))
    return direction


def _with_ones(units: Vectors) -> Scores:
    """Return rows in double precision, each followed by a 1 for the intercept."""
    return np.hstack([units, np.ones((len(units), 1))])


def _softmax(logits: Scores) -> Scores:
    """Return the probabilities of logits of shape ``(n, classes)``."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalised: Scores = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalised
