"""Measure semantic textual similarity: how scores correlate with human judgements."""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Self

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.results import Pair as ScoredResult
from mcp_server_embeddings.tools.results import SimilarityResult
from mcp_server_embeddings.vectors.calibration import BANDS
from quality.data import read_csv
from quality.metrics import correlations
from quality.section import Figure, Section
from quality.session import Session

_PAIRS_PER_CALL = 20
"""Pairs per call, which compares every left text with every right one; only the diagonal is used."""

_WANTED = "wanted: text, text, human score as a number"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts and their human similarity score."""

    left: str
    right: str
    human: float


@dataclass(frozen=True, slots=True)
class Sts:
    """A file of pairs."""

    path: Path
    pairs: list[Pair]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read rows of text, text, score; a first row without a number in the third cell is a header.

        Raises:
            InputError: The file is invalid.
        """
        rows = read_csv(path)
        if len(rows[0][1]) == 3 and not _is_number(rows[0][1][2]):
            rows = rows[1:]
        pairs = [_pair(path, line, row) for line, row in rows]
        if len({pair.human for pair in pairs}) < 2:
            raise InputError(
                f"{path} has {len(pairs):,} pairs and not two different human scores, so nothing can correlate; "
                "give pairs of different likeness"
            )
        return cls(path, pairs)

    async def measure(self, session: Session) -> Section:
        """Measure correlations of cosine and human score, and the mean human score in each band."""
        judged: list[ScoredResult] = []
        for start in range(0, len(self.pairs), _PAIRS_PER_CALL):
            batch = self.pairs[start : start + _PAIRS_PER_CALL]
            sides = {"left": [pair.left for pair in batch], "right": [pair.right for pair in batch]}
            answer = await session.call("similarity", SimilarityResult, {**sides, "top": len(batch) ** 2})
            diagonal = (pair for pair in answer.pairs if pair.left == pair.right)
            judged += sorted(diagonal, key=lambda pair: int(pair.left))
        human = [pair.human for pair in self.pairs]
        spearman, pearson = correlations([pair.score for pair in judged], human)
        figures = [Figure("Spearman", spearman), Figure("Pearson", pearson)]
        for band in BANDS:
            inside = [score for pair, score in zip(judged, human, strict=True) if pair.band == band]
            note = f"mean human score {mean(inside):.2f}" if inside else ""
            figures.append(Figure(f"share of pairs in band {band}", len(inside) / len(human), note))
        return Section(f"{self.path.name}: {len(human):,} pairs, cosines rounded to 4 decimals", figures)


def _pair(path: Path, line: int, row: list[str]) -> Pair:
    if len(row) != 3:
        raise InputError(f"line {line} of {path} has {len(row)} columns; {_WANTED}")
    left, right, score = row
    if not (left and right):
        raise InputError(f"line {line} of {path} has an empty text; {_WANTED}, or leave the row out")
    if not _is_number(score):
        raise InputError(f"line {line} of {path} has the score {score!r}; {_WANTED}")
    return Pair(left, right, float(score))


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False
