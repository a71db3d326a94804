"""The passages that answer the queries of a search."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.store import WordIndex
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import StoredDocument, StoredFile, passage_text
from mcp_server_embeddings.tools.answer_budget import json_length
from mcp_server_embeddings.tools.coercion import Id
from mcp_server_embeddings.tools.excerpts import Run, best_sentences, by_meaning, by_words, only_headings
from mcp_server_embeddings.tools.explaining import explanations
from mcp_server_embeddings.tools.items import Items
from mcp_server_embeddings.tools.locating import heading_of
from mcp_server_embeddings.tools.reranking import Reranking
from mcp_server_embeddings.tools.results import Hit, MetadataValue
from mcp_server_embeddings.tools.retrieval import Match, Query, Retrieved, SearchMode, Trace, retrieve, retrieve_sent
from mcp_server_embeddings.vectors.scores import Vectors

SENTENCE_CHARACTERS = (60, 320)
"""Minimum and maximum number of characters shown of a hit: as many as fit for all hits."""

_METADATA_CHARACTERS = 400
"""Maximum number of characters of a hit's metadata as JSON; fields that do not fit are left out."""

_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Passage:
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
        """The characters of the passage."""
        return self.whole[slice(*self.run)]


@dataclass(frozen=True, slots=True)
class QueryPassages:
    """The passages found for one query."""

    query: Query
    passages: list[Passage]
    match: Match


class Finder:
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

    def find(self, queries: Sequence[str]) -> list[QueryPassages]:
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

    def explained(self, found: QueryPassages) -> QueryPassages:
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

    def sentences(self, found: QueryPassages, limit: int) -> list[Run]:
        """Return the best sentences of each passage, as a range of its characters."""
        vector = found.query.vector
        score = by_words(found.query.text) if vector is None else by_meaning(self._embedder, vector)
        texts = [passage.text for passage in found.passages]
        return best_sentences(score, texts, [passage.heading for passage in found.passages], limit)

    def _find_sent(self, query: Query) -> QueryPassages:
        found, match = retrieve_sent(self._words, self._vectors, self._items.sent, query)
        texts = self._items.texts([hit.position for hit in found])
        passages = [
            Passage(
                self._bare_hit(self._items.ids[hit.position], hit.score, hit.trace), hit.trace, "", text, (0, len(text))
            )
            for hit, text in zip(found, texts, strict=True)
        ]
        return QueryPassages(query, passages, match)

    def _retrieve(
        self, view: Collection, query: Query
    ) -> tuple[Retrieved, list[str], dict[str, StoredDocument], dict[str, StoredFile]]:
        """Return hits with the texts and the stored state of their documents, and the files if they may be outdated."""
        where = self._items.selection.where if self._items.selection else None
        found = retrieve(view, query, where=where, documents=self._documents)
        ids = [hit.chunk.document for hit in found.hits]
        return found, view.texts_of(ids), view.stored(ids), {} if self._items.fresh else view.files()

    def _find_stored(self, collection: Collection, query: Query) -> QueryPassages:
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
                stop = min(len(whole), stop + 2 * SENTENCE_CHARACTERS[1])  # the text under the heading
            passages.append(Passage(bare, hit.trace, chunk.document, whole, (chunk.start, stop), chunk.heading, of_row))
        return QueryPassages(query, passages, found.match)

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
def open_finder(embedder: Embedder, items: Items, mode: SearchMode, top: int, diversity: float) -> Iterator[Finder]:
    """Yield a finder; texts of the call are indexed by words until the block ends, if the mode needs it."""
    indexed = items.collection is None and mode != "semantic"
    with WordIndex(items.sent) if indexed else nullcontext() as words:
        yield Finder(embedder, items, mode, top, diversity, words)
