"""Interpret a cosine under one model: its percentile and its band.

Raw cosines cannot be compared between models: unrelated English sentences score near 0.0 with MiniLM and near 0.6 with
bge. So each model is measured on pairs of texts with known relations, and a score is compared with theirs.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores

Band = Literal["unrelated", "weak", "related", "close", "same"]
BANDS: tuple[Band, ...] = get_args(Band)

_RARE = 0.05
"""The share of exceptions in ``Calibration.edges``. Chosen on the STSBenchmark development split with MiniLM: at least
90 % of the pairs that people rated below 1 of 5 must be ``unrelated`` or ``weak``, and at least 97 % of those rated 4
or more must be ``related`` or closer."""

_ANSWER_QUANTILES = (0.1, 0.5, 0.8)
"""Quantiles of the answers' cosines at which ``related``, ``close`` and ``same`` begin in a search."""

_TAIL = 0.005
"""The share of the highest unrelated cosines from which higher ones are extrapolated: 382 in the reference set."""

Sample = NDArray[np.float32]
"""Sorted cosines, shape ``(k,)``."""


@dataclass(frozen=True)
class Calibration:
    """Three samples of cosine similarity under one model, each sorted ascending.

    Attributes:
        unrelated: Pairs of texts on different subjects.
        related: Pairs on the same subject with different meanings.
        paraphrase: Pairs with the same meaning in different words.
    """

    unrelated: Sample
    related: Sample
    paraphrase: Sample

    @classmethod
    def from_groups(cls, statement: Vectors, paraphrase: Vectors, related: Vectors) -> "Calibration":
        """Measure the three samples on groups of reference texts.

        Args:
            statement: Shape ``(g, d)``: one row per group.
            paraphrase: Shape ``(g, d)``: the same statements in other words.
            related: Shape ``(g, d)``: other statements on the same subjects.

        Returns:
            ``g`` paraphrase pairs, ``2 g`` related pairs (with the statement and with its paraphrase) and the
            ``9 g (g - 1) / 2`` unrelated pairs across groups.
        """
        groups = len(statement)
        vectors = np.concatenate([statement, paraphrase, related])
        cosines = scores(vectors, vectors, "cosine")
        group = np.arange(3 * groups) % groups
        across = np.triu(group[:, None] != group[None, :], 1)
        row = np.arange(groups)
        with_related = np.concatenate([cosines[row, row + 2 * groups], cosines[row + groups, row + 2 * groups]])
        return cls(
            unrelated=_sorted(cosines[across]),
            related=_sorted(with_related),
            paraphrase=_sorted(cosines[row, row + groups]),
        )

    def relative(self, cosines: Scores) -> Scores:
        """Rescale cosines so that unrelated texts have 0 and paraphrases 1 on average."""
        unrelated, paraphrase = float(self.unrelated.mean()), float(self.paraphrase.mean())
        relative: Scores = (cosines - unrelated) / max(paraphrase - unrelated, 1e-6)
        return relative

    def chance(self, choices: int) -> float:
        """Return the cosine that an unrelated text reaches with the nearest of ``choices`` texts one time in twenty.

        The more choices there are, the higher the best of them scores by chance (Bonferroni correction).
        """
        return float(np.quantile(self.unrelated, 1 - _RARE / choices))

    def percentile(self, cosine: float) -> float:
        """Return the share of unrelated pairs that score lower, in percent (0 to 100), to two decimals."""
        below = int(np.searchsorted(self.unrelated, np.float32(cosine), side="left"))
        return round(100 * below / len(self.unrelated), 2)

    def band(self, cosine: float) -> Band:
        """Return the band of a cosine; see ``edges``."""
        return BANDS[int(np.searchsorted(self.edges, cosine, side="right"))]

    @cached_property
    def edges(self) -> tuple[float, float, float, float]:
        """The cosines at which ``weak``, ``related``, ``close`` and ``same`` begin.

        - 1 in 20 unrelated pairs is ``weak`` or closer;
        - 19 in 20 paraphrases are ``related`` or closer: below this edge, the same meaning is unlikely;
        - 1 in 20 related pairs is ``close`` or closer: above this edge, texts share more than the subject;
        - 1 in 20 paraphrases is ``same``.

        The edges are quantiles, so models that order the pairs equally have the same bands, even if their cosines
        differ. They are sorted because a model that separates related pairs from paraphrases would swap the middle two.
        """
        edges = (
            np.quantile(self.unrelated, 1 - _RARE),
            np.quantile(self.paraphrase, _RARE),
            np.quantile(self.related, 1 - _RARE),
            np.quantile(self.paraphrase, 1 - _RARE),
        )
        weak, related, close, same = sorted(float(edge) for edge in edges)
        return weak, related, close, same


@dataclass(frozen=True)
class SearchCalibration(Calibration):
    """A calibration for short queries against texts; ``paraphrase`` has the pairs of a query and its answer.

    A question and its answer score lower than two wordings of one statement, so the bands of a search begin lower.
    """

    @classmethod
    def from_queries(
        cls, query: Vectors, statement: Vectors, paraphrase: Vectors, related: Vectors
    ) -> "SearchCalibration":
        """Measure the samples on groups of reference texts.

        Args:
            query: Shape ``(g, d)``: the subject of each group in a few words.
            statement: As in ``Calibration.from_groups``.
            paraphrase: As in ``Calibration.from_groups``.
            related: As in ``Calibration.from_groups``.

        Returns:
            ``2 g`` pairs of a query with its statement or paraphrase (as ``paraphrase``), ``g`` related pairs and
            ``3 g (g - 1)`` unrelated pairs across groups.
        """
        groups = len(query)
        cosines = scores(query, np.concatenate([statement, paraphrase, related]), "cosine")
        row = np.arange(groups)
        across = row[:, None] != np.arange(3 * groups)[None, :] % groups
        return cls(
            unrelated=_sorted(cosines[across]),
            related=_sorted(cosines[row, row + 2 * groups]),
            paraphrase=_sorted(np.concatenate([cosines[row, row], cosines[row, row + groups]])),
        )

    @cached_property
    def edges(self) -> tuple[float, float, float, float]:
        """The cosines at which ``weak``, ``related``, ``close`` and ``same`` begin.

        1 in 20 unrelated texts is ``weak`` or closer. Of the answers, 9 in 10 are ``related`` or closer, half are
        ``close`` or closer, and 1 in 5 is ``same``. The edges are quantiles, so models that order the pairs equally
        have the same bands. ``docs/quality.md`` has the share of relevant hits in each band.
        """
        edges = (np.quantile(self.unrelated, 1 - _RARE), *np.quantile(self.paraphrase, _ANSWER_QUANTILES))
        weak, related, close, same = sorted(float(edge) for edge in edges)
        return weak, related, close, same

    def by_chance(self, passages: int) -> float:
        """Return the rescaled cosine that the nearest of ``passages`` unrelated passages reaches in 1 of 20 searches.

        The reference set has too few pairs to measure this for many passages. So the excess of its highest cosines over
        a threshold is assumed to fall off exponentially (peaks over threshold, Pickands 1975, with shape 0), and the
        result grows with the logarithm of the number of passages.

        Args:
            passages: Number of passages, 1 or more, assumed to be independent.
        """
        rare = _RARE / max(passages, 1)
        cosine = float(np.quantile(self.unrelated, 1 - max(rare, _TAIL)))
        if rare < _TAIL:
            highest = self.unrelated[self.unrelated > cosine]
            excess = float(highest.mean()) - cosine if len(highest) else 0.0
            cosine += excess * math.log(_TAIL / rare)
        return float(self.relative(np.array(cosine)))


def _sorted(values: NDArray[np.float64]) -> Sample:
    return np.sort(values.astype(np.float32))
