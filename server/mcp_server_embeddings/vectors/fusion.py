"""Combine semantic scores with keyword scores."""

import math

import numpy as np

from mcp_server_embeddings.vectors.calibration import SearchCalibration
from mcp_server_embeddings.vectors.scores import Scores

WORDS_WEIGHT = 0.45
"""Weight of the keyword score. It is the best of 588 rules in each of 18 folds that leave one public set out. Mean
nDCG@10 over the sets is 0.6750; the better of the two scores alone on each set gives 0.6378, and fusion is at most
0.0041 below it on any set."""

INDEPENDENCE = 0.75
"""Exponent in ``above_chance`` without keyword scores; ``docs/quality.md`` has those chosen with one set left out."""


def fused_scores(
    cosines: Scores,
    words: Scores,
    n_words: int,
    n_passages: int,
    calibration: SearchCalibration,
    weight: float = WORDS_WEIGHT,
) -> Scores:
    """Return one score for each passage: ``exp(c') + 0.45 (1 + 1/n) BM25 / ln N``.

    ``c'`` is the cosine rescaled for the model: on average 0 for unrelated texts and 1 for a query with its answer.

    Args:
        cosines: Shape ``(k,)``: cosines of the passages with the query.
        words: Shape ``(k,)``: BM25 scores, 0 if a passage has no word of the query.
        n_words: ``n``, the number of words of the query that were looked up.
        n_passages: ``N``, the number of passages that were searched.
        calibration: Calibration for searches.
        weight: Weight of the BM25 scores.

    Example:
        >>> fused_scores(np.array([0.6, 0.6]), np.array([0.0, 4.0]), 2, 1_000, calibration).argmax()
        1
    """
    semantic: Scores = np.exp(calibration.relative(cosines))
    if not n_words:
        return semantic
    fused: Scores = semantic + weight * (1 + 1 / n_words) * words / math.log(max(n_passages, 3))
    return fused


def above_chance(
    cosines: Scores, words: Scores | None, n_query_words: int, n_passages: int, calibration: SearchCalibration
) -> Scores:
    """Return by how much each passage exceeds the best of unrelated passages by chance; from 0 on it is a match.

    This is ``c' + BM25 / (n ln N)`` minus the value that the nearest of ``N`` unrelated passages reaches in 1 of 20
    searches (``SearchCalibration.by_chance``). The second term approximates the share of the query's words that the
    passage contains, with rare words counting more. Without BM25 scores, ``N ** 0.75`` replaces ``N``: passages of one
    collection resemble each other, so chance reaches less than with independent passages, by about as much as the
    BM25 term adds when it is available.

    Args:
        cosines: Shape ``(k,)``: cosines of the passages with the query.
        words: Shape ``(k,)``: BM25 scores, 0 if a passage has no word of the query; None to ignore words.
        n_query_words: ``n``, the number of words of the query, including those that no passage has.
        n_passages: ``N``, the number of passages that were searched.
        calibration: Calibration for searches.
    """
    semantic = calibration.relative(cosines)
    if words is None:
        return semantic - calibration.by_chance(round(n_passages**INDEPENDENCE))
    shares: Scores = words / (max(n_query_words, 1) * math.log(max(n_passages, 3)))
    return semantic + shares - calibration.by_chance(n_passages)
