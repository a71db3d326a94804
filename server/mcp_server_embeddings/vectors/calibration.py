"""What a cosine means under one model: its percentile and its band.

Raw cosines cannot be compared between models: unrelated English sentences score near 0.0 with MiniLM and
near 0.6 with bge. So a model is shown pairs of texts whose relation is known, and a score is read against
the three distributions that come out.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Vectors, scores

Band = Literal["unrelated", "weak", "related", "close", "same"]
BANDS: tuple[Band, ...] = get_args(Band)

_RARE = 0.05
"""The share that counts as an exception in the rule of ``Calibration.edges``. Chosen on the STSBenchmark
development split with MiniLM: of pairs that people judged below 1 of 5, at least 90 % must come out
``unrelated`` or ``weak``, of those judged 4 or more, at least 97 % ``related`` or closer."""

_DECIMALS = 4
"""Of a score in an answer."""

Sample = NDArray[np.float32]
"""Sorted cosines, shape ``(k,)``."""


@dataclass(frozen=True)
class Calibration:
    """Three samples of cosine similarity under one model, each sorted ascending.

    Attributes:
        unrelated: Pairs of texts on different subjects.
        related: Pairs on the same subject that do not say the same.
        paraphrase: Pairs that say the same in other words.
    """

    unrelated: Sample
    related: Sample
    paraphrase: Sample

    @classmethod
    def from_groups(cls, statement: Vectors, paraphrase: Vectors, related: Vectors) -> "Calibration":
        """Measure the three samples on groups of reference texts.

        Args:
            statement: Shape ``(g, d)``: row i is the statement of group i.
            paraphrase: Shape ``(g, d)``: row i says what statement i says.
            related: Shape ``(g, d)``: row i is on the subject of statement i and says something else.

        Returns:
            ``g`` paraphrase pairs, ``2 g`` related pairs (with the statement and with its paraphrase) and
            the ``9 g (g - 1) / 2`` unrelated pairs across groups.
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

    @classmethod
    def from_queries(cls, query: Vectors, statement: Vectors, paraphrase: Vectors, related: Vectors) -> "Calibration":
        """Measure the samples as search sees them: short queries against texts.

        A question and its answer score lower than two wordings of one thing, so the bands of a search begin lower.

        Args:
            query: Shape ``(g, d)``: row i names the subject of group i in a few words.
            statement: Shape ``(g, d)``: row i is what the subject of group i was named after.
            paraphrase: Shape ``(g, d)``: row i says what statement i says.
            related: Shape ``(g, d)``: row i is on the subject and says something else.

        Returns:
            As ``paraphrase`` the ``2 g`` pairs of a query with its statement and paraphrase, ``g`` related pairs
            and ``3 g (g - 1)`` unrelated ones across groups.
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

    def interpret(self, cosine: float) -> tuple[float, float, Band]:
        """Return a cosine rounded to four decimals, its percentile and its band."""
        return round(cosine, _DECIMALS) + 0.0, self.percentile(cosine), self.band(cosine)

    def above_weak(self, cosine: float) -> bool:
        """Whether a cosine is in ``related`` or a closer band: where a search finds something."""
        return self.band(cosine) not in ("unrelated", "weak")

    def chance(self, choices: int) -> float:
        """The cosine that an unrelated text reaches with the nearest of ``choices`` texts once in twenty.

        The more there are to choose from, the higher the best of them scores by chance; each is given its share
        of the one in twenty (Bonferroni's correction).
        """
        return float(np.quantile(self.unrelated, 1 - _RARE / choices))

    def percentile(self, cosine: float) -> float:
        """Share of unrelated pairs that score lower, in percent (0 to 100), to two decimals."""
        below = int(np.searchsorted(self.unrelated, np.float32(cosine), side="left"))
        return round(100 * below / len(self.unrelated), 2)

    def band(self, cosine: float) -> Band:
        """The band of a cosine; see ``edges``."""
        return BANDS[int(np.searchsorted(self.edges, cosine, side="right"))]

    @cached_property
    def edges(self) -> tuple[float, float, float, float]:
        """The cosines at which ``weak``, ``related``, ``close`` and ``same`` begin.

        One rule, one number, one pair in twenty:

        - ``weak`` begins where only 1 in 20 unrelated pairs still scores;
        - ``related`` begins where 19 in 20 paraphrases score: below it, the same meaning is unlikely;
        - ``close`` begins where only 1 in 20 related pairs still scores: above it, more than the subject is
          shared;
        - ``same`` begins where only 1 in 20 paraphrases still scores: as near as two wordings of one thing
          come.

        The edges are quantiles, so any model that orders the pairs alike gives the same bands, wherever its
        cosines lie. They are sorted because a model that parts related pairs from paraphrases without
        overlap would exchange the middle two.
        """
        rare = _RARE
        edges = (
            np.quantile(self.unrelated, 1 - rare),
            np.quantile(self.paraphrase, rare),
            np.quantile(self.related, 1 - rare),
            np.quantile(self.paraphrase, 1 - rare),
        )
        weak, related, close, same = sorted(float(edge) for edge in edges)
        return weak, related, close, same


def _sorted(values: NDArray[np.float64]) -> Sample:
    return np.sort(values.astype(np.float32))
