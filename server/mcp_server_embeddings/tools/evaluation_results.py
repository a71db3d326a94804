"""What an evaluation of searches gives."""

from typing import Literal, get_args

from pydantic import Field

from mcp_server_embeddings.tools.results import ResultModel
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.vectors.calibration import Band

Metric = Literal["nDCG@10", "recall@10", "MRR@10"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Figures = dict[str, tuple[float, float, float]]
"""The metrics of each query, in their order."""


class Difference(ResultModel):
    """How a metric differs from that of an earlier run.

    Attributes:
        before: The mean of the earlier run.
        difference: By how much it rose.
        low: Where the 95 % interval of the difference begins; see ``paired_difference``.
        high: Where it ends.
        verdict: In words: ``unclear`` where the interval has 0 in it, or there are too few queries to tell.
        rose: Queries with a higher value than before.
        fell: Queries with a lower one.
    """

    before: float
    difference: float
    low: float
    high: float
    verdict: Literal["better", "worse", "unclear"]
    rose: int
    fell: int


class Comparison(ResultModel):
    """How a set does in comparison with its last run.

    Attributes:
        measured: When that was, in UTC to the minute.
        model: Which one served then.
        modes: Of each mode of search, by metric.
    """

    measured: str
    model: str
    modes: dict[SearchMode, dict[Metric, Difference]]


class BandShare(ResultModel):
    """Hits of one band, and how many of them are relevant."""

    hits: int
    relevant: int

    @property
    def share(self) -> float:
        """Of the hits that are relevant."""
        return self.relevant / self.hits if self.hits else float("nan")


class ModeFigures(ResultModel):
    """What one mode of search finds in one set.

    Attributes:
        ndcg_at_10: Mean over the queries, as the next two.
        recall_at_10: Share of the relevant documents among the first ten.
        mrr_at_10: Mean reciprocal rank.
        no_match: Share of the queries, which all have a relevant document.
        foreign_no_match: Share of queries of the other sets, which have none here; None for a single set.
        rare_words: Of words that one document only has, the share that finds it among the first five; None without any.
        bands: Of the first ten hits, by band.
        by_query: Not part of the answer.
    """

    ndcg_at_10: float
    recall_at_10: float
    mrr_at_10: float
    no_match: float
    foreign_no_match: float | None = None
    rare_words: float | None = None
    bands: dict[Band, BandShare]
    by_query: Figures = Field(default={}, exclude=True)


class SetFigures(ResultModel):
    """What every mode of search finds in one set; ``compared`` with its last run, where that was asked for."""

    name: str
    documents: int
    empty: int
    passages: int
    queries: int
    judged: int
    modes: dict[SearchMode, ModeFigures]
    compared: Comparison | None = None


class Evaluation(ResultModel):
    """The figures of all sets under one model."""

    model: str
    seed: int
    sets: list[SetFigures]
