"""The retrieval pipeline: candidates → fusion → choice → (rerank) → passages → answer.

Candidates are the passages nearest the query and those that contain its words. A collection's store returns both; of
sent texts, all are candidates. Fusion combines the cosine and the word score of each into one score. Choice keeps the
best passage of each item. A reranker, if there is one, orders the first of these by its own scores (``reranking``); the
first ones become the hits. Passages are the sentences shown of a hit (``excerpts``). The tools build the answer.
"""

from collections.abc import Callable, Sequence
from collections.abc import Collection as Set
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mcp_server_embeddings.store import WordIndex
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Chunk, WordMatches, passage_text
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.reranking import Ranked, Reranking
from mcp_server_embeddings.vectors.calibration import SearchCalibration
from mcp_server_embeddings.vectors.fusion import above_chance, fused_scores
from mcp_server_embeddings.vectors.ranking import diverse_rows
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores

SearchMode = Literal["hybrid", "semantic", "keyword"]

_DEPTH = 100
"""Candidates of each kind in the first attempt; more are fetched if these belong to too few items."""

_WORD_DEPTH = 1_000
"""Number of passages with known word scores; those of others count as 0."""

_UNKNOWN = float("nan")


@dataclass(frozen=True, slots=True)
class Query:
    """A query with the parameters of its search.

    Attributes:
        text: The text of the query.
        mode: Whether passages are ordered by meaning, by words, or by both.
        top: Maximum number of hits.
        vector: Vector of the query, shape ``(1, d)``; None for ``keyword``, which needs no model.
        calibration: Calibration of searches; None for ``keyword``.
        diversity: 0 (best by score) to 1 (least similar to each other): maximal marginal relevance.
        reranking: Determines the final order of the first candidates; None without a reranker.
    """

    text: str
    mode: SearchMode
    top: int
    vector: Vectors | None = None
    calibration: SearchCalibration | None = None
    diversity: float = 0.0
    reranking: Reranking | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """The numbers behind a score; NaN for a step that did not contribute.

    Attributes:
        words: BM25 score.
        cosine: Cosine with the query.
        fused: Fusion of the two.
        rerank: Relevance by the reranker.
    """

    words: float
    cosine: float
    fused: float
    rerank: float


@dataclass(frozen=True, slots=True)
class RetrievedPassage:
    """A hit: the best passage of an item, the score that orders hits, and the numbers behind it."""

    chunk: Chunk
    score: float
    trace: Trace


@dataclass(frozen=True, slots=True)
class RetrievedText:
    """A hit: the position of a sent text; otherwise like ``RetrievedPassage``."""

    position: int
    score: float
    trace: Trace


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a search found anything.

    Attributes:
        no_match: No passage is above chance (``above_chance``), and none contains all words of the query; with
            ``keyword``: no passage contains any of them.
        below: Number of hits that are not above chance; 0 with ``keyword``.
    """

    no_match: bool
    below: int = 0


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The result of searching a collection: hits, best first, one for each item."""

    hits: list[RetrievedPassage]
    match: Match


def retrieve(
    source: Collection, query: Query, *, where: Where | None = None, documents: Set[str] | None = None
) -> Retrieved:
    """Search a collection by meaning, by words, or by both.

    Args:
        source: The collection, inside ``Collection.reading``, so that all steps see one state.
        query: The query.
        where: Only passages of items whose metadata fits.
        documents: Only items with these ids; None for all.

    Raises:
        InputError: ``where`` is invalid.
        CollectionError: The collection was removed meanwhile.
    """
    total = source.current().chunks
    depth = max(_DEPTH, 4 * query.top) if documents is None else total
    while True:
        candidates = _candidates(source, query, depth, where)
        owners = source.documents_of(candidates.keys)
        if depth >= total or len(set(owners)) >= query.top:
            break
        depth *= 8
    if not candidates.keys:
        return Retrieved([], Match(no_match=True))
    order = sorted(range(len(owners)), key=lambda at: (-candidates.scores[at], candidates.keys[at]))
    order = [at for at in order if documents is None or owners[at] in documents]
    best: dict[str, int] = {}
    for at in order:
        best.setdefault(owners[at], at)

    def passages(firsts: list[int]) -> list[str]:
        chunks = source.chunks([candidates.keys[at] for at in firsts])
        return [passage_text(chunk.heading, chunk.text) for chunk in chunks]

    ranked = _ranked(query, list(best.values()), candidates.scores, passages)
    chosen = list(range(min(query.top, len(ranked.order))))
    if query.diversity and chosen:
        vectors = source.vectors([candidates.keys[at] for at in ranked.order])
        chosen = _diverse_rows(ranked.scores, vectors, query)
    keys = [candidates.keys[ranked.order[row]] for row in chosen]
    hits = [
        RetrievedPassage(chunk, float(ranked.scores[row]), _trace(ranked, row, candidates))
        for chunk, row in zip(source.chunks(keys), chosen, strict=True)
    ]
    return Retrieved(hits, _judge(candidates, order, [ranked.order[row] for row in chosen]))


def retrieve_sent(
    words: WordIndex | None, vectors: Vectors | None, texts: Sequence[str], query: Query
) -> tuple[list[RetrievedText], Match]:
    """Search sent texts, as ``retrieve`` searches a collection.

    Args:
        words: Index of the words of the texts; None for ``semantic``.
        vectors: Vectors of the texts, shape ``(n, d)``; None for ``keyword``.
        texts: The texts.
        query: The query.
    """
    total = len(texts)
    matches = None if words is None else words.matching(query.text, total)
    cosines = np.full(total, _UNKNOWN)
    if vectors is not None and query.vector is not None:
        cosines = scores(vectors, query.vector, "cosine")[:, 0]
    word_scores = np.zeros(total)
    if matches is not None:
        word_scores[matches.keys] = matches.scores
    candidates = _scored(query, [], cosines, word_scores, matches, total)
    positions = [at for at in range(total) if query.mode != "keyword" or word_scores[at] > 0]
    order = sorted(positions, key=lambda at: (-candidates.scores[at], at))
    ranked = _ranked(query, order, candidates.scores, lambda firsts: [texts[at] for at in firsts])
    chosen = list(range(min(query.top, len(order))))
    if query.diversity and vectors is not None:
        chosen = _diverse_rows(ranked.scores, vectors[ranked.order], query)
    hits = [
        RetrievedText(ranked.order[row], float(ranked.scores[row]), _trace(ranked, row, candidates)) for row in chosen
    ]
    return hits, _judge(candidates, order, [ranked.order[row] for row in chosen])


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Passages that may become hits: their keys, scores, cosines, BM25 scores and margins above chance.

    ``complete`` is ``WordMatches.complete``, False without a search by words.
    """

    keys: list[int]
    scores: Scores
    cosines: Scores
    words: Scores
    margins: Scores
    complete: bool


def _candidates(source: Collection, query: Query, depth: int, where: Where | None) -> _Candidates:
    near = None if query.vector is None else source.nearest(query.vector, depth, where)[0]
    matches = None if query.mode == "semantic" else source.matching(query.text, max(_WORD_DEPTH, depth), where)
    keys = list(near.keys) if near is not None else []
    known = set(keys)
    keys += [key for key in (matches.keys[:depth] if matches is not None else []) if key not in known]
    cosines = np.full(len(keys), _UNKNOWN)
    if near is not None and query.vector is not None:
        rest = keys[len(near.keys) :]
        cosines = np.concatenate([near.cosines, source.cosines(rest, query.vector[0])]) if rest else near.cosines
    words = {} if matches is None else dict(zip(matches.keys, matches.scores.tolist(), strict=True))
    word_scores = np.array([words.get(key, 0.0) for key in keys])
    return _scored(query, keys, cosines, word_scores, matches, near.total if near is not None else 0)


def _scored(
    query: Query, keys: list[int], cosines: Scores, word_scores: Scores, matches: WordMatches | None, passages: int
) -> _Candidates:
    """Return candidates with the scores that the mode orders by, and their margins."""
    found = word_scores if query.mode == "keyword" else cosines
    if query.mode == "hybrid" and matches is not None and query.calibration is not None:
        found = fused_scores(cosines, word_scores, matches.words, passages, query.calibration)
    margins = _margins(query, cosines, word_scores, matches, passages)
    return _Candidates(keys, found, cosines, word_scores, margins, matches is not None and matches.complete)


def _trace(ranked: Ranked, row: int, candidates: _Candidates) -> Trace:
    at = ranked.order[row]
    return Trace(
        float(candidates.words[at]),
        float(candidates.cosines[at]),
        float(candidates.scores[at]),
        float(ranked.relevance[row]),
    )


def _ranked(query: Query, order: list[int], found: Scores, passages: Callable[[list[int]], Sequence[str]]) -> Ranked:
    """Return candidates in their final order; ``found`` holds the scores of all positions."""
    if query.reranking is None or not order:
        return Ranked(order, found[order], np.full(len(order), _UNKNOWN))
    return query.reranking.rerank(query.text, order, found[order], query.top, passages)


def _margins(query: Query, cosines: Scores, word_scores: Scores, matches: WordMatches | None, passages: int) -> Scores:
    """Return how far passages are above chance; with ``keyword``, each with a word of the query is above."""
    if query.calibration is None:
        return word_scores
    if matches is None:
        return above_chance(cosines, None, 0, passages, query.calibration)
    return above_chance(cosines, word_scores, matches.query_words, passages, query.calibration)


def _judge(candidates: _Candidates, order: Sequence[int], hits: Sequence[int]) -> Match:
    """Judge whether a search found anything, from the positions of the possible hits and of the actual ones."""
    if not hits:
        return Match(no_match=True)
    best = float(candidates.margins[list(order)].max())
    return Match(not candidates.complete and best < 0, below=int((candidates.margins[list(hits)] < 0).sum()))


def _diverse_rows(found: Scores, vectors: Vectors, query: Query) -> list[int]:
    """Return the positions chosen for their scores and their dissimilarity, in the order of scores."""
    spread = found / max(float(np.abs(found).max(initial=0.0)), 1e-9)
    return sorted(diverse_rows(spread, vectors, query.top, query.diversity), key=lambda at: (-found[at], at))
