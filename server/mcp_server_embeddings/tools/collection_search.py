"""Finding passages in a collection."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.collection import Collection
from mcp_server_embeddings.store.records import Chunk, Snapshot
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.collection_results import CollectionSearchResult, FoundBy, FoundPassage, SearchMode
from mcp_server_embeddings.tools.corpus import nearest_positions, query_cosines
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import MAX_TOP, CollectionName, Range, parse_if_string, validated_as
from mcp_server_embeddings.tools.results import CharacterRange, Usage
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE, passages
from mcp_server_embeddings.tools.spans import best_passages
from mcp_server_embeddings.tools.texts import CONTROL, check_size, checked_query, snippet
from mcp_server_embeddings.vectors.calibration import Band, Calibration
from mcp_server_embeddings.vectors.fusion import reciprocal_rank_fusion
from mcp_server_embeddings.vectors.scores import Vectors, scores

_DEPTH = 100
"""Hits of each kind that are put together, at least."""

_WEIGHTS = (1.0, 0.3)
"""Of meaning and of words when both are put together. With equal weights hybrid lost 0.023 nDCG@10 to meaning alone
on a set where words are much the weaker, with these 0.004 (docs/collections.md)."""

_DEFAULT_TOP = 5

_WORD = re.compile(r"\w+")


@tool(
    title="Search a collection",
    description=(
        "Finds passages about a query in a stored collection, by meaning and by words. Use it to answer from stored "
        "texts, and quote. Not for a list you send along: use rank. Returns the best hits with id, score, percentile, "
        "band (null in keyword mode), snippet, span, metadata; no_match: nothing fits. Read around a hit with "
        "neighbours or its resource."
    ),
    purpose="find in what was kept",
)
def collection_search(
    embedder: Embedder,
    store: Store,
    collection: CollectionName,
    query: Annotated[str, Field(description="what is looked for, a phrase or sentence")],
    *,
    top: Annotated[int | None, Range(1, MAX_TOP), Field(description="how many hits; absent: up to 5")] = None,
    mode: Annotated[SearchMode, Field(description="by meaning, by exact words, or both")] = "hybrid",
    where: Annotated[
        Where | None,
        validated_as(dict[str, object] | None),
        BeforeValidator(parse_if_string),
        Field(description='filter by metadata, such as {"year": {"gte": 2020}, "kind": ["a", "b"]}'),
    ] = None,
    neighbours: Annotated[bool, Field(description="add what stands before and after each hit")] = False,
) -> CollectionSearchResult:
    """Find the chunks of a collection nearest a query, exactly: every vector is compared.

    By words alone (``keyword``) no model is needed, whichever the collection's is.

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
        Hits in order. Score, percentile and band are those of the cosine; with ``keyword`` there are none. ``span`` is
        the sentence nearest the query, with ``keyword`` the one with most of its words, in characters of the document.
        ``no_match``: nothing is above the band ``weak``, and no text has all words of the query (``keyword``: none has
        any; ``semantic``: words do not count).

    Raises:
        InputError: The query is blank, or a number or ``where`` is refused.
        CollectionError: There is no such collection, or it is another model's and its vectors are needed.
        OperatorError: The model or the store cannot be used.
    """
    query = checked_query("query", query)
    check_size([], query)
    if mode == "keyword":
        return _by_words(store.opened(collection), query, top, where, neighbours=neighbours)
    identity = embedder.identity()
    source = store.collection(collection, identity.digest, identity.short)
    sought = embedder.embed([query], role="query")
    calibration = embedder.calibration("retrieval")
    found = _found(source, query, sought.vectors, mode, where, top or _DEFAULT_TOP)
    chunks = source.chunks(list(found.cosines))
    hits, tokens = _hits(embedder, chunks, found, sought.vectors, calibration)
    if neighbours:
        hits = _with_neighbours(hits, chunks, source)
    listed = AnswerBudget(top).take([Entry(hit.model_dump_json(), "") for hit in hits])
    usage = Usage.of(sought)
    return CollectionSearchResult(
        model=identity.short,
        usage=usage.model_copy(update={"tokens": usage.tokens + tokens}),
        more=max(0, found.matching - listed),
        collection=collection,
        mode=mode,
        hits=hits[:listed],
        no_match=not (found.words_match or calibration.above_weak(found.nearest)),
    )


def _by_words(
    source: Collection, query: str, top: int | None, where: Where | None, *, neighbours: bool
) -> CollectionSearchResult:
    """The chunks with words of the query, best first by BM25."""
    wanted = top or _DEFAULT_TOP
    rows, _ = source.matching_words(query, max(_DEPTH, wanted), where)
    chunks = source.chunks(rows[:wanted])
    words = frozenset(_WORD.findall(query.casefold()))
    hits = [_passage(chunk, *_place_of_words(chunk.text, words), "words") for chunk in chunks]
    if neighbours:
        hits = _with_neighbours(hits, chunks, source)
    listed = AnswerBudget(top).take([Entry(hit.model_dump_json(), "") for hit in hits])
    return CollectionSearchResult(
        model=source.record.model,
        usage=Usage.counted(),
        more=max(0, len(rows) - listed),
        collection=source.name,
        mode="keyword",
        hits=hits[:listed],
        no_match=not rows,
    )


def _place_of_words(text: str, words: frozenset[str]) -> tuple[int, int]:
    """The first sentence with most of the words; a short text is its own."""
    if len(text) <= MAX_PASSAGE:
        return 0, len(text)

    def count(place: tuple[int, int]) -> int:
        sentence = text[slice(*place)].casefold()
        return sum(word in sentence for word in words)

    return max(passages(text), key=count)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search found.

    Attributes:
        cosines: Of each chunk wanted, by row, best first.
        found_by: Which kind of search found it.
        matching: How many chunks could be listed.
        nearest: The highest cosine where meaning counts, else -1.
        words_match: Whether words alone make a match: all of them are in one chunk.
    """

    cosines: dict[int, float]
    found_by: dict[int, FoundBy]
    matching: int
    nearest: float
    words_match: bool


def _found(
    source: Collection, query: str, sought: Vectors, mode: SearchMode, where: Where | None, wanted: int
) -> _Found:
    """Search by meaning, alone or put together with that by words."""
    snapshot, selected = source.snapshot(), source.selected(where)
    cosines = query_cosines(snapshot, selected, sought)
    depth = max(_DEPTH, wanted)
    near = nearest_positions(cosines, depth)
    rows, complete = ([], False) if mode == "semantic" else source.matching_words(query, depth, where)
    words = [position for position in _positions(snapshot, rows) if np.isfinite(cosines[position])]
    order = reciprocal_rank_fusion([near, words], _WEIGHTS)[:wanted]
    # In double precision, as rank does: one query and one text have one score.
    exact = scores(snapshot.vectors[order], sought, "cosine")[:, 0]
    by_meaning, by_words = set(near), set(words)
    return _Found(
        cosines={int(snapshot.rows[at]): float(cosine) for at, cosine in zip(order, exact, strict=True)},
        found_by={int(snapshot.rows[at]): _found_by(at in by_meaning, at in by_words) for at in order},
        matching=_count(snapshot, selected),
        nearest=float(cosines[near[0]]) if near else -1.0,
        words_match=complete,
    )


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
    found: _Found,
    sought: Vectors,
    calibration: Calibration,
) -> tuple[list[FoundPassage], int]:
    """The hits with their best passages, and the tokens read for those. A short chunk is its own passage."""
    long = [chunk for chunk in chunks if len(chunk.text) > MAX_PASSAGE]
    spans, tokens = best_passages(embedder, sought, [c.text for c in long], calibration) if long else ([], 0)
    best = {chunk.row: span for chunk, span in zip(long, spans, strict=True)}
    hits = []
    for chunk in chunks:
        span = best.get(chunk.row)
        first, last = (span.start, span.end) if span else (0, len(chunk.text))
        judged = calibration.interpret(found.cosines[chunk.row])
        hits.append(_passage(chunk, first, last, found.found_by[chunk.row], judged))
    return hits, tokens


def _passage(
    chunk: Chunk,
    first: int,
    last: int,
    found_by: FoundBy,
    judged: tuple[float, float, Band] | tuple[None, None, None] = (None, None, None),
) -> FoundPassage:
    """Characters ``first`` to ``last`` of a chunk as a hit."""
    score, percentile, band = judged
    return FoundPassage(
        score=score,
        percentile=percentile,
        band=band,
        id=chunk.id,
        snippet=CONTROL.sub(" ", chunk.text[first:last]),
        span=CharacterRange(start=chunk.start + first, end=chunk.start + last),
        found_by=found_by,
        metadata={**chunk.metadata, **({"heading": chunk.heading} if chunk.heading else {})},
        before="",
        after="",
    )


def _with_neighbours(hits: Sequence[FoundPassage], chunks: Sequence[Chunk], source: Collection) -> list[FoundPassage]:
    """With what stands around each passage: the rest of its chunk, else of the parts beside it."""
    beside = {(part.document, part.part): part.text for part in source.neighbours([chunk.row for chunk in chunks])}
    found = []
    for hit, chunk in zip(hits, chunks, strict=True):
        before = beside.get((chunk.document, chunk.part - 1), "") + "\n" + chunk.text[: hit.span.start - chunk.start]
        after = chunk.text[hit.span.end - chunk.start :] + "\n" + beside.get((chunk.document, chunk.part + 1), "")
        around = {"before": snippet(before[-MAX_PASSAGE:], MAX_PASSAGE), "after": snippet(after, MAX_PASSAGE)}
        found.append(hit.model_copy(update=around))
    return found
