"""Combine scores by meaning with scores by words."""

import math

import numpy as np

from mcp_server_embeddings.vectors.calibration import SearchCalibration
from mcp_server_embeddings.vectors.scores import Scores

WORDS_WEIGHT = 0.45
"""Of words. Of 588 rules it is the best in each of 18 folds that leave one public set out; mean nDCG@10 over the sets
0.6750, by the better half of each 0.6378, and at most 0.0041 below the better half on any."""

INDEPENDENCE = 0.75
"""The exponent without words in ``above_chance``; ``docs/quality.md`` has those that are chosen without one set."""


def fused_scores(
    cosines: Scores,
    words: Scores,
    n_words: int,
    n_passages: int,
    calibration: SearchCalibration,
    weight: float = WORDS_WEIGHT,
) -> Scores:
    """Return one score for each passage: ``exp(c') + 0.45 (1 + 1/n) BM25 / ln N``.

    ``c'`` is the cosine on the model's own scale: 0 for unrelated texts and 1 for a query with its answer, on average.

    Args:
        cosines: Shape ``(k,)``: of the passages with the query.
        words: Shape ``(k,)``: BM25, 0 where a passage has none of the words.
        n_words: ``n``: words of the query that were looked up.
        n_passages: ``N``: passages that were searched.
        calibration: Of searches.
        weight: Of words.

    Example:
        >>> fused_scores(np.array([0.6, 0.6]), np.array([0.0, 4.0]), 2, 1_000, calibration).argmax()
        1
    """
    meaning: Scores = np.exp(calibration.relative(cosines))
    if not n_words:
        return meaning
    found: Scores = meaning + weight * (1 + 1 / n_words) * words / math.log(max(n_passages, 3))
    return found


def above_chance(
    cosines: Scores, words: Scores | None, n_asked: int, n_passages: int, calibration: SearchCalibration
) -> Scores:
    """Return how far each passage is above what a search of unrelated passages finds by chance; from 0 on it matches.

    That is ``c' + BM25 / (n ln N)`` over what the nearest of ``N`` unrelated passages reaches once in twenty searches
    (``SearchCalibration.by_chance``). The second term is about the share of the query that is in the passage, rare
    words counting more. Without words, ``N`` counts as ``N ** 0.75``: passages of one collection resemble each other,
    so chance reaches less than with independent ones, by about what words give where they are known.

    Args:
        cosines: Shape ``(k,)``: of the passages with the query.
        words: Shape ``(k,)``: BM25, 0 where a passage has none of the words; None where words do not count.
        n_asked: ``n``: words of the query, also those that no passage has.
        n_passages: ``N``: passages that were searched.
        calibration: Of searches.
    """
    meaning = calibration.relative(cosines)
    if words is None:
        return meaning - calibration.by_chance(round(n_passages**INDEPENDENCE))
    shares: Scores = words / (max(n_asked, 1) * math.log(max(n_passages, 3)))
    return meaning + shares - calibration.by_chance(n_passages)
