"""Find items about a query."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, json_length
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.excerpts import Run
from mcp_server_embeddings.tools.items import Selection
from mcp_server_embeddings.tools.locating import lines_or_page
from mcp_server_embeddings.tools.parameters import IdField, Ids, Range, Source, Strings, Texts, WhereFilter
from mcp_server_embeddings.tools.passages import SENTENCE_CHARACTERS, QueryPassages, open_finder
from mcp_server_embeddings.tools.results import QueryHits, SearchResult
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.texts import CONTROL, check_size, checked_query

MAX_QUERIES = 20
_MAX_HITS = 100

_ANSWER_CHARACTERS = (8_000, 16_000)
"""Maximum number of characters of the answer to one query, and to several."""

_HIT_CHARACTERS = 200
"""Characters of the answer per requested hit, which raise the maximum if ``top`` is large."""

_LATE_CHARACTERS = 60
"""Characters of a hit that are known only after its text is chosen: lines, escapes."""


@tool(
    title="Search",
    description=(
        "Finds texts about a question or phrase, by meaning and words, in texts, files, folders or collections. Use "
        "it to answer from documents, quote, or pick what to read. Not for sorting into "
        "kinds: use classify. Returns one hit per item, best first: id, score, band, best sentences word for word, "
        "lines or page; no_match: nothing fits. Then read."
    ),
    purpose="find what is about a question",
    core=True,
)
def search(
    embedder: Embedder,
    query: Annotated[str | None, Field(description="phrase or question")] = None,
    texts: Annotated[Texts, Field(description="texts")] = None,
    *,
    queries: Annotated[Strings, Field(description="or up to 20, or a table")] = None,
    source: Source = None,
    id_field: IdField = None,
    ids: Ids = None,
    where: WhereFilter = None,
    mode: Annotated[SearchMode, Field(description="meaning, words, or both")] = "hybrid",
    top: Annotated[int, Range(1, _MAX_HITS), Field(description="hits")] = 5,
    diversity: Annotated[float, Range(0, 1), Field(description="above 0: varied hits")] = 0.0,
    full: Annotated[bool, Field(description="whole passages")] = False,
    explain: Annotated[bool, Field(description="how scored")] = False,
    sources: Sources | None = None,
) -> SearchResult:
    """Find the items about one or several queries by exhaustive search: every vector is compared.

    Args:
        embedder: The engine.
        query: A phrase or question; encoded with the model's prompt for queries if it has one.
        texts: 1 to 2,000 texts, or a map from id to text.
        queries: In place of ``query``: 1 to 20 queries, or the path of a table that contains them.
        source: In place of ``texts``; see ``Sources.open``.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata fits.
        mode: ``semantic`` orders by cosine, ``keyword`` by BM25, ``hybrid`` by both (``fused_scores``). ``keyword`` in
            a collection needs no model, so it also searches collections of other models.
        top: Number of hits for each query, 1 to 100.
        diversity: 0 takes the best items by score; up to 1, items that resemble others already taken rank lower.
        full: Show whole passages.
        explain: Show the numbers behind each hit's score; see ``explanations``.
        sources: Opens the source.

    Returns:
        Hits in the order of ``score``, whose scale depends on ``mode``; judge by ``band``, which is absent for
        ``keyword``. With a reranker, ``score`` is its relevance, 0 to 1, and below 0 for passages that it had no time
        to score; ``keyword``, which needs no model, is not reranked.
        ``text`` is verbatim; a sentence that does not fit ends in ``…``. ``no_match``: see ``Match``; for other
        queries, ``notes`` gives the number of hits that are no nearer than chance.

    Raises:
        InputError: A query is blank, both or neither of ``query`` and ``queries`` were passed, or see ``select_items``.
        OperatorError: The model or the store cannot be used.

    Example:
        >>> search(embedder, "fruit", ["an apple", "a bike"]).hits[0].id
        0
    """
    query_texts = _checked_queries(query, queries, sources)
    items = select_items(
        embedder,
        sources,
        texts,
        Selection(source, id_field, ids, where),
        needs_model=mode != "keyword",
        listed=False,
        patience=None if sources is None else sources.search_patience,
    )
    check_size(items.sent, "".join(query_texts))
    with open_finder(embedder, items, mode, top, diversity) as finder:
        found = finder.find(query_texts)
        if explain:
            found = [finder.explained(one) for one in found]
        items.notes.extend(finder.notes())
        low, high = SENTENCE_CHARACTERS
        characters = max(_ANSWER_CHARACTERS[len(query_texts) > 1], _HIT_CHARACTERS * top * len(query_texts))
        limit = max(low, min(high, _text_budget(found, characters)))
        results = [_query_hits(one, None if full else finder.sentences(one, limit), limit) for one in found]
    fitting = _fitting_hits(results, characters)
    left_out = sum(len(result.hits) for result in results) - sum(len(result.hits) for result in fitting)
    if below := sum(one.match.below for one in found if not one.match.no_match):
        items.notes.append(f"{below:,} of {sum(len(one.passages) for one in found):,} hits are no nearer than chance")
    if sources is not None and (paths := list(filter(sources.is_path, query_texts))):
        items.notes.append(f"{paths[0]!r} is also a path, but was searched as text; pass a table's path as queries")
    if left_out:
        advice = (
            ["fewer queries"] * (len(fitting) > 1) + ["full=false"] * full + ["ids or where, to search among fewer"]
        )
        items.notes.append(f"{left_out:,} hits do not fit; pass {' or '.join(advice)}")
    one = fitting[0]
    return SearchResult(
        model=embedder.identity().short if items.collection is None else items.collection.record.model,
        notes=items.notes,
        folder=items.folder,
        hits=one.hits if query is not None else [],
        no_match=one.no_match if query is not None else False,
        results=[] if query is not None else fitting,
    )


def _checked_queries(query: str | None, queries: Sequence[str] | None, sources: Sources | None) -> list[str]:
    """Return the queries; if ``queries`` names a table, those in its rows.

    Raises:
        InputError: See ``search``.
    """
    if (query is None) == (not queries):
        raise InputError("pass either query or queries" + (", not both" if query is not None else ""))
    if query is not None:
        return [checked_query("query", query)]
    texts, name = queries or [], "queries"
    if len(texts) == 1 and sources is not None and sources.is_table(texts[0]):
        name = texts[0]
        texts = sources.rows(name)[1].texts
    if len(texts) > MAX_QUERIES:
        raise InputError(
            f"{name} has {len(texts)} elements; at most {MAX_QUERIES} in one call: split them over several"
        )
    return [checked_query(name, one) for one in texts]


def ranked(
    embedder: Embedder, sources: Sources, collection: str, queries: Sequence[str], mode: SearchMode, top: int
) -> list[QueryHits]:
    """Search a collection like ``search``, for any number of queries and without the texts of hits."""
    items = select_items(embedder, sources, None, Selection(collection), needs_model=mode != "keyword", listed=False)
    with open_finder(embedder, items, mode, top, 0.0) as finder:
        return [
            QueryHits(query=one.query.text, hits=[passage.hit for passage in one.passages], no_match=one.match.no_match)
            for one in finder.find(queries)
        ]


def _query_hits(found: QueryPassages, runs: Sequence[Run] | None, limit: int) -> QueryHits:
    """Add text and place to hits; ``runs`` are the ranges of the passages to show, None for whole passages."""
    hits = []
    for at, passage in enumerate(found.passages):
        start, end = (0, len(passage.text)) if runs is None else runs[at]
        first, last = passage.run[0] + start, passage.run[0] + end
        place = lines_or_page(passage.document, passage.whole, first, last, passage.heading, row=passage.row)
        text = CONTROL.sub(" ", passage.whole[first:last])
        if runs is not None and len(text) > limit:
            space = text.rfind(" ", limit // 2, limit)
            text = text[: space if space > 0 else limit - 1].rstrip() + "…"
        hits.append(passage.hit.model_copy(update={"text": text, "lines": place.lines, "page": place.page}))
    return QueryHits(query=found.query.text, hits=hits, no_match=found.match.no_match)


def _text_budget(found: Sequence[QueryPassages], characters: int) -> int:
    """Return how many characters of text each hit may have, so that all hits fit."""
    hits = [passage.hit for one in found for passage in one.passages]
    budget = characters - 600 - sum(json_length(one.query.text) + 40 for one in found)
    return (budget - sum(map(json_length, hits))) // max(len(hits), 1) - _LATE_CHARACTERS


def _fitting_hits(results: Sequence[QueryHits], characters: int) -> list[QueryHits]:
    """Return the hits of each query that fit into the budget, which is divided among the queries."""
    budget = AnswerBudget(characters)
    share = 1 / len(results)
    return [
        result.model_copy(update={"hits": result.hits[: max(1, budget.take(result.hits, share=share))]})
        for result in results
    ]
