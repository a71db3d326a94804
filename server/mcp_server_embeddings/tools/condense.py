"""The few texts that stand for the many."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder, Embeddings
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry, positions
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import Texts, Top
from mcp_server_embeddings.tools.results import CondenseResult, Passage, Usage
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE, passages
from mcp_server_embeddings.tools.texts import (
    MAX_CHARACTERS,
    MAX_TEXTS,
    check_range,
    check_size,
    checked_query,
    checked_texts,
    snippet,
)
from mcp_server_embeddings.vectors.coverage import best_cover
from mcp_server_embeddings.vectors.scores import Scores, scores

_SNIPPET = 120
"""Characters of a chosen passage: enough to find it by."""

_DECIMALS = 4


@tool(
    title="Keep what says most",
    description=(
        "Chooses the few texts, or sentences of one long text, that stand for all of them. Use it to fit notes, "
        "results or a document into a context; with query, keeps what matters for it. Not to summarise: it rewrites "
        "nothing; not for the best hits: use rank. Returns selected positions in their order, tokens (never over "
        "max_tokens) and coverage (0 to 1), for one text also where its sentences are."
    ),
    purpose="fit into a budget",
)
def condense(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts to choose from, or one long text")],
    *,
    max_tokens: Annotated[
        int | None,
        Field(description="tokens that may stay, by this model's tokenizer", json_schema_extra={"minimum": 1}),
    ] = None,
    count: Annotated[int | None, Field(description="texts that may stay", json_schema_extra={"minimum": 1})] = None,
    query: Annotated[str | None, Field(description="what matters; absent: keep what is typical")] = None,
    top: Top = None,
) -> CondenseResult:
    """Choose the subset that says most, within a budget of tokens, of texts, or of both.

    A chosen text stands for another as far as their cosine rises above the edge of ``weak``: 0 there, 1 for an
    equal one. What the subset stands for, summed over all texts, is maximised (``best_cover``). With a query a
    text weighs as much as it is about the query, by the same measure. Where nothing is above ``weak``
    ``no_match`` says so, and where nothing is about the query at all, every text weighs the same.

    A single text is cut into sentences, which are then chosen from; a sentence over 320 characters is cut
    between words.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts, or one of two sentences or more; 2,000,000 characters in all.
        max_tokens: The tokens of the chosen texts are never more than this, as this model's tokenizer counts.
        count: No more texts than this are chosen.
        query: What matters; None to keep what is typical.
        top: How many of the chosen to list, 1 to 2,000; None for as many as fit a small answer.

    Returns:
        ``selected``: positions in the list, or of the sentences of a single text, ascending; ``passages``: where
        the chosen sentences are in that text, else None. Fewer are chosen than would fit once nothing is left
        that they do not stand for. ``coverage``: the share of all, by weight, that they stand for, 0 to 1.

    Raises:
        InputError: There is no budget, or it is smaller than the shortest text; there is nothing to choose from;
            a text or the query is blank.
        OperatorError: The model cannot be used.
    """
    room = AnswerBudget(top)
    _check_budget(max_tokens, count)
    query = None if query is None else checked_query("query", query)
    texts = checked_texts("texts", texts)
    check_size(texts, query or "")
    places = _places(texts)
    units = texts if places is None else [texts[0][start:end] for start, end in places]
    costs = np.array(embedder.count_tokens(units), dtype=np.int64).clip(min=1)
    if max_tokens is not None and max_tokens < costs.min():
        raise InputError(
            f"max_tokens={max_tokens} is less than the shortest {'text' if places is None else 'sentence'} has, "
            f"{costs.min()} tokens at position {costs.argmin()}; give {costs.min()} or more"
        )
    embedded = embedder.embed(units, role="symmetric" if query is None else "document")
    weights, no_match, asked = _weights(embedder, embedded, query)
    likeness = _risen(scores(embedded.vectors, embedded.vectors, "cosine"), embedder.calibration().edges[0])
    choice = best_cover(likeness, weights, costs, budget=max_tokens, count=count or len(units))
    selected = sorted(choice.rows)
    chosen = None if places is None else [_passage(texts[0], places[row]) for row in selected]
    listed = room.take(_entries(selected, units, chosen))
    return CondenseResult(
        model=embedder.identity().short,
        usage=Usage.of(embedded if places is None else _as_one(embedded), *asked),
        more=len(selected) - listed,
        selected=selected[:listed],
        passages=None if chosen is None else chosen[:listed],
        tokens=int(costs[selected].sum()),
        coverage=round(choice.coverage, _DECIMALS),
        no_match=no_match,
    )


def _check_budget(max_tokens: int | None, count: int | None) -> None:
    if max_tokens is None and count is None:
        raise InputError("neither max_tokens nor count is given; say how many tokens or how many texts may stay")
    if max_tokens is not None:
        check_range("max_tokens", max_tokens, 1, MAX_CHARACTERS)
    if count is not None:
        check_range("count", count, 1, MAX_TEXTS)


def _places(texts: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where the sentences of a single text are; None for several texts, which are chosen from as they are."""
    if len(texts) > 1:
        return None
    places = passages(texts[0])
    if len(places) < 2:
        raise InputError("texts is one text of one sentence, so there is nothing to choose from; give more")
    if len(places) > MAX_TEXTS:
        raise InputError(
            f"the text has {len(places):,} sentences (of up to {MAX_PASSAGE} characters); at most {MAX_TEXTS:,}: cut "
            "it into parts, condense each, then what is left of them"
        )
    return places


def _weights(
    embedder: Embedder, embedded: Embeddings, query: str | None
) -> tuple[Scores, bool, tuple[Embeddings, ...]]:
    """What each text weighs, whether none fits the query, and what the query cost."""
    equal = np.ones(len(embedded.vectors))
    if query is None:
        return equal, False, ()
    asked = embedder.embed([query], role="query")
    calibration = embedder.calibration("retrieval")
    cosines = scores(embedded.vectors, asked.vectors, "cosine")[:, 0]
    weights = _risen(cosines, calibration.edges[0])
    no_match = not calibration.above_weak(float(cosines.max()))
    return weights if weights.any() else equal, no_match, (asked,)


def _risen(cosines: Scores, edge: float) -> Scores:
    """How far cosines rise above an edge: 0 there and below, 1 for a cosine of 1."""
    risen: Scores = np.clip((cosines - edge) / (1 - edge), 0, 1)
    return risen


def _as_one(embedded: Embeddings) -> Embeddings:
    """The sentences of a single text as that text: what the caller sent."""
    return replace(embedded, vectors=embedded.vectors[:1], windowed=(0,) if embedded.windowed else ())


def _entries(selected: Sequence[int], units: Sequence[str], chosen: Sequence[Passage] | None) -> list[Entry]:
    if chosen is None:
        return positions(selected, units)
    both = zip(selected, chosen, strict=True)
    return [Entry(f"{row},{passage.model_dump_json()}", passage.snippet) for row, passage in both]


def _passage(text: str, place: tuple[int, int]) -> Passage:
    start, end = place
    return Passage(start=start, end=end, snippet=snippet(text[start:end], _SNIPPET))
