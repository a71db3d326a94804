"""Calibrate a reranker on the reference set, so that its scores mean about the same as any other's.

The logits of one cross-encoder lie between -11 and 11, those of another between -12 and 22, with 6 for a passage that
is not relevant. So a model is shown queries with texts that answer them and with others.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcp_server_embeddings.engine.calibrate import reference_groups
from mcp_server_embeddings.engine.measured import cached_measurement
from mcp_server_embeddings.vectors.scores import Scores

_GROUPS = 40
"""Of the reference set: 160 pairs, half a second with ms-marco-MiniLM-L6-v2. They give means, not quantiles."""

_STEEPNESS = 6.0
"""Puts the means of unrelated texts and of answers at 0.05 and 0.95."""


@dataclass(frozen=True, slots=True)
class RerankerCalibration:
    """Where the logits of a model lie.

    Attributes:
        middle: Between the means of unrelated texts and of answers.
        spread: From one mean to the other; at least the deviation of all, for a model that does not tell them apart.
    """

    middle: float
    spread: float

    def relevance(self, logits: Scores) -> Scores:
        """Return how relevant passages are, 0 to 1 in the order of their logits: 0.05 is unrelated, 0.95 an answer."""
        found: Scores = 1 / (1 + np.exp(-_STEEPNESS * (logits - self.middle) / self.spread))
        return found


def calibrated(
    identity: object, folder: Path, score: Callable[[Sequence[tuple[str, str]]], Scores]
) -> RerankerCalibration:
    """Read a reranker's calibration from ``folder``, or measure it and keep it there.

    Args:
        identity: A dataclass of all that decides the scores.
        folder: Cache of calibrations.
        score: Returns the logits of pairs.
    """
    key = hashlib.sha256(repr((identity, reference_groups())).encode()).hexdigest()
    path = folder / f"reranker-{key[:16]}.json"
    return cached_measurement(path, RerankerCalibration, lambda: _measured(score))


def _measured(score: Callable[[Sequence[tuple[str, str]]], Scores]) -> RerankerCalibration:
    groups = reference_groups()
    groups = groups[:: len(groups) // _GROUPS]
    others = groups[1:] + groups[:1]
    columns = ("statement", "paraphrase")
    answers = [(group["subject"], group[column]) for group in groups for column in columns]
    unrelated = [
        (group["subject"], other[column]) for group, other in zip(groups, others, strict=True) for column in columns
    ]
    logits = score(answers + unrelated)
    answer, chance = float(logits[: len(answers)].mean()), float(logits[len(answers) :].mean())
    return RerankerCalibration((answer + chance) / 2, max(answer - chance, float(logits.std()), 1e-6))
