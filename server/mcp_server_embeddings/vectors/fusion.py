"""Combine scores by meaning with scores by words."""

import math

import numpy as np

from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.scores import Scores

_WORDS_WEIGHT = 0.45
"""Of words. Of 588 rules it is the best in each of 18 folds that leave one public set out; mean nDCG@10 over the sets
0.6750, by the better half of each 0.6378, and at most 0.0041 below the better half on any."""


def fused_scores(cosines: Scores, words: Scores, n_words: int, n_passages: int, calibration: Calibration) -> Scores:
    """Return one score for each passage: ``exp(c') + 0.45 (1 + 1/n) BM25 / ln N``.

    ``c'`` is the cosine on the model's own scale: 0 for unrelated texts and 1 for a query with its answer, on average.

    Args:
        cosines: Shape ``(k,)``: of the passages with the query.
        words: Shape ``(k,)``: BM25, 0 where a passage has none of the words.
        n_words: ``n``: words of the query that were looked up.
        n_passages: ``N``: passages that were searched.
        calibration: Of searches.

    Example:
        >>> fused_scores(np.array([0.6, 0.6]), np.array([0.0, 4.0]), 2, 1_000, calibration).argmax()
        1
    """
    unrelated, answers = float(calibration.unrelated.mean()), float(calibration.paraphrase.mean())
    meaning: Scores = np.exp((cosines - unrelated) / max(answers - unrelated, 1e-6))
    if not n_words:
        return meaning
    found: Scores = meaning + _WORDS_WEIGHT * (1 + 1 / n_words) * words / math.log(max(n_passages, 3))
    return found
