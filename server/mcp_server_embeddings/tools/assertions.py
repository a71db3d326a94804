"""Assertions on meaning, to test programs whose wording varies between runs; see ``pytest_plugin``.

They decide by band, which means the same on every model, never by the raw cosine. Vectors do not show changed numbers
and negations, so every failure message lists them, and with ``facts=True`` such a change is itself a failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.differences import Differences, textual_differences
from mcp_server_embeddings.tools.results import Hit, Pair
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.vectors.calibration import BANDS, Band

_QUOTED_CHARACTERS = 200
"""Characters of each text in a message."""

_UNRELATED, _WEAK = BANDS[:2]


@dataclass(frozen=True, slots=True)
class AssertSimilar:
    """The ``assert_similar`` fixture: fails if two texts are not close enough in meaning.

    Attributes:
        embedder: The engine.
    """

    embedder: Embedder = field(repr=False)

    def __call__(self, left: str, right: str, *, band: Band = "related", facts: bool = False) -> None:
        """Assert that two texts are in the given band or a closer one.

        Args:
            left: A text.
            right: A text.
            band: 19 in 20 rewordings are ``related`` or closer; ``close`` and ``same`` are stricter.
            facts: Also fail if a number or a negation differs, which barely changes a score.

        Raises:
            AssertionError: The texts are in a lower band, or their facts differ.
            InputError: A text is blank, or the band unknown.
        """
        __tracebackhide__ = True
        pair = _scored_pair(self.embedder, left, right, band)
        differences = textual_differences(left, right)
        expected = ""
        if _band_rank(pair.band) < _band_rank(band):
            expected = f"{band} or closer"
        elif facts and (differences.numbers or differences.negation):
            expected = "the same facts"
        if expected:
            raise AssertionError(_pair_message(self.embedder, "similar", pair, (left, right), differences, expected))


@dataclass(frozen=True, slots=True)
class AssertNotSimilar:
    """The ``assert_not_similar`` fixture: fails if two texts are close in meaning.

    Attributes:
        embedder: The engine.
    """

    embedder: Embedder = field(repr=False)

    def __call__(self, left: str, right: str, *, band: Band = "related") -> None:
        """Assert that two texts are in a band below the given one: the opposite of ``assert_similar``.

        Args:
            left: A text.
            right: A text.
            band: ``weak`` or above; the default rejects possible rewordings.

        Raises:
            AssertionError: The texts are in this band or a closer one.
            InputError: A text is blank, or the band is unknown or ``unrelated``, which is the lowest.
        """
        __tracebackhide__ = True
        if band == _UNRELATED:
            raise InputError(f"band is {band!r}, and no text is below it; give {_WEAK!r} or a closer one")
        pair = _scored_pair(self.embedder, left, right, band)
        if _band_rank(pair.band) >= _band_rank(band):
            differences, expected = textual_differences(left, right), f"below {band}"
            raise AssertionError(
                _pair_message(self.embedder, "not_similar", pair, (left, right), differences, expected)
            )


@dataclass(frozen=True, slots=True)
class AssertRanked:
    """The ``assert_ranked`` fixture: fails if texts answer a query in another order than the given one.

    Attributes:
        embedder: The engine.
    """

    embedder: Embedder = field(repr=False)

    def __call__(self, query: str, texts: Sequence[str]) -> None:
        """Assert that texts are ordered by relevance to a query, best first.

        Texts in the same band may come in any order, because a score difference within a band means little. The first
        text must be in a closer band than the last. The bands are those of searches.

        Args:
            query: A question or phrase.
            texts: 2 to 100 texts, best first.

        Raises:
            AssertionError: A text is in a closer band than an earlier one, or all texts are in one band.
            InputError: There are too few or too many texts, or one is blank.
        """
        __tracebackhide__ = True
        if isinstance(texts, str) or len(texts) < 2:
            raise InputError(f"texts is {texts!r:.80}; give a list of 2 texts or more, the best first")
        found = search(self.embedder, query, list(texts), mode="semantic", top=len(texts)).hits
        hits = sorted(found, key=lambda hit: int(hit.id))
        ranks = [_band_rank(hit.band) for hit in hits]
        misplaced = next((at for at in range(1, len(ranks)) if ranks[at] > min(ranks[:at])), None)
        if misplaced is not None:
            reason = f"text {misplaced} is in a closer band than one before it"
            raise AssertionError(_ranking_message(query, texts, hits, reason))
        if ranks[0] == ranks[-1]:
            raise AssertionError(_ranking_message(query, texts, hits, f"all are {hits[0].band}, so none comes first"))


def _scored_pair(embedder: Embedder, left: str, right: str, band: Band) -> Pair:
    """Score two texts.

    Raises:
        InputError: A text is blank, or the band unknown.
    """
    if band not in get_args(Band):
        raise InputError(f"band is {band!r}; give one of {', '.join(BANDS)}")
    return similarity(embedder, [left], [right]).pairs[0]


def _band_rank(band: Band | None) -> int:
    return -1 if band is None else BANDS.index(band)


def _pair_message(
    embedder: Embedder, name: str, pair: Pair, texts: tuple[str, str], differences: Differences, expected: str
) -> str:
    edges = embedder.calibration().edges
    band_edges = ", ".join(f"{band} {edge:.3f}" for band, edge in zip(BANDS[1:], edges, strict=True))
    lines = [
        f"assert_{name}: the texts are {pair.band}; wanted: {expected}",
        *(f"  {side:<5}  {_quoted(text)}" for side, text in zip(("left", "right"), texts, strict=True)),
        f"  score  {pair.score} (percentile {pair.percentile}), band {pair.band}; bands begin at {band_edges}",
        *_fact_lines(differences, "  "),
    ]
    return "\n".join(lines)


def _fact_lines(differences: Differences, indent: str) -> list[str]:
    """Return message lines about differing numbers and negations."""
    fields = (("numbers", differences.numbers), ("negation", differences.negation))
    return [f"{indent}differs in {name}: {', '.join(values)}" for name, values in fields if values]


def _ranking_message(query: str, texts: Sequence[str], hits: Sequence[Hit], reason: str) -> str:
    lines = [f"assert_ranked: {reason}", f"  query  {_quoted(query)}"]
    for at, (text, hit) in enumerate(zip(texts, hits, strict=True)):
        lines.append(f"  {at:<5}  {hit.score:.4f} {hit.band:<9}  {_quoted(text)}")
        lines += _fact_lines(_without_additions(textual_differences(query, text)), " " * 9)
    return "\n".join(lines)


def _without_additions(differences: Differences) -> Differences:
    """Drop facts that only the text has: an answer normally contains more than its question."""
    facts = (differences.numbers, differences.negation)
    numbers, negation = (tuple(value for value in values if not value.startswith("∅")) for values in facts)
    return replace(differences, numbers=numbers, negation=negation)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED_CHARACTERS else text[:_QUOTED_CHARACTERS] + "…")
