"""Pairs of items: the differences in their words, and excerpts of both sides to judge them by."""

from collections.abc import Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.differences import Differences, differences, textual_differences
from mcp_server_embeddings.tools.items import Items
from mcp_server_embeddings.tools.results import Differs, ShownPair

_MAX_COMPARED_CHARACTERS = 4_000
"""Maximum number of characters of each side that are compared for differences."""

_MAX_SHOWN_CHARACTERS = 160
"""Maximum number of characters of each side in an answer: enough to judge a pair."""

_DECIMALS = 4

ScoredPair = tuple[int, int, float]
"""Left position, right position, and cosine of the two items."""


def pair_differences(embedder: Embedder, lefts: Items, rights: Items, pairs: Sequence[ScoredPair]) -> list[Differences]:
    """Return how the words of each pair differ, given pairs that are close in meaning; see ``differences``.

    Raises:
        CollectionError: An item was removed meanwhile.
        OperatorError: The model cannot be used.
    """
    texts = zip(*_compared_texts(lefts, rights, pairs), strict=True)
    return differences(embedder, list(texts), cosines=[cosine for _, _, cosine in pairs])


def contradicting(items: Items, pairs: Sequence[ScoredPair]) -> list[ScoredPair]:
    """Return the pairs whose numbers or negations differ, given pairs that are close in meaning.

    Raises:
        CollectionError: An item was removed meanwhile.
    """
    found = map(textual_differences, *_compared_texts(items, items, pairs))
    return [pair for pair, differ in zip(pairs, found, strict=True) if differ.numbers or differ.negation]


def _compared_texts(lefts: Items, rights: Items, pairs: Sequence[ScoredPair]) -> tuple[list[str], list[str]]:
    """Return the left and the right texts, cut to the length that is compared."""
    return (
        lefts.texts([left for left, _, _ in pairs], _MAX_COMPARED_CHARACTERS),
        rights.texts([right for _, right, _ in pairs], _MAX_COMPARED_CHARACTERS),
    )


def shown_pairs(
    lefts: Items, rights: Items, pairs: Sequence[ScoredPair], found: Sequence[Differences]
) -> list[ShownPair]:
    """Return pairs in the form of answers; ``found`` is the result of ``pair_differences`` for them."""
    texts = zip(
        lefts.snippets([left for left, _, _ in pairs], _MAX_SHOWN_CHARACTERS),
        rights.snippets([right for _, right, _ in pairs], _MAX_SHOWN_CHARACTERS),
        strict=True,
    )
    return [
        ShownPair(
            left=lefts.ids[left],
            right=rights.ids[right],
            score=round(cosine, _DECIMALS),
            texts=list(both),
            differs=Differs.of(differ),
        )
        for (left, right, cosine), both, differ in zip(pairs, texts, found, strict=True)
    ]
