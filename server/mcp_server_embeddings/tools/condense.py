"""Select the few items or sentences that represent all of them."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, RESERVED_CHARACTERS, json_length
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.paragraphs import paragraphs
from mcp_server_embeddings.tools.parameters import IdField, Ids, Range, Source, Texts, WhereFilter
from mcp_server_embeddings.tools.results import CondenseResult
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE, SENTENCE_END, passages
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.texts import CONTROL, MAX_CHARACTERS, checked_query
from mcp_server_embeddings.vectors.blocks import Watch
from mcp_server_embeddings.vectors.coverage import best_cover_of_vectors
from mcp_server_embeddings.vectors.fusion import above_chance
from mcp_server_embeddings.vectors.scores import Scores, Vectors, scores, unit_rows

_DECIMALS = 4

_ABBREVIATION = re.compile(
    r"\b(?:approx|ca|max|min|incl|excl|resp|[Vv]ols?|[Rr]efs?|[Ff]igs?|[Ee]qs?|[Ss]ecs?|[Tt]abs?|[Aa]pp|[Cc]h|Nos?|pp?)\.$"
)
"""Abbreviations that are followed by a number or a name in the same sentence."""

_WORD = re.compile(r"\w+")
_MIN_WORDS = 4
_MIN_CHARACTERS = 8
"""Minimum length of a sentence in a script without spaces."""

_MAX_SENTENCE = 800
"""Maximum characters of a sentence; a longer one is a list or a table that lost its line breaks."""

_BOILERPLATE_ITEMS = 3
"""Minimum number of items with the same sentence that makes the sentence boilerplate."""

_MIN_COST_DIVISOR = 20
"""A unit costs at least the budget divided by this. Otherwise the shortest sentences, which say the least, would be
preferred."""

_RELEVANCE_POWER = 2
"""Exponent of a unit's similarity to the query in its weight. Most of 400 sentences resemble any question a little;
without the exponent they would together outweigh the few that are about it."""

_MIN_FILLED = 0.8
"""Share of the token budget; a note explains why a digest uses less."""

_MAX_ITEMS = 10_000
_MAX_UNITS = 10_000
"""If there are more, only those most similar to the query are considered or, without a query, an even sample. Every
unit is compared with every other: 10,000 take four seconds of one core."""

_CHARACTERS_PER_TOKEN = 8
"""Maximum characters of a digest per token, in case a tokenizer counts a long word as one token."""

_SHARE_BUDGET = 1_000_000
"""The budget if tokens and characters are both limited; a unit costs the larger of its two shares."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """The unit of selection: an item, or a sentence of one."""

    item: int
    text: str


@tool(
    title="Condense",
    description=(
        "Shortens texts or documents to the sentences or items that stand for all, word for word, within "
        "max_tokens. Use it to fit material into a context, or for a digest; with query, keeps what matters for "
        "it. Not to rewrite; not for the best hits: use search. Returns the digest as text, the ids it is from, "
        "coverage."
    ),
    purpose="fit into a budget",
)
def condense(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts, or one long text")] = None,
    *,
    max_tokens: Annotated[int | None, Range(1, MAX_CHARACTERS), Field(description="of the digest")] = None,
    count: Annotated[
        int | None, Range(1, 1_000), Field(description="most sentences, or items where all are short")
    ] = None,
    query: Annotated[str | None, Field(description="what matters")] = None,
    source: Source = None,
    id_field: IdField = None,
    ids: Ids = None,
    where: WhereFilter = None,
    sources: Sources | None = None,
) -> CondenseResult:
    """Select the most informative subset within a budget of tokens, units, or both.

    If every item has at most 320 characters, the units are whole items without their heading lines. Otherwise they are
    sentences: hard-wrapped lines are joined; headings, tables, code, fragments, duplicates, and sentences that occur in
    three or more items are dropped. A selected unit represents another as far as their cosine exceeds the lower edge of
    ``weak``: 0 at the edge, 1 for an identical unit. The sum of representation over all units is maximised
    (``best_cover``). With a query, a unit is weighted by the square of its relevance to the query.

    At most 10,000 items and 10,000 sentences are compared: those nearest the query, or an even sample.

    Args:
        embedder: The engine.
        texts: Texts, a map from id to text, or one text of two or more sentences.
        max_tokens: Maximum tokens of the digest, as counted by the tokenizer of this model, or estimated.
        count: Maximum number of sentences or items, 1 to 1,000.
        query: The topic to keep; None to keep what is typical.
        source: Replaces ``texts``; see ``Sources.open``.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata matches.
        sources: Resolves ``source``.

    Returns:
        ``text``: the selected units in the order of the items, one line per item. ``coverage``: the weighted share of
        all units that they represent, 0 to 1.

    Raises:
        InputError: There is no budget, it is smaller than the shortest unit, there is nothing to choose from, or
            ``select_items`` rejects the items.
        OperatorError: The model cannot be used.

    Example:
        >>> condense(embedder, ["Prices rise.", "Costs go up.", "It rains."], count=2).selected
        [0, 2]
    """
    if max_tokens is None and count is None:
        raise InputError("neither max_tokens nor count is given; say how many tokens or how many items may stay")
    query = None if query is None else checked_query("query", query)
    items = select_items(embedder, sources, texts, Selection(source, id_field, ids, where))
    units = _considered_units(embedder, items, query)
    if not units or len(items) == len(units) == 1:
        raise InputError(
            f"{items.label} has only one item and one sentence of {_MIN_WORDS} words or more, so there is nothing to "
            "choose from; give more"
        )
    role: Role = "symmetric" if query is None else "document"
    vectors = embedder.embed([unit.text for unit in units], role=role).vectors
    if len(units) > _MAX_UNITS:
        rows = _nearest(embedder, vectors, query, _MAX_UNITS)
        items.notes.append(f"{len(rows):,} of {len(units):,} sentences were considered, {_describe_selection(query)}")
        units, vectors = [units[row] for row in rows], vectors[rows]
    if embedder.estimates_tokens():
        items.notes.append("tokens are estimates, since the model's tokenizer is not on this machine")
    tokens = np.array(embedder.count_tokens([unit.text for unit in units]), dtype=np.int64).clip(min=1)
    if max_tokens is not None and max_tokens < tokens.min():
        raise InputError(
            f"max_tokens={max_tokens} is less than the shortest of {len(units):,} units has, {tokens.min()} tokens; "
            f"give {tokens.min()} or more"
        )
    weights, no_match = _weights(embedder, vectors, query, [unit.item for unit in units])
    edge = embedder.calibration().edges[0]
    watch = Watch(embedder.call.raise_if_cancelled)
    max_units = len(units) if count is None else count
    best_cover = partial(best_cover_of_vectors, vectors, weights, edge=edge, count=max_units, watch=watch)
    choice = best_cover(tokens.clip(min=(max_tokens or 0) // _MIN_COST_DIVISOR), budget=max_tokens)
    max_characters = max(ANSWER_CHARACTERS - RESERVED_CHARACTERS, _CHARACTERS_PER_TOKEN * (max_tokens or 0))
    characters = np.array([json_length(unit.text) + json_length(items.ids[unit.item]) for unit in units])
    if characters[choice.rows].sum() > max_characters:
        shares = np.maximum(tokens / (max_tokens or np.inf), characters / max_characters)
        choice = best_cover(np.ceil(shares * _SHARE_BUDGET).astype(np.int64), budget=_SHARE_BUDGET)
        items.notes.append(f"the digest was kept to {max_characters:,} characters; pass a larger max_tokens for more")
    rows = sorted(choice.rows)
    used = int(tokens[rows].sum())
    if max_tokens and count is None and used < _MIN_FILLED * max_tokens and len(rows) < len(units):
        items.notes.append(f"{len(rows)} sentences say most; more short ones within {max_tokens:,} tokens add little")
    return CondenseResult(
        model=embedder.identity().short,
        notes=items.notes,
        folder=items.folder,
        text=_join_by_item(units, rows),
        selected=items.ids_of(list(dict.fromkeys(units[row].item for row in rows))),
        tokens=used,
        coverage=round(choice.coverage, _DECIMALS),
        no_match=no_match,
    )


def _considered_units(embedder: Embedder, items: Items, query: str | None) -> list[_Unit]:
    """Return the units of the items, or of as many items as can be compared."""
    if len(items) <= _MAX_ITEMS:
        return _units(items, range(len(items)))
    if query is None:
        rows = _even_sample(len(items), _MAX_ITEMS)
    else:
        rows = _nearest(embedder, items.embed(embedder, "document"), query, _MAX_ITEMS)
    items.notes.append(f"{len(rows):,} of {len(items):,} items were considered, {_describe_selection(query)}")
    return _units(items, rows)


def _nearest(embedder: Embedder, vectors: Vectors, query: str | None, limit: int) -> list[int]:
    """Return the rows nearest a query or, without one, an even sample; in ascending order."""
    if query is None:
        return _even_sample(len(vectors), limit)
    cosines = scores(vectors, embedder.embed([query], role="query").vectors, "cosine")[:, 0]
    return sorted(int(row) for row in np.argsort(-cosines, kind="stable")[:limit])


def _even_sample(number: int, limit: int) -> list[int]:
    return [int(row) for row in np.linspace(0, number - 1, limit).round()]


def _describe_selection(query: str | None) -> str:
    return "an even sample" if query is None else "those nearest the query"


def _units(items: Items, positions: Sequence[int]) -> list[_Unit]:
    """Return whole items if all are short, otherwise their sentences, without duplicates and boilerplate."""
    texts = {at: CONTROL.sub(" ", text) for at, text in zip(positions, items.texts(positions), strict=True)}
    if len(texts) > 1 and all(len(text) <= MAX_PASSAGE for text in texts.values()):
        whole = [_Unit(at, " ".join(paragraphs(text)) or " ".join(text.split())) for at, text in texts.items()]
        return _without_duplicates([unit for unit in whole if unit.text])
    sentences = [_Unit(at, sentence) for at, text in texts.items() for sentence in _sentences(text)]
    return _without_duplicates(_without_boilerplate(sentences))


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text; if it has none, its long fragments; if it has none either, all fragments."""
    parts = [part for block in paragraphs(text) for part in _rejoin_sentences(block)]
    sentences = [part for part in parts if _is_sentence(part)]
    if sentences:
        return sentences
    fragments = [part[start:end] for part in parts or [" ".join(text.split())] for start, end in passages(part)]
    return [fragment for fragment in fragments if _has_min_length(fragment)] or fragments


def _rejoin_sentences(block: str) -> Iterator[str]:
    """Yield the sentences of a paragraph, rejoining those that were cut for length or at an abbreviation."""
    first = last = 0
    for start, end in passages(block):
        before = block[first:last]
        continues = not SENTENCE_END.search(before) or _ABBREVIATION.search(before) or block[start].islower()
        if before and not continues:
            yield before
            first = start
        last = end
    if last > first:
        yield block[first:last]


def _is_sentence(text: str) -> bool:
    """Tell a sentence from a fragment, which begins in lower case, has unbalanced brackets, or lacks an end mark."""
    return (
        len(text) <= _MAX_SENTENCE
        and _has_min_length(text)
        and bool(SENTENCE_END.search(text))
        and not text[0].islower()
        and all(text.count(opening) == text.count(closing) for opening, closing in ("()", "[]", "“”"))
    )


def _has_min_length(text: str) -> bool:
    return len(_WORD.findall(text)) >= _MIN_WORDS or (len(text) >= _MIN_CHARACTERS and not text.isascii())


def _without_boilerplate(units: Sequence[_Unit]) -> list[_Unit]:
    """Drop sentences that occur in many items, except from items that have no other sentence."""
    keys = [_key(unit) for unit in units]
    items = Counter(key for key, _ in {(key, unit.item) for key, unit in zip(keys, units, strict=True)})
    is_own = [items[key] < _BOILERPLATE_ITEMS for key in keys]
    with_own = {unit.item for unit, own in zip(units, is_own, strict=True) if own}
    return [unit for unit, own in zip(units, is_own, strict=True) if own or unit.item not in with_own]


def _without_duplicates(units: Sequence[_Unit]) -> list[_Unit]:
    """Keep the first of the units with the same words."""
    unique: dict[str, _Unit] = {}
    for unit in units:
        unique.setdefault(_key(unit), unit)
    return list(unique.values())


def _key(unit: _Unit) -> str:
    return " ".join(_WORD.findall(unit.text.casefold())) or unit.text


def _weights(embedder: Embedder, vectors: Vectors, query: str | None, items: Sequence[int]) -> tuple[Scores, bool]:
    """Return the weight of each unit, and whether no unit matches the query.

    Without a query, a unit is weighted by the square of its similarity to the mean of its item, so the subject of an
    item counts more than phrases common to all texts of the kind. All items have the same total weight.
    """
    if query is None:
        _, item, counts = np.unique(np.array(items), return_inverse=True, return_counts=True)
        means = np.zeros((len(counts), vectors.shape[1]))
        np.add.at(means, item, unit_rows(vectors).astype(np.float64))
        central = np.einsum("ij,ij->i", unit_rows(vectors), unit_rows(means.astype(np.float32))[item])
        share = np.clip(central, 0, 1).astype(np.float64) ** 2
        return share / np.bincount(item, share)[item].clip(1e-9), False
    calibration = embedder.calibration("retrieval")
    cosines = scores(vectors, embedder.embed([query], role="query").vectors, "cosine")[:, 0]
    weak = calibration.edges[0]
    weights: Scores = np.clip((cosines - weak) / (1 - weak), 0, 1) ** _RELEVANCE_POWER
    no_match = bool((above_chance(cosines, None, 0, len(cosines), calibration) < 0).all())
    return weights if weights.any() else np.ones(len(vectors)), no_match


def _join_by_item(units: Sequence[_Unit], rows: Sequence[int]) -> str:
    """Return the digest, with all units of an item on one line."""
    lines: dict[int, list[str]] = {}
    for row in rows:
        lines.setdefault(units[row].item, []).append(units[row].text)
    return "\n".join(" ".join(line) for line in lines.values())
