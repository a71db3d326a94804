"""Finding passages in a collection."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.collection import Collection
from mcp_server_embeddings.store.records import Chunk, Snapshot
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.listing import MAX_TOP, Entry, Room
from mcp_server_embeddings.tools.results import CollectionSearched, FoundBy, FoundPassage, Places, SearchMode, Usage
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE
from mcp_server_embeddings.tools.spans import best_passages
from mcp_server_embeddings.tools.texts import CONTROL, check_range, check_size, checked_query, snippet
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.fusion import reciprocal_rank_fusion
from mcp_server_embeddings.vectors.ranking import best_rows
from mcp_server_embeddings.vectors.similarity import Vectors, unit_rows

_DEPTH = 100
"""Hits of each kind that are put together, at least."""

_WEIGHTS = (1.0, 0.3)
"""Of meaning and of words when both are put together. Equal weights lose up to 0.1 nDCG@10 where words are the much
weaker of the two (``benchmarks/collections.py``)."""

_DECIMALS = 6
"""Of a cosine, so that equal texts tie."""

_DEFAULT_TOP = 5


def collection_search(
    embedder: Embedder,
    store: Store,
    collection: str,
    query: str,
    *,
    top: int | None = None,
    mode: SearchMode = "hybrid",
    where: Where | None = None,
    neighbours: bool = False,
) -> CollectionSearched:
    """Find the chunks of a collection nearest a query, exactly: every vector is compared.

    Args:
        embedder: The engine.
        store: The collections.
        collection: Its name.
        query: What is looked for; encoded with the model's prompt for queries where it has one.
        top: How many hits, 1 to 1,000; None for up to 5 that fit a small answer.
        mode: ``semantic`` by cosine, ``keyword`` by BM25 over the words, ``hybrid`` by reciprocal rank fusion of both.
        where: Only chunks whose document's metadata fits; see ``store.where.Where``.
        neighbours: Give what stands before and after each hit in its document.

    Returns:
        Hits in order. Score, percentile and band are those of the cosine in every mode. ``span`` is the sentence
        nearest the query, in characters of the document. ``no_match``: nothing is above the band ``weak``, and no
        text has all words of the query (``keyword``: none has any; ``semantic``: words do not count).

    Raises:
        InputError: The query is blank, or a number or ``where`` is refused.
        CollectionError: There is no such collection, or it is another model's.
        OperatorError: The model or the store cannot be used.
    """
    if top is not None:
        check_range("top", top, 1, MAX_TOP)
    query = checked_query("query", query)
    check_size([], query)
    identity = embedder.identity()
    source = store.collection(collection, identity.digest, identity.short)
    sought = embedder.embed([query], role="query")
    snapshot, selected = source.snapshot(), source.selected(where)
    cosines = _cosines(snapshot, selected, sought.vectors)
    wanted = top or _DEFAULT_TOP
    depth = max(_DEPTH, wanted)
    near = [] if mode == "keyword" else _nearest(cosines, depth)
    words: list[int] = []
    all_words = False
    if mode != "semantic":
        rows, all_words = source.matching_words(query, depth, where)
        words = _positions(snapshot, rows)
    order = reciprocal_rank_fusion([near, words], _WEIGHTS)
    calibration = embedder.calibration("retrieval")
    chunks = source.chunks([int(snapshot.rows[position]) for position in order[:wanted]])
    at = {int(snapshot.rows[position]): float(cosines[position]) for position in order[:wanted]}
    found_by = {int(snapshot.rows[p]): _found_by(p in set(near), p in set(words)) for p in order[:wanted]}
    hits, tokens = _hits(embedder, chunks, at, found_by, sought.vectors, calibration)
    if neighbours:
        hits = [_with_neighbours(hit, chunk, source) for hit, chunk in zip(hits, chunks, strict=True)]
    room = Room(embedder, top)
    listed = room.take([Entry(hit.model_dump_json(), "") for hit in hits])
    usage = Usage.of(sought)
    matching = _count(snapshot, selected) if mode != "keyword" else len(words)
    best = float(cosines[near[0]]) if near else -1.0
    return CollectionSearched(
        model=identity.short,
        usage=usage.model_copy(update={"tokens": usage.tokens + tokens}),
        more=max(0, matching - listed),
        collection=collection,
        mode=mode,
        hits=hits[:listed],
        no_match=not words if mode == "keyword" else not (calibration.above_weak(best) or all_words),
    )


def _cosines(snapshot: Snapshot, selected: NDArray[np.int64] | None, sought: Vectors) -> NDArray[np.float32]:
    """The cosine of every row with the query; minus infinity where a chunk is gone or not selected."""
    cosines = np.round(snapshot.vectors @ unit_rows(sought)[0], _DECIMALS)
    wanted = snapshot.alive
    if selected is not None:
        wanted = wanted & np.isin(snapshot.rows, selected)
    return np.where(wanted, cosines, -np.inf).astype(np.float32)


def _nearest(cosines: NDArray[np.float32], most: int) -> list[int]:
    """Positions of the highest cosines, best first, ties by position."""
    candidates = np.arange(len(cosines))
    if len(cosines) > most:
        # Sorting all of 100,000 takes longer than comparing them; what ties with the last place stays in.
        lowest = np.partition(cosines, len(cosines) - most)[len(cosines) - most]
        candidates = np.flatnonzero(cosines >= lowest)
    order = best_rows(cosines[candidates].astype(np.float64), most)
    return [int(candidates[i]) for i in order if np.isfinite(cosines[candidates[i]])]


def _positions(snapshot: Snapshot, rows: Sequence[int]) -> list[int]:
    """Where chunks stand in the snapshot; those that came after it are left out."""
    wanted = np.array(rows, np.int64)
    found = np.searchsorted(snapshot.rows, wanted)
    return [
        int(position)
        for position, row in zip(found, wanted, strict=True)
        if position < len(snapshot.rows) and snapshot.rows[position] == row and snapshot.alive[position]
    ]


def _count(snapshot: Snapshot, selected: NDArray[np.int64] | None) -> int:
    return int(snapshot.alive.sum()) if selected is None else len(selected)


def _found_by(near: bool, words: bool) -> FoundBy:
    if near and words:
        return "both"
    return "meaning" if near else "words"


def _hits(
    embedder: Embedder,
    chunks: Sequence[Chunk],
    cosines: dict[int, float],
    found_by: dict[int, FoundBy],
    sought: Vectors,
    calibration: Calibration,
) -> tuple[list[FoundPassage], int]:
    """The hits with their best passages, and the tokens read for those. A short chunk is its own passage."""
    long = [chunk for chunk in chunks if len(chunk.text) > MAX_PASSAGE]
    spans, tokens = best_passages(embedder, sought, [c.text for c in long], calibration) if long else ([], 0)
    best = {chunk.row: span for chunk, span in zip(long, spans, strict=True)}
    hits = []
    for chunk in chunks:
        score, percentile, band = calibration.judged(cosines[chunk.row])
        span = best.get(chunk.row)
        first, last = (span.start, span.end) if span else (0, len(chunk.text))
        hits.append(
            FoundPassage(
                score=score,
                percentile=percentile,
                band=band,
                id=chunk.id,
                snippet=CONTROL.sub(" ", chunk.text[first:last]),
                span=Places(start=chunk.start + first, end=chunk.start + last),
                found_by=found_by[chunk.row],
                metadata={**chunk.metadata, **({"heading": chunk.heading} if chunk.heading else {})},
                before="",
                after="",
            )
        )
    return hits, tokens


def _with_neighbours(hit: FoundPassage, chunk: Chunk, source: Collection) -> FoundPassage:
    """With what stands around the passage: the rest of its chunk, else of the parts beside it."""
    parts = {part.part: part.text for part in source.chunks_of(chunk.document)}
    before = parts.get(chunk.part - 1, "") + "\n" + chunk.text[: hit.span.start - chunk.start]
    after = chunk.text[hit.span.end - chunk.start :] + "\n" + parts.get(chunk.part + 1, "")
    return hit.model_copy(
        update={"before": snippet(before[-MAX_PASSAGE:], MAX_PASSAGE), "after": snippet(after, MAX_PASSAGE)}
    )
