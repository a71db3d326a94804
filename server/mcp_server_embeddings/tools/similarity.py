"""Tell how close in meaning items are."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, AnswerBudget
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.pairs import pair_differences
from mcp_server_embeddings.tools.parameters import MAX_TOP, IdField, LongTexts, Range, Source, Texts
from mcp_server_embeddings.tools.results import Differs, Pair, SimilarityResult
from mcp_server_embeddings.tools.selection import common_folder, select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.blocks import Pairs, Watch, top_pairs
from mcp_server_embeddings.vectors.scores import Metric, Scores, Vectors, best_cells, scores

_MAX_ANSWER_CELLS = 400
"""Maximum number of cells of a score matrix that is part of the answer: 20 by 20 texts."""

_DENSE_CELLS = 4_000_000
"""Maximum number of cells of a matrix that is computed as a whole: 32 MB."""

_MAX_PRECISE_CELLS = 100
"""Number of cells above which the matrix has two decimals, so that the pairs, which have four, fit into the answer."""

_DECIMALS = 4
_LARGE_MATRIX_DECIMALS = 2

_PAIR_CHARACTERS = 160
"""Characters of a pair with its differences; the answer may have as many for each requested pair."""

_PAIRS_SHARE = 0.6
"""Share of the pairs in an answer that contains the matrix too."""


@tool(
    title="Compare meanings",
    description=(
        "Tells how close in meaning texts are. Use it to compare two texts, or to find the nearest pairs between two "
        "lists or within one (leave right out). Not for facts: opposites score high, so read differs; for versions of "
        "a list use align. Returns the closest pairs with score, percentile and band; judge by band."
    ),
    purpose="compare texts",
    core=True,
)
def similarity(
    embedder: Embedder,
    left: Annotated[Texts, Field(description="texts")] = None,
    right: Annotated[Texts, Field(description="absent: pairs inside left")] = None,
    *,
    left_source: Source = None,
    right_source: Source = None,
    id_field: IdField = None,
    metric: Annotated[Metric, Field(description="distances are negated")] = "cosine",
    top: Annotated[int, Range(1, MAX_TOP), Field(description="pairs")] = 10,
    long_text: LongTexts = "window",
    sources: Sources | None = None,
) -> SimilarityResult:
    """Compare every item of ``left`` with every item of ``right``, or the items of ``left`` with each other.

    Args:
        embedder: The engine.
        left: Texts, or a map from id to text; two or more if there is no right side.
        right: Texts; both sides together at most 2,000 texts and 2,000,000 characters.
        left_source: In place of ``left``; see ``Sources.open``.
        right_source: In place of ``right``.
        id_field: The id column of source tables.
        metric: The measure for ``score``; percentile and band always derive from the cosine. More than 4,000,000 pairs
            allow only ``cosine``. Distances are negated, so that higher is closer.
        top: Number of pairs to return, 1 to 1,000.
        long_text: How to handle a text over the model's limit; see ``Embedder.embed``.
        sources: Opens the sources.

    Returns:
        The closest pairs, best first, ties in the order of the items; those of close texts with their differences.

    Raises:
        InputError: A side is missing, blank, too long, or given twice.
        TextTooLongError: See ``long_text``.
        OperatorError: The model cannot be used.

    Example:
        >>> similarity(embedder, ["Apple"], ["Orange", "Lightning"]).pairs[0].right
        1
    """
    notes: list[str] = []
    lefts = select_items(
        embedder, sources, left, Selection(left_source, id_field if left_source else None), name="left", notes=notes
    )
    two_sided = right is not None or right_source is not None
    rights = lefts
    if two_sided:
        table = id_field if right_source else None
        rights = select_items(embedder, sources, right, Selection(right_source, table), name="right", notes=notes)
    elif len(lefts) < 2:
        raise InputError(
            f"{lefts.label} has 1 text and right is absent, so there is nothing to compare; give right, or 2 or more "
            "texts in left"
        )
    a = lefts.embed(embedder, long_text=long_text)
    b = rights.embed(embedder, long_text=long_text) if two_sided else None
    found, matrix = _compare(embedder, a, b, metric, top)
    cosines = _cosines(a, a if b is None else b, found, metric)
    pairs = _pairs(embedder, lefts, rights, found, cosines)
    cells = _rounded(matrix)
    budget = AnswerBudget(max(ANSWER_CHARACTERS, top * _PAIR_CHARACTERS))
    listed = budget.take(pairs, share=_PAIRS_SHARE if cells else 1)
    if listed < len(pairs):
        notes.append(f"{len(pairs) - listed:,} more pairs do not fit; pass a larger top, or fewer texts")
    return SimilarityResult(
        model=embedder.identity().short,
        notes=notes,
        folder=common_folder(lefts, rights, notes),
        metric=metric,
        pairs=pairs[:listed],
        scores=cells if budget.take([cells]) else [],
    )


def _compare(
    embedder: Embedder, a: Vectors, b: Vectors | None, metric: Metric, top: int
) -> tuple[Pairs, Scores | None]:
    """Return the best pairs, and the matrix if it is small enough to send."""
    others = a if b is None else b
    if len(a) * len(others) > _DENSE_CELLS:
        if metric != "cosine":
            raise InputError(
                f"metric={metric!r} is for up to {_DENSE_CELLS:,} pairs, and there are {len(a) * len(others):,}; use "
                "cosine"
            )
        return top_pairs(a, b, top, Watch(cancelled=embedder.call.raise_if_cancelled)), None
    values = scores(a, others, metric)
    cells = best_cells(values, top, upper=b is None)
    rows, columns = np.array([row for row, _ in cells]), np.array([column for _, column in cells])
    found = Pairs(rows, columns, np.array([values[cell] for cell in cells]), 1.0)
    return found, values if values.size <= _MAX_ANSWER_CELLS else None


def _cosines(a: Vectors, b: Vectors, found: Pairs, metric: Metric) -> list[float]:
    """Return the cosines of pairs: their scores, or computed if the metric is another one."""
    if metric == "cosine":
        cosines: list[float] = found.scores.tolist()
        return cosines
    return [
        float(scores(a[row : row + 1], b[column : column + 1], "cosine")[0, 0])
        for row, column in zip(found.rows, found.columns, strict=True)
    ]


def _pairs(embedder: Embedder, lefts: Items, rights: Items, found: Pairs, cosines: Sequence[float]) -> list[Pair]:
    calibration = embedder.calibration()
    rows, columns = [int(row) for row in found.rows], [int(column) for column in found.columns]
    close = [at for at, cosine in enumerate(cosines) if calibration.band(cosine) in ("close", "same")]
    compared = [(rows[at], columns[at], cosines[at]) for at in close]
    differ = dict(zip(close, pair_differences(embedder, lefts, rights, compared), strict=True))
    return [
        Pair(
            left=lefts.ids[row],
            right=rights.ids[column],
            score=round(float(score), _DECIMALS) + 0.0,
            percentile=calibration.percentile(cosine),
            band=calibration.band(cosine),
            differs=Differs.of(differ[at]) if at in differ else None,
        )
        for at, (row, column, score, cosine) in enumerate(zip(rows, columns, found.scores, cosines, strict=True))
    ]


def _rounded(matrix: Scores | None) -> list[list[float]]:
    if matrix is None:
        return []
    decimals = _LARGE_MATRIX_DECIMALS if matrix.size > _MAX_PRECISE_CELLS else _DECIMALS
    rounded: list[list[float]] = (np.round(matrix, decimals) + 0.0).tolist()
    return rounded
