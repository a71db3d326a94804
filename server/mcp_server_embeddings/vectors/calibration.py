"""Interpret a cosine under one model: its percentile and its band.

Raw cosines cannot be compared between models: unrelated English sentences score near 0.0 with MiniLM and near 0.6 with
bge. So each model is measured on pairs of texts with known relations, and a score is compared with those of the pairs.
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
"""The share of exceptions in ``Calibration.edges``. Chosen on the STSBenchmark development split with MiniLM: of pairs
that people rated below 1 of 5, at least 90 % must be ``unrelated`` or ``weak``; of those rated 4 or more, at least 97 %
``related`` or closer."""

_ANSWERS = (0.1, 0.5, 0.8)
"""Quantiles of the answers at which ``related``, ``close`` and ``same`` begin in a search."""

_TAIL = 0.005
"""The share of the highest unrelated cosines from which higher ones are extrapolated: 382 of the reference set's."""

Sample = NDArray[np.float32]
"""Sorted cosines, shape ``(k,)``."""


@dataclass(frozen=True)
class Calibration:
    """Three samples of cosine similarity under one model, each sorted ascending.

    Attributes:
        unrelated: Pairs of texts on different subjects.
        related: Pairs on the same subject with different meanings.
        paraphrase: Pairs with the same meaning in other words.
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
        every = np.concatenate([statement, paraphrase, related])
        cosines = scores(every, every, "cosine")
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
        """Return cosines on the model's own scale: 0 for unrelated texts and 1 for paraphrases, on average."""
        unrelated, paraphrase = float(self.unrelated.mean()), float(self.paraphrase.mean())
        relative: Scores = (cosines - unrelated) / max(paraphrase - unrelated, 1e-6)
        return relative

    def chance(self, choices: int) -> float:
        """Return the cosine that an unrelated text reaches with the nearest of ``choices`` texts once in twenty.

        The more choices, the higher the best of them scores by chance (Bonferroni's correction).
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
        - 19 in 20 paraphrases are ``related`` or closer: below it, the same meaning is unlikely;
        - 1 in 20 related pairs is ``close`` or closer: above it, more than the subject is shared;
        - 1 in 20 paraphrases is ``same``.

        The edges are quantiles, so models that order the pairs alike have the same bands, whatever their cosines. They
        are sorted because a model that separates related pairs from paraphrases would exchange the middle two.
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
    """A calibration of short queries with texts; ``paraphrase`` has queries with their answers.

    A question and its answer score lower than two wordings of one thing, so the bands of a search begin lower.
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
            As ``paraphrase`` the ``2 g`` pairs of a query with its statement and paraphrase, ``g`` related pairs and
            ``3 g (g - 1)`` unrelated ones across groups.
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

        One in 20 unrelated texts is ``weak`` or closer. Of the answers 9 in 10 are ``related`` or closer, half are
        ``close`` or closer, and 1 in 5 is ``same``. They are quantiles, so models that order the pairs alike have the
        same bands. ``docs/quality.md`` has the share of relevant hits in each band.
        """
        edges = (np.quantile(self.unrelated, 1 - _RARE), *np.quantile(self.paraphrase, _ANSWERS))
        weak, related, close, same = sorted(float(edge) for edge in edges)
        return weak, related, close, same

    def by_chance(self, passages: int) -> float:
        """Return the scaled cosine that the nearest of so many unrelated passages reaches once in twenty searches.

        The reference set has too few pairs for many passages. So what the highest of them exceed the lowest of these
        by is taken to fall off exponentially (peaks over threshold, Pickands 1975, with a shape of 0), and the cosine
        grows with the logarithm of the passages.

        Args:
            passages: 1 or more; as if they were independent.
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
