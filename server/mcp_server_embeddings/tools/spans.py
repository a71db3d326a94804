"""The passage of a text that fits a query best."""

from collections.abc import Sequence

import numpy as np

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.results import Span
from mcp_server_embeddings.tools.sentences import joined, passages
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.scores import Vectors, scores

_MOST_SENTENCES = 2_000
"""Of all hits together; where there are more, neighbours are joined up to the length of a passage, so that spans cost
about as much as the texts themselves."""


def best_passages(
    embedder: Embedder, sought: Vectors, texts: Sequence[str], calibration: Calibration
) -> tuple[list[Span | None], int]:
    """For each text its passage nearest the query, all encoded in one call, and the tokens that were read."""
    places = [passages(text) for text in texts]
    if sum(map(len, places)) > _MOST_SENTENCES:
        places = [joined(found) for found in places]
    pieces = [text[start:end] for text, found in zip(texts, places, strict=True) for start, end in found]
    embedded = embedder.embed(pieces, role="document")
    cosines = scores(embedded.vectors, sought, "cosine")[:, 0]
    spans: list[Span | None] = []
    for found in places:
        own, cosines = cosines[: len(found)], cosines[len(found) :]
        best = int(np.argmax(own))
        start, end = found[best]
        score, percentile, band = calibration.interpret(float(own[best]))
        spans.append(Span(start=start, end=end, score=score, percentile=percentile, band=band))
    return spans, embedded.tokens
