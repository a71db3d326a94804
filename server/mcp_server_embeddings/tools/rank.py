"""Which texts are about a query."""

from collections.abc import Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.listing import MAX_TOP
from mcp_server_embeddings.tools.results import Hit, Ranked, Span, Usage
from mcp_server_embeddings.tools.spans import best_passages
from mcp_server_embeddings.tools.texts import CONTROL, check_range, check_size, checked_query, checked_texts, snippet
from mcp_server_embeddings.vectors.ranking import diverse_rows
from mcp_server_embeddings.vectors.similarity import scores

_SNIPPET = 120
"""Characters of a hit's beginning: enough to judge it by."""


def rank(
    embedder: Embedder,
    query: str,
    texts: Sequence[str],
    *,
    top: int = 5,
    diversity: float = 0.0,
    spans: bool = False,
) -> Ranked:
    """Find the texts nearest a query, with the prompts for queries and documents where the model has them.

    Args:
        embedder: The engine.
        query: What is looked for.
        texts: 1 to 2,000 texts; with the query at most 2,000,000 characters in all.
        top: How many hits, 1 to 1,000.
        diversity: 0 orders by score; up to 1, a hit is the less welcome the more it resembles those before it
            (maximal marginal relevance, see ``diverse_rows``).
        spans: Find in each hit the sentence nearest the query (of a sentence over 320 characters, a part), which
            then is the hit's snippet, word for word.

    Returns:
        Hits in order. ``no_match`` says that no text, listed or not, is above the band ``weak``. The query's
        position in ``usage`` follows those of the texts; the tokens of spans are counted, their passages are no texts.

    Raises:
        InputError: The query or a text is blank, there are too many, or a number is out of range.
        OperatorError: The model cannot be used.
    """
    check_range("top", top, 1, MAX_TOP)
    check_range("diversity", diversity, 0, 1)
    query = checked_query("query", query)
    texts = checked_texts("texts", texts)
    check_size(texts, query)
    documents = embedder.embed(texts, role="document")
    sought = embedder.embed([query], role="query")
    cosines = scores(documents.vectors, sought.vectors, "cosine")[:, 0]
    calibration = embedder.calibration("retrieval")
    rows = diverse_rows(cosines, documents.vectors, top, diversity)
    usage = Usage.of(documents, sought)
    found: list[Span | None] = [None] * len(rows)
    if spans:
        found, tokens = best_passages(embedder, sought.vectors, [texts[row] for row in rows], calibration)
        usage = usage.model_copy(update={"tokens": usage.tokens + tokens})
    hits = []
    for row, span in zip(rows, found, strict=True):
        score, percentile, band = calibration.judged(float(cosines[row]))
        shown = CONTROL.sub(" ", texts[row][span.start : span.end]) if span else snippet(texts[row], _SNIPPET)
        hits.append(Hit(index=row, score=score, percentile=percentile, band=band, snippet=shown, span=span))
    return Ranked(
        model=embedder.identity().short,
        usage=usage,
        more=len(texts) - len(hits),
        hits=hits,
        no_match=not calibration.above_weak(float(cosines.max())),
    )
