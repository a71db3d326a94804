"""The one retrieval pipeline: candidates → fusion → choice → passages → answer.

Candidates are the chunks nearest the query and those with its words, both from the store. Fusion makes one ranking of
the two. ``choose`` takes the hits from it, for relevance alone or for variety. Passages are the sentences that a hit
is shown by. The tools make the answer.

A reranker comes between fusion and ``choose``: it scores the query with the texts of the first candidates and puts
these in the order of its scores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Chunk, Nearest, WordMatches
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.collection_results import FoundBy
from mcp_server_embeddings.tools.results import Span
from mcp_server_embeddings.tools.sentences import joined, passages
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.fusion import reciprocal_rank_fusion
from mcp_server_embeddings.vectors.ranking import diverse_rows
from mcp_server_embeddings.vectors.scores import Vectors, scores

_WEIGHTS = (1.0, 0.3)
"""Of meaning and of words when both are put together. With equal weights hybrid lost 0.023 nDCG@10 to meaning alone
on a set where words are much the weaker, with these 0.004 (docs/collections.md)."""

_MAX_SENTENCES = 2_000
"""Of all hits together; where there are more, neighbours are joined up to the length of a passage, so that spans cost
about as much as the texts themselves."""

_NONE_NEAR = Nearest([], np.empty(0), np.empty((0, 0), np.float32), 0)


@dataclass(frozen=True, slots=True)
class RetrievedChunk:
    """A hit: the chunk, its cosine with the query (NaN by words alone), and which kind of search found it."""

    chunk: Chunk
    cosine: float
    found_by: FoundBy


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a search of a collection found.

    Attributes:
        hits: Best first.
        total: How many chunks could be listed.
        best_cosine: The highest of all; -1 where there is none.
        words_match: Some chunk has all words of the query.
    """

    hits: list[RetrievedChunk]
    total: int
    best_cosine: float
    words_match: bool


def retrieve(
    source: Collection,
    vectors: Vectors | None,
    words: str | None,
    *,
    top: int,
    depth: int,
    where: Where | None = None,
    diversity: float | None = None,
) -> Retrieved:
    """Search a collection by meaning, by words, or by reciprocal rank fusion of both.

    Args:
        source: The collection, inside ``Collection.reading``, so that all steps see one state.
        vectors: Shape ``(1, d)``: the query's; None to search by words alone.
        words: The query; None to search by meaning alone.
        top: How many hits at most.
        depth: How many candidates of each kind.
        where: Only chunks whose document's metadata fits.
        diversity: By meaning alone, see ``choose``; None takes the ranking as it is.

    Raises:
        InputError: ``where`` is refused.
        CollectionError: The collection was removed meanwhile.
    """
    near, matches = _NONE_NEAR, WordMatches([], complete=False)
    if vectors is not None:
        (near,) = source.nearest(vectors, depth, where)
    if words is not None:
        matches = source.matching(words, depth, where)
    ranking = reciprocal_rank_fusion([near.keys, matches.keys], _WEIGHTS)
    chosen = ranking[:top] if diversity is None else choose(near, top, diversity)
    cosines = dict(zip(near.keys, near.cosines.tolist(), strict=True))
    by_meaning, by_words = frozenset(near.keys), frozenset(matches.keys)
    rest = [key for key in chosen if key not in cosines]
    if vectors is not None and rest:
        cosines |= zip(rest, source.cosines(rest, vectors[0]).tolist(), strict=True)
    return Retrieved(
        hits=[
            RetrievedChunk(
                chunk, cosines.get(chunk.key, math.nan), _found_by(chunk.key in by_meaning, chunk.key in by_words)
            )
            for chunk in source.chunks(chosen)
        ],
        total=len(matches.keys) if vectors is None else near.total,
        best_cosine=max(near.cosines.tolist(), default=-1.0),
        words_match=matches.complete,
    )


def choose(candidates: Nearest, top: int, diversity: float) -> list[int]:
    """The keys of the hits by maximal marginal relevance (see ``diverse_rows``), ties by key.

    Args:
        candidates: What is chosen from.
        top: How many at most.
        diversity: 0 (relevance alone) to 1 (unlikeness alone).
    """
    if not candidates.keys:
        return []
    order = np.argsort(candidates.keys)
    rows = diverse_rows(candidates.cosines[order], candidates.vectors[order], top, diversity)
    return [candidates.keys[order[row]] for row in rows]


def _found_by(near: bool, words: bool) -> FoundBy:
    if near and words:
        return "both"
    return "meaning" if near else "words"


def best_passages(
    embedder: Embedder, query: Vectors, texts: Sequence[str], calibration: Calibration
) -> tuple[list[Span], int]:
    """For each text its passage nearest the query, all encoded in one call, and the tokens that were read."""
    if not texts:
        return [], 0
    places = [passages(text) for text in texts]
    if sum(map(len, places)) > _MAX_SENTENCES:
        places = [joined(found) for found in places]
    sentences = [text[start:end] for text, found in zip(texts, places, strict=True) for start, end in found]
    embedded = embedder.embed(sentences, role="document")
    cosines = scores(embedded.vectors, query, "cosine")[:, 0]
    spans: list[Span] = []
    for found in places:
        own, cosines = cosines[: len(found)], cosines[len(found) :]
        best = int(np.argmax(own))
        start, end = found[best]
        score, percentile, band = calibration.interpret(float(own[best]))
        spans.append(Span(start=start, end=end, score=score, percentile=percentile, band=band))
    return spans, embedded.tokens
