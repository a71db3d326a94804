"""Results of an evaluation of searches."""

from typing import Literal, get_args

from pydantic import Field

from mcp_server_embeddings.tools.results import ResultModel
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.vectors.calibration import Band

Metric = Literal["nDCG@10", "recall@10", "MRR@10"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Figures = dict[str, tuple[float, float, float]]
"""The metrics of each query, in the order of ``METRICS``."""


class Difference(ResultModel):
    """The change of a metric since an earlier run.

    Attributes:
        before: The mean of the earlier run.
        difference: The increase of the mean.
        low: Lower end of the 95 % interval of the difference; see ``paired_difference``.
        high: Upper end of the interval.
        verdict: ``unclear`` if the interval contains 0, or there are too few queries to decide.
        rose: Number of queries with a higher value than before.
        fell: Number of queries with a lower value than before.
    """

    before: float
    difference: float
    low: float
    high: float
    verdict: Literal["better", "worse", "unclear"]
    rose: int
    fell: int


class Comparison(ResultModel):
    """The comparison of a set with its last run.

    Attributes:
        measured: Time of the last run, in UTC to the minute.
        model: Model of the last run.
        modes: The differences, by search mode and metric.
    """

    measured: str
    model: str
    modes: dict[SearchMode, dict[Metric, Difference]]


class BandShare(ResultModel):
    """The number of hits in a band, and of the relevant ones among them."""

    hits: int
    relevant: int

    @property
    def share(self) -> float:
        """The share of relevant hits; NaN without hits."""
        return self.relevant / self.hits if self.hits else float("nan")


class ModeFigures(ResultModel):
    """The metrics of one search mode on one set.

    Attributes:
        ndcg_at_10: Mean nDCG over the queries.
        recall_at_10: Mean over the queries: share of the relevant documents that are among the first ten hits.
        mrr_at_10: Mean reciprocal rank over the queries.
        no_match: Share of the queries with ``no_match``, although all have a relevant document.
        foreign_no_match: The share for queries from other sets, without a relevant document; None for a single set.
        rare_words: Share of the words of only one document that find it among the first five hits; None without words.
        bands: Counts of the first ten hits, by band.
        by_query: The metrics of each query; not part of the answer.
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
    """The metrics of every search mode on one set; ``compared`` with its last run if requested."""

    name: str
    documents: int
    empty: int
    passages: int
    queries: int
    judged: int
    modes: dict[SearchMode, ModeFigures]
    compared: Comparison | None = None


class Evaluation(ResultModel):
    """The metrics of all sets under one model."""

    model: str
    seed: int
    sets: list[SetFigures]
