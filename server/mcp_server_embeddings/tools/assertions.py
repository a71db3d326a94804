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

_SHOWN_CHARACTERS = 200
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
        pair = _pair(self.embedder, left, right, band)
        differ = textual_differences(left, right)
        if _rank(pair.band) < _rank(band):
            raise AssertionError(_message(self.embedder, "similar", pair, (left, right), differ, f"{band} or closer"))
        if facts and (differ.numbers or differ.negation):
            raise AssertionError(_message(self.embedder, "similar", pair, (left, right), differ, "the same facts"))


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
        pair = _pair(self.embedder, left, right, band)
        if _rank(pair.band) >= _rank(band):
            differ = textual_differences(left, right)
            raise AssertionError(_message(self.embedder, "not_similar", pair, (left, right), differ, f"below {band}"))


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
        ranks = [_rank(hit.band) for hit in hits]
        wrong = next((at for at in range(1, len(ranks)) if ranks[at] > min(ranks[:at])), None)
        if wrong is not None:
            raise AssertionError(_ranking(query, texts, hits, f"text {wrong} is in a closer band than one before it"))
        if ranks[0] == ranks[-1]:
            raise AssertionError(_ranking(query, texts, hits, f"all are {hits[0].band}, so none comes first"))


def _pair(embedder: Embedder, left: str, right: str, band: Band) -> Pair:
    """Score two texts.

    Raises:
        InputError: A text is blank, or the band unknown.
    """
    if band not in get_args(Band):
        raise InputError(f"band is {band!r}; give one of {', '.join(BANDS)}")
    return similarity(embedder, [left], [right]).pairs[0]


def _rank(band: Band | None) -> int:
    return -1 if band is None else BANDS.index(band)


def _message(
    embedder: Embedder, name: str, pair: Pair, texts: tuple[str, str], differ: Differences, wanted: str
) -> str:
    edges = embedder.calibration().edges
    begins = ", ".join(f"{band} {edge:.3f}" for band, edge in zip(BANDS[1:], edges, strict=True))
    lines = [
        f"assert_{name}: the texts are {pair.band}; wanted: {wanted}",
        *(f"  {side:<5}  {_shown(text)}" for side, text in zip(("left", "right"), texts, strict=True)),
        f"  score  {pair.score} (percentile {pair.percentile}), band {pair.band}; bands begin at {begins}",
        *_facts(differ, "  "),
    ]
    return "\n".join(lines)


def _facts(differ: Differences, indent: str) -> list[str]:
    """Return message lines about differing numbers and negations."""
    fields = (("numbers", differ.numbers), ("negation", differ.negation))
    return [f"{indent}differs in {name}: {', '.join(values)}" for name, values in fields if values]


def _ranking(query: str, texts: Sequence[str], hits: Sequence[Hit], reason: str) -> str:
    lines = [f"assert_ranked: {reason}", f"  query  {_shown(query)}"]
    for at, (text, hit) in enumerate(zip(texts, hits, strict=True)):
        lines.append(f"  {at:<5}  {hit.score:.4f} {hit.band:<9}  {_shown(text)}")
        lines += _facts(_asked(textual_differences(query, text)), " " * 9)
    return "\n".join(lines)


def _asked(differ: Differences) -> Differences:
    """Drop facts that only the text has: an answer normally contains more than its question."""
    numbers, negation = (
        tuple([value for value in values if not value.startswith("∅")]) for values in (differ.numbers, differ.negation)
    )
    return replace(differ, numbers=numbers, negation=negation)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
