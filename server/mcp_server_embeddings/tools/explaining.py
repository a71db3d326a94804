"""Explain the score of a hit by the score from each step of the search."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mcp_server_embeddings.store import WordIndex
from mcp_server_embeddings.store.analysis import STEMMERS, language_term, passage_terms, query_words
from mcp_server_embeddings.tools.retrieval import SearchMode, Trace
from mcp_server_embeddings.vectors.calibration import Calibration

_WORD = re.compile(r"\w+")
_DECIMALS = 4

Explanation = dict[str, float | list[str]]


def explanations(
    query: str, mode: SearchMode, passages: Sequence[str], traces: Sequence[Trace], calibration: Calibration | None
) -> list[Explanation]:
    """Return the scores of each hit by step; steps that did not contribute are omitted.

    Args:
        query: The query.
        mode: The search mode.
        passages: The texts of the hits as they were searched.
        traces: The traces of the hits.
        calibration: The calibration for searches; None without cosines.

    Returns:
        ``words`` (BM25) and ``matched`` (words of the query in the passage), ``cosine`` and ``meaning`` (the cosine on
        the model's own scale: 0 unrelated, 1 an answer), ``fusion`` (of both), ``rerank`` (0 to 1).
    """
    matched = matched_words(query, passages) if mode != "semantic" else [[] for _ in passages]
    found: list[Explanation] = []
    for trace, words in zip(traces, matched, strict=True):
        numbers: Mapping[str, float] = {
            "words": trace.words if mode != "semantic" else math.nan,
            "cosine": trace.cosine,
            "meaning": float(calibration.relative(np.array(trace.cosine))) if calibration is not None else math.nan,
            "fusion": trace.fused if mode == "hybrid" else math.nan,
            "rerank": trace.rerank,
        }
        known: Explanation = {name: round(value, _DECIMALS) for name, value in numbers.items() if math.isfinite(value)}
        found.append({**known, "matched": words} if words else known)
    return found


def matched_words(query: str, passages: Sequence[str]) -> list[list[str]]:
    """Return the words of a query that each text contains, by the rules of keyword search.

    Stems match, and words that keyword search ignores are omitted.

    Example:
        >>> matched_words("the red foxes", ["the red fox", "the bike"])
        [['red', 'foxes'], []]
    """
    matched: list[list[str]] = [[] for _ in passages]
    terms = {term for text in passages for term in passage_terms(text)}
    languages = [code for code in STEMMERS if language_term(code) in terms]
    searched = set(query_words(query, languages))
    words = [word for word in _WORD.findall(query) if searched.intersection(query_words(word, languages))]
    with WordIndex(passages) as index:
        for word in dict.fromkeys(words):
            for position in index.matching(word, len(passages)).keys:
                matched[position].append(word)
    return matched
