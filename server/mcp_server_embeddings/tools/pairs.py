"""Pairs of items: what differs in their words, and both sides to judge them by."""

from collections.abc import Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.differences import Differences, differences, textual_differences
from mcp_server_embeddings.tools.items import Items
from mcp_server_embeddings.tools.results import Differs, ShownPair

_COMPARED_CHARACTERS = 4_000
"""Of each side, for what differs."""

_SHOWN_CHARACTERS = 160
"""Of each side: enough to judge a pair by."""

_DECIMALS = 4

ScoredPair = tuple[int, int, float]
"""Left and right position, and the cosine of the two."""


def pair_differences(embedder: Embedder, lefts: Items, rights: Items, pairs: Sequence[ScoredPair]) -> list[Differences]:
    """Compare the words of pairs; see ``differences``.

    Args:
        embedder: The engine.
        lefts: The items of the left positions.
        rights: The items of the right positions.
        pairs: Pairs that are close in meaning.

    Raises:
        CollectionError: An item was removed meanwhile.
        OperatorError: The model cannot be used.
    """
    texts = zip(*_compared_texts(lefts, rights, pairs), strict=True)
    return differences(embedder, list(texts), cosines=[cosine for _, _, cosine in pairs])


def contradicting(items: Items, pairs: Sequence[ScoredPair]) -> list[ScoredPair]:
    """Return the pairs whose numbers or negations differ.

    Args:
        items: The items.
        pairs: Pairs that are close in meaning.

    Raises:
        CollectionError: An item was removed meanwhile.
    """
    found = map(textual_differences, *_compared_texts(items, items, pairs))
    return [pair for pair, differ in zip(pairs, found, strict=True) if differ.numbers or differ.negation]


def _compared_texts(lefts: Items, rights: Items, pairs: Sequence[ScoredPair]) -> tuple[list[str], list[str]]:
    """Return the texts of the left and of the right sides, as far as they are compared."""
    return (
        lefts.texts([left for left, _, _ in pairs], _COMPARED_CHARACTERS),
        rights.texts([right for _, right, _ in pairs], _COMPARED_CHARACTERS),
    )


def shown_pairs(
    lefts: Items, rights: Items, pairs: Sequence[ScoredPair], found: Sequence[Differences]
) -> list[ShownPair]:
    """Return pairs as an answer shows them.

    Args:
        lefts: The items of the left positions.
        rights: The items of the right positions.
        pairs: The pairs.
        found: What ``pair_differences`` found, one for each.
    """
    texts = zip(
        lefts.snippets([left for left, _, _ in pairs], _SHOWN_CHARACTERS),
        rights.snippets([right for _, right, _ in pairs], _SHOWN_CHARACTERS),
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
