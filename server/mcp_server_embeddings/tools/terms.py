"""The words that tell one group of texts from the others."""

import math
from collections import Counter
from collections.abc import Sequence

_TERMS = 5
"""Terms of a group."""

_TERM_LENGTH = 30
"""Characters of a term at most; longer ones are addresses and keys."""


def distinguishing_terms(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """The five best terms of each group by class-based tf-idf, ties in alphabetical order.

    All texts of a group are one document: a term's weight is its share of the group's words times
    ``log(1 + A / f)``, with ``A`` the mean number of words of a group and ``f`` the term's count over all groups
    (Grootendorst 2022, "BERTopic", arXiv:2203.05794). English stop words and single characters are left out.

    Args:
        groups: The texts of each group.

    Returns:
        Up to five lower-case words for each group; none where its texts have no words.
    """
    # Imported here: it costs a second that only the tool that groups texts should pay.
    from sklearn.feature_extraction.text import CountVectorizer

    words_of = CountVectorizer(stop_words="english").build_analyzer()
    counts = [
        Counter(word for text in texts for word in words_of(text) if len(word) <= _TERM_LENGTH) for texts in groups
    ]
    everywhere: Counter[str] = sum(counts, Counter())
    mean = everywhere.total() / max(1, len(groups))
    return [_best(count, everywhere, mean) for count in counts]


def _best(count: "Counter[str]", everywhere: "Counter[str]", mean: float) -> list[str]:
    total = count.total()
    weights = {word: number / total * math.log(1 + mean / everywhere[word]) for word, number in count.items()}
    return sorted(weights, key=lambda word: (-weights[word], word))[:_TERMS]
