"""Find items about a query."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store import WordIndex
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import StoredDocument, StoredFile, passage_text
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, json_length
from mcp_server_embeddings.tools.coercion import Id
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.excerpts import Run, best_sentences, by_meaning, by_words, only_headings
from mcp_server_embeddings.tools.explaining import explanations
from mcp_server_embeddings.tools.items import Items, Selection, select_items
from mcp_server_embeddings.tools.locating import heading_of, lines_or_page
from mcp_server_embeddings.tools.parameters import IdField, Ids, Range, Source, Strings, Texts, WhereFilter
from mcp_server_embeddings.tools.reranking import Reranking
from mcp_server_embeddings.tools.results import Hit, MetadataValue, QueryHits, SearchResult
from mcp_server_embeddings.tools.retrieval import Match, Query, Retrieved, SearchMode, Trace, retrieve, retrieve_sent
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.texts import CONTROL, check_size, checked_query
from mcp_server_embeddings.vectors.scores import Vectors

MAX_QUERIES = 20
_MAX_HITS = 100

_SENTENCE_CHARACTERS = (60, 320)
"""Minimum and maximum number of characters shown of a hit: as many as fit for all hits."""

_ANSWER_CHARACTERS = (8_000, 16_000)
"""Maximum number of characters of the answer to one query, and to several."""

_HIT_CHARACTERS = 200
"""Characters of the answer per requested hit, which raise the maximum if ``top`` is large."""

_METADATA_CHARACTERS = 400
"""Maximum number of characters of a hit's metadata as JSON; fields that do not fit are left out."""

_LATE_CHARACTERS = 60
"""Characters of a hit that are known only after its text is chosen: lines, escapes."""

_DECIMALS = 4


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
    with _open_finder(embedder, items, mode, top, diversity) as finder:
        found = finder.find(query_texts)
        if explain:
            found = [finder.explained(one) for one in found]
        items.notes.extend(finder.notes())
        low, high = _SENTENCE_CHARACTERS
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
    with _open_finder(embedder, items, mode, top, 0.0) as finder:
        return [
            QueryHits(query=one.query.text, hits=[passage.hit for passage in one.passages], no_match=one.match.no_match)
            for one in finder.find(queries)
        ]


@dataclass(frozen=True, slots=True)
class _Passage:
    """A hit with the passage that its text is taken from.

    Attributes:
        hit: The hit without its text and place.
        trace: The numbers behind its score.
        document: Id of the item in its collection, which tells the format.
        whole: The whole text of the item.
        run: The characters of the passage.
        heading: Heading path of the passage.
        row: Whether the item is a table's row.
    """

    hit: Hit
    trace: Trace
    document: str
    whole: str
    run: Run
    heading: str = ""
    row: bool = False

    @property
    def text(self) -> str:
        return self.whole[slice(*self.run)]


@dataclass(frozen=True, slots=True)
class _QueryPassages:
    """The passages found for one query."""

    query: Query
    passages: list[_Passage]
    match: Match


class _Finder:
    """Finds the hits of several queries in the same items."""

    def __init__(
        self,
        embedder: Embedder,
        items: Items,
        mode: SearchMode,
        top: int,
        diversity: float,
        words: WordIndex | None,
    ) -> None:
        self._embedder = embedder
        self._items = items
        self._mode: SearchMode = mode
        self._top = top
        self._diversity = diversity
        self._words = words
        self._reranking = Reranking(embedder) if mode != "keyword" and embedder.reranks() else None
        self._calibration = None if mode == "keyword" else embedder.calibration("retrieval")
        sent = items.collection is None and mode != "keyword"
        self._vectors = items.embed(embedder, "document") if sent else None
        selected = items.selection is not None and items.selection.ids is not None
        self._documents = {f"{items.folder}{key}" for key in items.ids} if selected else None

    def find(self, queries: Sequence[str]) -> list[_QueryPassages]:
        """Return the hits of each query."""
        vectors: list[Vectors | None] = [None] * len(queries)
        if self._mode != "keyword":
            embedded = self._embedder.embed(queries, role="query").vectors
            vectors = [embedded[at : at + 1] for at in range(len(queries))]
        prepared = [
            Query(query, self._mode, self._top, vector, self._calibration, self._diversity, self._reranking)
            for query, vector in zip(queries, vectors, strict=True)
        ]
        collection = self._items.collection
        if collection is None:
            return [self._find_sent(query) for query in prepared]
        return [self._find_stored(collection, query) for query in prepared]

    def notes(self) -> list[str]:
        """Return notes on reranking for the answer."""
        return [] if self._reranking is None else self._reranking.notes()

    def explained(self, found: _QueryPassages) -> _QueryPassages:
        """Add the explanation of its score to each hit of a query."""
        passages = found.passages
        notes = explanations(
            found.query.text,
            found.query.mode,
            [passage_text(passage.heading, passage.text) for passage in passages],
            [passage.trace for passage in passages],
            self._calibration,
        )
        hits = [
            replace(passage, hit=passage.hit.model_copy(update={"explain": note}))
            for passage, note in zip(passages, notes, strict=True)
        ]
        return replace(found, passages=hits)

    def sentences(self, found: _QueryPassages, limit: int) -> list[Run]:
        """Return the best sentences of each passage, as a range of its characters."""
        vector = found.query.vector
        score = by_words(found.query.text) if vector is None else by_meaning(self._embedder, vector)
        texts = [passage.text for passage in found.passages]
        return best_sentences(score, texts, [passage.heading for passage in found.passages], limit)

    def _find_sent(self, query: Query) -> _QueryPassages:
        found, match = retrieve_sent(self._words, self._vectors, self._items.sent, query)
        texts = self._items.texts([hit.position for hit in found])
        passages = [
            _Passage(
                self._bare_hit(self._items.ids[hit.position], hit.score, hit.trace), hit.trace, "", text, (0, len(text))
            )
            for hit, text in zip(found, texts, strict=True)
        ]
        return _QueryPassages(query, passages, match)

    def _retrieve(
        self, view: Collection, query: Query
    ) -> tuple[Retrieved, list[str], dict[str, StoredDocument], dict[str, StoredFile]]:
        """Return hits with the texts and the stored state of their documents, and the files if they may be outdated."""
        where = self._items.selection.where if self._items.selection else None
        found = retrieve(view, query, where=where, documents=self._documents)
        ids = [hit.chunk.document for hit in found.hits]
        return found, view.texts_of(ids), view.stored(ids), {} if self._items.fresh else view.files()

    def _find_stored(self, collection: Collection, query: Query) -> _QueryPassages:
        found, wholes, stored, files = collection.read(lambda view: self._retrieve(view, query))
        passages = []
        for hit, whole in zip(found.hits, wholes, strict=True):
            chunk = hit.chunk
            of_row = stored[chunk.document].file not in ("", chunk.document)
            bare = self._bare_hit(self._items.id_of(chunk.document), hit.score, hit.trace).model_copy(
                update={
                    "heading": heading_of(chunk.heading),
                    "indexed": _indexed_at(files.get(stored[chunk.document].file)),
                    "metadata": {} if of_row and self._items.path_source else _fitting_metadata(chunk.metadata),
                }
            )
            stop = chunk.stop
            if only_headings(chunk.text, chunk.heading):
                stop = min(len(whole), stop + 2 * _SENTENCE_CHARACTERS[1])  # the text under the heading
            passages.append(
                _Passage(bare, hit.trace, chunk.document, whole, (chunk.start, stop), chunk.heading, of_row)
            )
        return _QueryPassages(query, passages, found.match)

    def _bare_hit(self, key: Id, score: float, trace: Trace) -> Hit:
        band = None if self._calibration is None else self._calibration.band(trace.cosine)
        return Hit(id=key, score=round(score, _DECIMALS), band=band, text="")


def _indexed_at(file: StoredFile | None) -> str:
    """Return when a file was indexed, to the minute; empty if unknown."""
    if file is None or not file.indexed:
        return ""
    return datetime.fromtimestamp(file.indexed, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _fitting_metadata(metadata: Mapping[str, MetadataValue]) -> dict[str, MetadataValue]:
    """Return the metadata fields that fit into an answer, preferring the first ones."""
    kept: dict[str, MetadataValue] = {}
    for name, value in metadata.items():
        if json_length({**kept, name: value}) <= _METADATA_CHARACTERS:
            kept[name] = value
    return kept


@contextmanager
def _open_finder(embedder: Embedder, items: Items, mode: SearchMode, top: int, diversity: float) -> Iterator[_Finder]:
    indexed = items.collection is None and mode != "semantic"
    with WordIndex(items.sent) if indexed else nullcontext() as words:
        yield _Finder(embedder, items, mode, top, diversity, words)


def _query_hits(found: _QueryPassages, runs: Sequence[Run] | None, limit: int) -> QueryHits:
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


def _text_budget(found: Sequence[_QueryPassages], characters: int) -> int:
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
