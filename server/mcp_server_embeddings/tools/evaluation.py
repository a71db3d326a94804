"""Measure how well searches do: queries with documents, or items of a collection, that people judged relevant.

Every figure comes from the same search as the tool's (``ranked``), on a collection of the set's documents or one that
is there.
"""

import random
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import get_args

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import Entry, Relevance, RetrievalSet
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.evaluation_results import BandShare, Evaluation, ModeFigures, SetFigures
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument, document_batches
from mcp_server_embeddings.tools.items import Selection, select_items
from mcp_server_embeddings.tools.results import QueryHits
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.tools.search import ranked
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.calibration import Band
from mcp_server_embeddings.vectors.metrics import ndcg, recall, reciprocal_rank

MODES: tuple[SearchMode, ...] = get_args(SearchMode)
CUT = 10
"""Hits that count."""

FIRST = 5
"""Hits among which a document must be to be found by a word that only it has: as many as the tool shows by default."""

_AT_ONCE = 100
"""Queries between two reports of progress."""

_RARE_WORDS = 100
"""Words that are looked for at most."""

FOREIGN = 20
"""Queries of each other set at most."""

_WORD = re.compile(r"\w{4,}")

Report = Callable[[int, int], None]
"""Takes how many searches are done, of how many."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The queries of a set that are asked, drawn by a seed.

    Attributes:
        data: The set.
        queries: Ids of queries with a relevant document.
        rare: Words that one document only has, with its id.
    """

    data: RetrievalSet
    queries: list[str]
    rare: dict[str, str]

    @classmethod
    def draw(cls, data: RetrievalSet, most: int | None, seed: int) -> "Sample":
        """Choose at most so many queries, all for None."""
        rare = _rare_words(data.documents)
        draw = random.Random(seed)  # noqa: S311 - not for secrets
        chosen = drawn_queries(data, most, draw)
        words = draw.sample(sorted(rare), min(_RARE_WORDS, len(rare)))
        return cls(data, chosen, {word: rare[word] for word in words})

    def texts(self) -> list[str]:
        """Return the queries."""
        return [self.data.queries[key] for key in self.queries]


def drawn_queries(data: RetrievalSet, most: int | None, draw: random.Random) -> list[str]:
    """Return the ids of the queries that are asked."""
    judged = list(data.relevance)
    return judged if most is None else draw.sample(judged, min(most, len(judged)))


def evaluate(
    embedder: Embedder,
    store: CollectionStore,
    sets: Sequence[RetrievalSet],
    *,
    queries: int | None = None,
    seed: int = 0,
    report: Report = lambda done, total: None,
) -> Evaluation:
    """Index each set and ask its queries, and a share of the other sets', in every mode.

    Args:
        embedder: The engine.
        store: Takes a collection for each set, by its position.
        sets: One or more.
        queries: At most so many of each set; None for all.
        seed: Of the choice of queries and words.
        report: Told how many searches are done.

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
    report: Report = lambda done, total: None,
) -> Evaluation:
    """Ask golden queries of a collection as it is, in every mode.

    Args:
        embedder: The engine.
        store: Has the collection.
        collection: Its name.
        golden: Queries and the ids of the items that answer them.
        queries: As in ``evaluate``, like the next two.
        seed: Of the choice of queries.
        report: Told how many searches are done.

    Raises:
        InputError: An id is none of the collection's.
        CollectionError: There is no such collection, or it is another model's.
        OperatorError: The model or the store cannot be used.
        CallCancelledError: The caller cancelled.
    """
    record = store.record(collection)
    sample = Sample.draw(known_ids(embedder, store, collection, golden), queries, seed)
    searcher = _Searcher(embedder, store, report, len(sample.queries) * len(MODES))
    figures = searcher.measure(collection, (record.documents, record.chunks), sample, ())
    return Evaluation(model=embedder.identity().short, seed=seed, sets=[figures])


def known_ids(embedder: Embedder, store: CollectionStore, collection: str, golden: RetrievalSet) -> RetrievalSet:
    """Return golden queries with the ids as searches give them; a path may be whole.

    Raises:
        InputError: An id is none of the collection's.
    """
    items = select_items(embedder, Sources(store, Reader(())), None, Selection(collection), needs_model=False)
    known = {str(key) for key in items.ids}
    relevance: Relevance = {}
    for query, judged in golden.relevance.items():
        for key, grade in judged.items():
            names = [name for name in (key, *items.names_of(key)) if name in known]
            if not names:
                raise InputError(
                    f"{golden.name} names the item {key!r}, which is not in the collection {collection!r}; "
                    f"{items.nearest_id(key)}"
                )
            relevance.setdefault(query, {})[names[0]] = grade
    return replace(golden, relevance=relevance)


def index(embedder: Embedder, store: CollectionStore, name: str, documents: Mapping[str, Entry]) -> int:
    """Put the documents of a set into a collection, as the tool does; the number of passages.

    A title is the heading of every passage, as in a file of Markdown.
    """
    identity = embedder.identity()
    target = store.open_or_create(name, identity.digest, identity.short, identity.dimensions)
    batches = document_batches([_source(key, entry) for key, entry in documents.items()])
    deque(Ingester(embedder, target).put_all(batches), maxlen=0)
    return target.current().chunks


class _Searcher:
    """Asks queries and counts them."""

    def __init__(self, embedder: Embedder, store: CollectionStore, report: Report, total: int) -> None:
        self._embedder = embedder
        self._store = store
        self._sources = Sources(store, Reader(()))
        self._report = report
        self._done, self._total = 0, total

    def measure(self, collection: str, size: tuple[int, int], sample: Sample, foreign: Sequence[str]) -> SetFigures:
        """Measure every mode in a collection of so many documents and passages."""
        return SetFigures(
            name=sample.data.name,
            documents=size[0],
            empty=sample.data.empty,
            passages=size[1],
            queries=len(sample.queries),
            judged=len(sample.data.relevance),
            modes={mode: self._mode(collection, mode, sample, foreign) for mode in MODES},
        )

    def _mode(self, collection: str, mode: SearchMode, sample: Sample, foreign: Sequence[str]) -> ModeFigures:
        found = self._ask(collection, mode, sample.texts())
        by_word = [
            document in [hit.id for hit in one.hits]
            for one, document in zip(
                self._ask(collection, mode, list(sample.rare), FIRST), sample.rare.values(), strict=True
            )
        ]
        elsewhere = self._ask(collection, mode, foreign, 1)
        rankings = [_ranking(hits, query) for hits, query in zip(found, sample.queries, strict=True)]
        relevance = [sample.data.relevance[query] for query in sample.queries]
        figures = [
            tuple(metric(ranking, relevant, CUT) for metric in (ndcg, recall, reciprocal_rank))
            for ranking, relevant in zip(rankings, relevance, strict=True)
        ]
        means = [mean(values) for values in zip(*figures, strict=True)]
        return ModeFigures(
            ndcg_at_10=means[0],
            recall_at_10=means[1],
            mrr_at_10=means[2],
            no_match=mean(one.no_match for one in found),
            foreign_no_match=mean(one.no_match for one in elsewhere) if elsewhere else None,
            rare_words=mean(by_word) if by_word else None,
            bands=_bands(found, relevance),
            by_query=dict(zip(sample.queries, figures, strict=True)),
        )

    def _ask(self, collection: str, mode: SearchMode, queries: Sequence[str], top: int = CUT + 1) -> list[QueryHits]:
        """Return what each query finds; one more than counts, since a document may be the query itself."""
        found: list[QueryHits] = []
        for start in range(0, len(queries), _AT_ONCE):
            self._embedder.call.raise_if_cancelled()
            part = queries[start : start + _AT_ONCE]
            found += ranked(self._embedder, self._sources, collection, part, mode, top)
            self._done += len(part)
            self._report(self._done, self._total)
        return found


def _source(key: str, entry: Entry) -> SourceDocument:
    text = entry.whole
    return SourceDocument(key, text, (Section(0, len(text), " ".join(entry.title.split())),), None)


def _ranking(found: QueryHits, query: str) -> list[str]:
    """Return the ids of the hits; as in BEIR, a document with the query's own id does not count."""
    return [str(hit.id) for hit in found.hits if hit.id != query][:CUT]


def _rare_words(documents: Mapping[str, Entry]) -> dict[str, str]:
    """Return the words of four letters or more that one document only has, with that document."""
    words = {key: set(_WORD.findall(entry.whole.lower())) for key, entry in documents.items()}
    counts = Counter(word for found in words.values() for word in found)
    return {word: key for key, found in words.items() for word in found if counts[word] == 1}


def _bands(found: Sequence[QueryHits], relevant: Sequence[Mapping[str, int]]) -> dict[Band, BandShare]:
    hits, right = Counter[Band](), Counter[Band]()
    for one, of_query in zip(found, relevant, strict=True):
        for hit in one.hits[:CUT]:
            if hit.band is not None:
                hits[hit.band] += 1
                right[hit.band] += hit.id in of_query
    return {band: BandShare(hits=hits[band], relevant=right[band]) for band in get_args(Band) if hits[band]}
