"""Which texts are about a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder, Embeddings
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Nearest
from mcp_server_embeddings.tools.corpus import corpus_of, empty
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import MAX_TOP, Range, StoredTexts, Texts
from mcp_server_embeddings.tools.results import Hit, RankResult, Span, Usage
from mcp_server_embeddings.tools.retrieval import best_passages, choose, retrieve
from mcp_server_embeddings.tools.texts import CONTROL, check_size, checked_query, snippet
from mcp_server_embeddings.vectors.scores import scores

_SNIPPET = 120
"""Characters of a hit's beginning: enough to judge it by."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A text that will be a hit: its position, its id in a collection, and its cosine with the query."""

    position: int
    id: str | None
    text: str
    cosine: float


@dataclass(frozen=True, slots=True)
class _Found:
    """The hits in order, the highest cosine of all, how many texts were compared, and what they cost."""

    hits: list[_Candidate]
    best: float
    compared: int
    usage: Usage


@tool(
    title="Find the texts about a query",
    description=(
        "Finds which texts are about a query, by meaning. Use it to search a list, pick what to read first, or quote "
        "the sentence that answers (spans). Not for sorting into kinds: use classify; not for exact words. Returns the "
        "best hits by position with score, percentile, band and snippet; no_match: nothing fits. Pass hits on to "
        "similarity or condense."
    ),
    purpose="find texts about a question",
    core=True,
)
def rank(
    embedder: Embedder,
    query: Annotated[str, Field(description="what is looked for, a phrase or sentence")],
    texts: Annotated[Texts | None, Field(description="texts to search")] = None,
    *,
    collection: StoredTexts = None,
    top: Annotated[int, Range(1, MAX_TOP), Field(description="how many hits")] = 5,
    diversity: Annotated[
        float, Range(0, 1), Field(description="above 0: hits that resemble earlier ones come later")
    ] = 0.0,
    spans: Annotated[bool, Field(description="find each hit's best sentence, to quote, with its offsets")] = False,
) -> RankResult:
    """Find the texts nearest a query, with the prompts for queries and documents where the model has them.

    Args:
        embedder: The engine.
        query: What is looked for.
        texts: 1 to 2,000 texts; with the query at most 2,000,000 characters in all.
        collection: In place of ``texts``: all of its chunks, however many; variety is sought among the nearest 1,000.
        top: How many hits, 1 to 1,000.
        diversity: 0 orders by score; up to 1, a hit is the less welcome the more it resembles those before it
            (maximal marginal relevance, see ``diverse_rows``).
        spans: Find in each hit the sentence nearest the query (of a sentence over 320 characters, a part), which
            then is the hit's snippet, word for word.

    Returns:
        Hits in order. ``no_match`` says that no text, listed or not, is above the band ``weak``. The query's
        position in ``usage`` follows those of the texts; the tokens of spans are counted, their passages are no texts.
        Of a collection only the query is counted, and a hit's ``index`` is its position in the order of the chunks.

    Raises:
        InputError: The query or a text is blank, there are too many, a number is out of range, both or neither of texts
            and collection are given, or the collection is empty.
        CollectionError: The collection was removed meanwhile.
        OperatorError: The model cannot be used.
    """
    query = checked_query("query", query)
    if texts is None and collection is not None:
        check_size([], query)
        asked = embedder.embed([query], role="query")
        found = _among_stored(collection, asked, top, diversity)
    else:
        sent = corpus_of(texts, collection).texts
        check_size(sent, query)
        documents = embedder.embed(sent, role="document")
        asked = embedder.embed([query], role="query")
        found = _among_sent(sent, documents, asked, top, diversity)
    calibration = embedder.calibration("retrieval")
    usage = found.usage
    passages: list[Span | None] = [None] * len(found.hits)
    if spans:
        passages[:], tokens = best_passages(embedder, asked.vectors, [hit.text for hit in found.hits], calibration)
        usage = usage.model_copy(update={"tokens": usage.tokens + tokens})
    hits = []
    for hit, span in zip(found.hits, passages, strict=True):
        score, percentile, band = calibration.interpret(hit.cosine)
        shown = CONTROL.sub(" ", hit.text[span.start : span.end]) if span else snippet(hit.text, _SNIPPET)
        hits.append(
            Hit(index=hit.position, id=hit.id, score=score, percentile=percentile, band=band, snippet=shown, span=span)
        )
    return RankResult(
        model=embedder.identity().short,
        usage=usage,
        more=found.compared - len(hits),
        hits=hits,
        no_match=not calibration.above_weak(found.best),
    )


def _among_sent(texts: Sequence[str], documents: Embeddings, asked: Embeddings, top: int, diversity: float) -> _Found:
    cosines = scores(documents.vectors, asked.vectors, "cosine")[:, 0]
    candidates = Nearest(list(range(len(texts))), cosines, documents.vectors, len(texts))
    hits = [_Candidate(row, None, texts[row], float(cosines[row])) for row in choose(candidates, top, diversity)]
    return _Found(hits, float(cosines.max()), len(texts), Usage.of(documents, asked))


def _among_stored(collection: Collection, asked: Embeddings, top: int, diversity: float) -> _Found:
    with collection.reading() as source:
        found = retrieve(source, asked.vectors, None, top=top, depth=MAX_TOP, diversity=diversity)
        positions = source.positions([hit.chunk.key for hit in found.hits])
    if not found.total:
        raise empty(collection)
    hits = [
        _Candidate(position, hit.chunk.id, hit.chunk.text, hit.cosine)
        for position, hit in zip(positions, found.hits, strict=True)
    ]
    return _Found(hits, found.best_cosine, found.total, Usage.of(asked))
