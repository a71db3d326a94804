"""How close texts are."""

from typing import Annotated

import numpy as np
from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import MAX_TOP, LongTexts, Range, Texts
from mcp_server_embeddings.tools.results import Pair, SimilarityResult, Usage
from mcp_server_embeddings.tools.texts import check_size, checked_texts
from mcp_server_embeddings.vectors.scores import Metric, Scores, best_cells, scores

MATRIX_CELLS = 400
"""The matrix of scores is part of the answer up to this many cells: 20 texts with 20."""

_LARGE_MATRIX = 100
"""Over this many cells the matrix has two decimals: 400 of them must leave room for the pairs, which have four."""

_DECIMALS = 4
_FEW_DECIMALS = 2


@tool(
    title="Compare meanings",
    description=(
        "Tells how close in meaning texts are. Use it to compare two texts, or to find the nearest pairs between "
        "two lists or within one (leave right out). Not for exact wording, facts or logic: opposites on one subject "
        "score high; to search use rank. Returns the closest pairs by position, with score (cosine), percentile and "
        "band: unrelated, weak, related, close, same. Judge by band; raw scores differ between models."
    ),
    purpose="compare texts",
    core=True,
)
def similarity(
    embedder: Embedder,
    left: Annotated[Texts, Field(description="texts")],
    right: Annotated[
        Texts | None, Field(description="texts to compare left with; absent: every pair inside left")
    ] = None,
    *,
    metric: Annotated[Metric, Field(description="of the score; distances are negated, so higher is closer")] = "cosine",
    top: Annotated[int, Range(1, MAX_TOP), Field(description="how many of the closest pairs")] = 10,
    long_text: LongTexts = "window",
) -> SimilarityResult:
    """Compare every text of ``left`` with every text of ``right``, or with each other.

    Args:
        embedder: The engine.
        left: Texts; two or more when ``right`` is absent.
        right: Texts; both lists together at most 2,000 texts and 2,000,000 characters.
        metric: What ``score`` is; percentile and band always come from the cosine. Distances are negated,
            so that higher is closer.
        top: How many pairs to return, 1 to 1,000.
        long_text: What becomes of a text over the model's limit; see ``Embedder.embed``.

    Returns:
        The closest pairs, best first, ties in the order of the lists. Positions in ``usage`` run over
        ``left`` and then on over ``right``.

    Raises:
        InputError: A text is blank, there are too many or too few, or ``top`` is out of range.
        TextTooLongError: See ``long_text``.
        OperatorError: The model cannot be used.
    """
    left = checked_texts("left", left)
    others = None if right is None else checked_texts("right", right)
    if others is None and len(left) == 1:
        raise InputError(
            "left has 1 text and right is absent, so there is nothing to compare; "
            "give right, or 2 or more texts in left"
        )
    every = [*left, *(others or [])]
    check_size(every)
    embedded = embedder.embed(every, long_text=long_text)
    a = embedded.vectors[: len(left)]
    b = a if others is None else embedded.vectors[len(left) :]
    values = scores(a, b, metric)
    cosines = values if metric == "cosine" else scores(a, b, "cosine")
    calibration = embedder.calibration()
    picked = best_cells(values, top, upper=others is None)
    possible = len(left) * (len(left) - 1) // 2 if others is None else values.size
    return SimilarityResult(
        more=possible - len(picked),
        model=embedder.identity().short,
        usage=Usage.of(embedded),
        metric=metric,
        pairs=[
            Pair(
                left=row,
                right=column,
                score=round(float(values[row, column]), _DECIMALS) + 0.0,
                percentile=calibration.percentile(float(cosines[row, column])),
                band=calibration.band(float(cosines[row, column])),
            )
            for row, column in picked
        ],
        scores=_matrix(values) if values.size <= MATRIX_CELLS else None,
    )


def _matrix(values: Scores) -> list[list[float]]:
    rounded: list[list[float]] = (
        np.round(values, _FEW_DECIMALS if values.size > _LARGE_MATRIX else _DECIMALS) + 0.0
    ).tolist()
    return rounded
