"""Calibrate a reranker on the reference set, so that its scores mean about the same as those of other rerankers.

The logits of one cross-encoder lie between -11 and 11, those of another between -12 and 22, with 6 for a passage that
is not relevant. So each model scores queries paired with texts that answer them, and with unrelated texts.
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
"""Number of groups of the reference set that are scored: 160 pairs, half a second with ms-marco-MiniLM-L6-v2; enough
for means, not for quantiles."""

_STEEPNESS = 6.0
"""Maps the mean logits of unrelated texts and of answers to 0.05 and 0.95."""


@dataclass(frozen=True, slots=True)
class RerankerCalibration:
    """Location and spread of a model's logits.

    Attributes:
        middle: Midpoint of the mean logits of unrelated texts and of answers.
        spread: Distance of these means; at least the standard deviation of all logits, for a model that cannot
            distinguish the two.
    """

    middle: float
    spread: float

    def relevance(self, logits: Scores) -> Scores:
        """Convert logits to relevance, 0 to 1 in the same order: unrelated texts have about 0.05, answers 0.95."""
        relevance: Scores = 1 / (1 + np.exp(-_STEEPNESS * (logits - self.middle) / self.spread))
        return relevance


def calibrated(
    identity: object, folder: Path, score: Callable[[Sequence[tuple[str, str]]], Scores]
) -> RerankerCalibration:
    """Read a reranker's calibration from ``folder``, or measure it and store it there.

    Args:
        identity: A dataclass of everything that determines the scores.
        folder: Cache of calibrations.
        score: Returns the logits of pairs.
    """
    key = hashlib.sha256(repr((identity, reference_groups())).encode()).hexdigest()
    path = folder / f"reranker-{key[:16]}.json"
    return cached_measurement(path, RerankerCalibration, lambda: _measure(score))


def _measure(score: Callable[[Sequence[tuple[str, str]]], Scores]) -> RerankerCalibration:
    groups = reference_groups()
    groups = groups[:: len(groups) // _GROUPS]
    others = groups[1:] + groups[:1]
    columns = ("statement", "paraphrase")
    answers = [(group["subject"], group[column]) for group in groups for column in columns]
    unrelated = [
        (group["subject"], other[column]) for group, other in zip(groups, others, strict=True) for column in columns
    ]
    logits = score(answers + unrelated)
    high, low = float(logits[: len(answers)].mean()), float(logits[len(answers) :].mean())
    return RerankerCalibration((high + low) / 2, max(high - low, float(logits.std()), 1e-6))
