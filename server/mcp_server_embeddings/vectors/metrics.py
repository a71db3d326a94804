"""Metrics of rankings, given the relevant documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def ndcg(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Return the normalised discounted cumulative gain of the first documents, as trec_eval's ``ndcg_cut``.

    The gain of a document is its relevance (linear), and the ideal ranking has all relevant documents, found or not
    (Järvelin and Kekäläinen 2002).

    Args:
        ranking: Documents, best first.
        relevance: Relevance above 0 by document; at least one.
        cut: Number of documents that count, 2 or more.

    Example:
        >>> ndcg(["b", "a"], {"a": 1}, 10)
        0.6309297535714575
    """
    from sklearn.metrics import ndcg_score

    first = ranking[:cut]
    gains = [relevance.get(document, 0) for document in first] + [0] * (cut - len(first))
    gains += [gain for document, gain in relevance.items() if document not in first]
    return float(ndcg_score([gains], [range(len(gains), 0, -1)], k=cut))


def recall(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Return the share of the relevant documents that are among the first ``cut``."""
    return sum(document in relevance for document in ranking[:cut]) / len(relevance)


def reciprocal_rank(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Return 1 divided by the rank of the first relevant document; 0 if none is among the first ``cut``.

    Its mean over queries is the MRR.
    """
    ranks = (rank for rank, document in enumerate(ranking[:cut], 1) if document in relevance)
    return 1 / next(ranks, float("inf"))


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference, and the range that contains it in 19 of 20 samples of as many queries."""

    mean: float
    low: float
    high: float


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean increase of a metric, with the 95 % interval of a paired bootstrap over queries.

    The difference is computed per query first, so the difficulty of queries cancels out. Queries are then drawn with
    replacement (Sakai 2006, "Evaluating evaluation metrics based on the bootstrap", doi:10.1145/1148170.1148261), 9,999
    times by scipy. The interval consists of percentiles of the means (Efron and Tibshirani 1993, chapter 13), which,
    unlike the bias-corrected interval, also exists if most differences are 0.

    Args:
        before: The metric of each query.
        after: The metric of the same queries, in the same order.
        seed: Seed of the random draws.

    Example:
        >>> paired_difference([0.5, 1.0], [0.5, 1.0])
        Interval(mean=0.0, low=0.0, high=0.0)
    """
    import numpy as np
    from scipy.stats import bootstrap

    differences = np.subtract(after, before)
    mean = float(differences.mean())
    if (differences == differences[0]).all():  # for example a single query: resampling changes nothing
        return Interval(mean, mean, mean)
    resampled = bootstrap((differences,), np.mean, method="percentile", batch=1_000, rng=np.random.default_rng(seed))
    return Interval(mean, float(resampled.confidence_interval.low), float(resampled.confidence_interval.high))
