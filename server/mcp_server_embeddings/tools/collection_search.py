"""Finding passages in a collection."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.collection_results import CollectionSearchResult, FoundPassage, SearchMode
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import MAX_TOP, CollectionName, Range, parse_if_string, validated_as
from mcp_server_embeddings.tools.results import CharacterRange, Usage
from mcp_server_embeddings.tools.retrieval import RetrievedChunk, best_passages, retrieve
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE, passages
from mcp_server_embeddings.tools.texts import CONTROL, check_size, checked_query, snippet
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.scores import Vectors

_DEPTH = 100
"""Hits of each kind that are put together, at least."""

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
    store: CollectionStore,
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
    usage, tokens, vectors = Usage.counted(), 0, None
    if mode == "keyword":
        source = store.open(collection)
        model = source.record.model
    else:
        identity = embedder.identity()
        source = store.open_for(collection, identity.digest, identity.short)
        asked = embedder.embed([query], role="query")
        model, usage, vectors = identity.short, Usage.of(asked), asked.vectors
    wanted = top or _DEFAULT_TOP
    words = None if mode == "semantic" else query
    with source.reading() as view:
        found = retrieve(view, vectors, words, top=wanted, depth=max(_DEPTH, wanted), where=where)
        neighbouring = view.neighbours([hit.chunk.key for hit in found.hits]) if neighbours else []
    if vectors is None:
        calibration, no_match = None, not found.hits
        places = _places_of_words([hit.chunk.text for hit in found.hits], query)
    else:
        calibration = embedder.calibration("retrieval")
        no_match = not (found.words_match or calibration.above_weak(found.best_cosine))
        places, tokens = _places_of_meaning(embedder, [hit.chunk.text for hit in found.hits], vectors, calibration)
    beside = {(part.document, part.part): part.text for part in neighbouring} if neighbours else None
    hits = [_passage(hit, *place, calibration, beside) for hit, place in zip(found.hits, places, strict=True)]
    listed = AnswerBudget(top).take([Entry(hit.model_dump_json(), "") for hit in hits])
    return CollectionSearchResult(
        model=model,
        usage=usage.model_copy(update={"tokens": usage.tokens + tokens}),
        more=max(0, found.total - listed),
        collection=collection,
        mode=mode,
        hits=hits[:listed],
        no_match=no_match,
    )


def _places_of_words(texts: Sequence[str], query: str) -> list[tuple[int, int]]:
    """In each text the first sentence with most of the query's words; a short text is its own."""
    words = frozenset(_WORD.findall(query.casefold()))

    def place(text: str) -> tuple[int, int]:
        if len(text) <= MAX_PASSAGE:
            return 0, len(text)
        return max(passages(text), key=lambda found: sum(word in text[slice(*found)].casefold() for word in words))

    return [place(text) for text in texts]


def _places_of_meaning(
    embedder: Embedder, texts: Sequence[str], query: Vectors, calibration: Calibration
) -> tuple[list[tuple[int, int]], int]:
    """In each text the sentence nearest the query, and the tokens read for those; a short text is its own."""
    spans, tokens = best_passages(embedder, query, [text for text in texts if len(text) > MAX_PASSAGE], calibration)
    best = ((span.start, span.end) for span in spans)
    return [(0, len(text)) if len(text) <= MAX_PASSAGE else next(best) for text in texts], tokens


def _passage(
    hit: RetrievedChunk,
    first: int,
    last: int,
    calibration: Calibration | None,
    beside: Mapping[tuple[str, int], str] | None,
) -> FoundPassage:
    """Characters ``first`` to ``last`` of a chunk as a hit; with the texts beside it, what stands around them."""
    chunk, score, percentile, band, before, after = hit.chunk, None, None, None, "", ""
    if calibration is not None:
        score, percentile, band = calibration.interpret(hit.cosine)
    if beside is not None:
        before = beside.get((chunk.document, chunk.part - 1), "") + "\n" + chunk.text[:first]
        after = chunk.text[last:] + "\n" + beside.get((chunk.document, chunk.part + 1), "")
    return FoundPassage(
        score=score,
        percentile=percentile,
        band=band,
        id=chunk.id,
        snippet=CONTROL.sub(" ", chunk.text[first:last]),
        span=CharacterRange(start=chunk.start + first, end=chunk.start + last),
        found_by=hit.found_by,
        metadata={**chunk.metadata, **({"heading": chunk.heading} if chunk.heading else {})},
        before=snippet(before[-MAX_PASSAGE:], MAX_PASSAGE),
        after=snippet(after, MAX_PASSAGE),
    )
