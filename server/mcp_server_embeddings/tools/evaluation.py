"""Measure retrieval quality with queries whose relevant documents, or items of a collection, were judged by people.

Every figure comes from the search of the tool (``ranked``), on a collection of the set's documents or an existing one.
"""

import random
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import get_args

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import Entry, Relevance, RetrievalSet
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.collection_reindex import ReportProgress, no_progress
from mcp_server_embeddings.tools.evaluation_results import BandShare, Evaluation, ModeFigures, SetFigures
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument, document_batches
from mcp_server_embeddings.tools.items import Selection
from mcp_server_embeddings.tools.results import QueryHits
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.tools.search import ranked
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.calibration import Band
from mcp_server_embeddings.vectors.metrics import ndcg, recall, reciprocal_rank

MODES: tuple[SearchMode, ...] = get_args(SearchMode)
CUTOFF = 10
"""Cutoff rank of the metrics."""

RARE_WORD_CUTOFF = 5
"""Cutoff rank for rare words: a document must be among as many hits as the tool shows by default."""

_QUERIES_PER_REPORT = 100
"""Queries between two progress reports."""

_MAX_RARE_WORDS = 100
"""Maximum number of rare words to search for."""

FOREIGN = 20
"""Maximum number of queries from each other set."""

_WORD = re.compile(r"\w{4,}")


@dataclass(frozen=True, slots=True)
class Sample:
    """A random sample of the queries of a set.

    Attributes:
        data: The set.
        queries: Ids of the sampled queries, which all have a relevant document.
        rare: Words that occur in only one document, with the id of that document.
    """

    data: RetrievalSet
    queries: list[str]
    rare: dict[str, str]

    @classmethod
    def draw(cls, data: RetrievalSet, limit: int | None, seed: int) -> "Sample":
        """Draw at most ``limit`` queries, or all for None, and the rare words."""
        rare = _rare_words(data.documents)
        rng = random.Random(seed)  # noqa: S311 - not for secrets
        sampled_queries = drawn_queries(data, limit, rng)
        sampled_words = rng.sample(sorted(rare), min(_MAX_RARE_WORDS, len(rare)))
        return cls(data, sampled_queries, {word: rare[word] for word in sampled_words})

    def texts(self) -> list[str]:
        """Return the texts of the sampled queries."""
        return [self.data.queries[key] for key in self.queries]


def drawn_queries(data: RetrievalSet, limit: int | None, rng: random.Random) -> list[str]:
    """Draw the ids of at most ``limit`` judged queries, or all for None."""
    judged = list(data.relevance)
    return judged if limit is None else rng.sample(judged, min(limit, len(judged)))


def evaluate(
    embedder: Embedder,
    store: CollectionStore,
    sets: Sequence[RetrievalSet],
    *,
    queries: int | None = None,
    seed: int = 0,
    report: ReportProgress = no_progress,
) -> Evaluation:
    """Index each set, and search it in every mode for its own queries and a sample of the other sets' queries.

    Args:
        embedder: The engine.
        store: Receives one collection per set, named by its position.
        sets: One or more sets.
        queries: Maximum number of queries per set; None for all.
        seed: Random seed for the sample of queries and words.
        report: Called with the number of searches done and their total.

    Raises:
        OperatorError: The model or the store cannot be used.
        CallCancelledError: The caller cancelled.
    """
    samples = [Sample.draw(data, queries, seed) for data in sets]
    own = sum(len(sample.queries) + len(sample.rare) for sample in samples)
    foreign = (len(sets) - 1) * sum(min(len(sample.queries), FOREIGN) for sample in samples)
    searcher = _Searcher(embedder, store, report, (own + foreign) * len(MODES))
    figures = []
    for at, sample in enumerate(samples):
        name, documents = f"set-{at}", len(sample.data.documents)
        passages = index(embedder, store, name, sample.data.documents)
        others = [text for other in samples if other is not sample for text in other.texts()[:FOREIGN]]
        figures.append(searcher.measure(name, (documents, passages), sample, others))
    return Evaluation(model=embedder.identity().short, seed=seed, sets=figures)


def evaluate_collection(
    embedder: Embedder,
    store: CollectionStore,
    collection: str,
    golden: RetrievalSet,
    *,
    queries: int | None = None,
    seed: int = 0,
    report: ReportProgress = no_progress,
) -> Evaluation:
    """Search an existing collection for golden queries in every mode.

    Args:
        embedder: The engine.
        store: The store with the collection.
        collection: Name of the collection.
        golden: Queries and the ids of the items that answer them.
        queries: Maximum number of queries; None for all.
        seed: Random seed for the sample of queries.
        report: Called with the number of searches done and their total.

    Raises:
        InputError: An id is not in the collection.
        CollectionError: There is no such collection, or it has vectors of another model.
        OperatorError: The model or the store cannot be used.
        CallCancelledError: The caller cancelled.
    """
    record = store.record(collection)
    sample = Sample.draw(known_ids(embedder, store, collection, golden), queries, seed)
    searcher = _Searcher(embedder, store, report, len(sample.queries) * len(MODES))
    figures = searcher.measure(collection, (record.documents, record.chunks), sample, ())
    return Evaluation(model=embedder.identity().short, seed=seed, sets=[figures])


def known_ids(embedder: Embedder, store: CollectionStore, collection: str, golden: RetrievalSet) -> RetrievalSet:
    """Return golden queries with item ids as searches return them; an absolute path becomes a relative one.

    Raises:
        InputError: An id is not in the collection.
    """
    items = select_items(embedder, Sources(store, Reader(())), None, Selection(collection), needs_model=False)
    known = {str(key) for key in items.ids}
    relevance: Relevance = {}
    for query, judged in golden.relevance.items():
        for key, grade in judged.items():
            names = [name for name in (key, *items.possible_ids(key)) if name in known]
            if not names:
                raise InputError(
                    f"{golden.name} names the item {key!r}, which is not in the collection {collection!r}; "
                    f"{items.nearest_id(key)}"
                )
            relevance.setdefault(query, {})[names[0]] = grade
    return replace(golden, relevance=relevance)


def index(embedder: Embedder, store: CollectionStore, name: str, documents: Mapping[str, Entry]) -> int:
    """Add the documents of a set to a collection, as the tool does, and return the number of passages.

    A title becomes the heading of every passage, as in a Markdown file.
    """
    identity = embedder.identity()
    target = store.open_or_create(name, identity.digest, identity.short, identity.dimensions)
    batches = document_batches([_source_document(key, entry) for key, entry in documents.items()])
    deque(Ingester(embedder, target).put_all(batches), maxlen=0)
    return target.current().chunks


class _Searcher:
    """Runs searches and reports their number."""

    def __init__(self, embedder: Embedder, store: CollectionStore, report: ReportProgress, total: int) -> None:
        self._embedder = embedder
        self._store = store
        self._sources = Sources(store, Reader(()))
        self._report = report
        self._done, self._total = 0, total

    def measure(self, collection: str, size: tuple[int, int], sample: Sample, foreign: Sequence[str]) -> SetFigures:
        """Measure every mode on a collection; ``size`` is its number of documents and of passages."""
        return SetFigures(
            name=sample.data.name,
            documents=size[0],
            empty=sample.data.empty,
            passages=size[1],
            queries=len(sample.queries),
            judged=len(sample.data.relevance),
            modes={mode: self._measure_mode(collection, mode, sample, foreign) for mode in MODES},
        )

    def _measure_mode(self, collection: str, mode: SearchMode, sample: Sample, foreign: Sequence[str]) -> ModeFigures:
        results = self._search(collection, mode, sample.texts())
        rare_results = self._search(collection, mode, list(sample.rare), RARE_WORD_CUTOFF)
        rare_words_found = [
            document in [hit.id for hit in result.hits]
            for result, document in zip(rare_results, sample.rare.values(), strict=True)
        ]
        foreign_results = self._search(collection, mode, foreign, 1)
        rankings = [_ranking(hits, query) for hits, query in zip(results, sample.queries, strict=True)]
        relevance = [sample.data.relevance[query] for query in sample.queries]
        figures = [
            tuple(metric(ranking, relevant, CUTOFF) for metric in (ndcg, recall, reciprocal_rank))
            for ranking, relevant in zip(rankings, relevance, strict=True)
        ]
        means = [mean(values) for values in zip(*figures, strict=True)]
        return ModeFigures(
            ndcg_at_10=means[0],
            recall_at_10=means[1],
            mrr_at_10=means[2],
            no_match=mean(result.no_match for result in results),
            foreign_no_match=mean(result.no_match for result in foreign_results) if foreign_results else None,
            rare_words=mean(rare_words_found) if rare_words_found else None,
            bands=_bands(results, relevance),
            by_query=dict(zip(sample.queries, figures, strict=True)),
        )

    def _search(
        self, collection: str, mode: SearchMode, queries: Sequence[str], top: int = CUTOFF + 1
    ) -> list[QueryHits]:
        """Search for each query. By default one extra hit is fetched, because the query itself may be a document."""
        found: list[QueryHits] = []
        for start in range(0, len(queries), _QUERIES_PER_REPORT):
            self._embedder.call.raise_if_cancelled()
            batch = queries[start : start + _QUERIES_PER_REPORT]
            found += ranked(self._embedder, self._sources, collection, batch, mode, top)
            self._done += len(batch)
            self._report(self._done, self._total)
        return found


def _source_document(key: str, entry: Entry) -> SourceDocument:
    text = entry.whole
    return SourceDocument(key, text, (Section(0, len(text), " ".join(entry.title.split())),), None)


def _ranking(found: QueryHits, query: str) -> list[str]:
    """Return the ids of the hits. As in BEIR, a document with the id of the query is ignored."""
    return [str(hit.id) for hit in found.hits if hit.id != query][:CUTOFF]


def _rare_words(documents: Mapping[str, Entry]) -> dict[str, str]:
    """Return the words of four or more characters that occur in only one document, with the id of that document."""
    words = {key: set(_WORD.findall(entry.whole.lower())) for key, entry in documents.items()}
    counts = Counter(word for found in words.values() for word in found)
    return {word: key for key, found in words.items() for word in found if counts[word] == 1}


def _bands(found: Sequence[QueryHits], relevant: Sequence[Mapping[str, int]]) -> dict[Band, BandShare]:
    hits, relevant_hits = Counter[Band](), Counter[Band]()
    for result, judged in zip(found, relevant, strict=True):
        for hit in result.hits[:CUTOFF]:
            if hit.band is not None:
                hits[hit.band] += 1
                relevant_hits[hit.band] += hit.id in judged
    return {band: BandShare(hits=hits[band], relevant=relevant_hits[band]) for band in get_args(Band) if hits[band]}
