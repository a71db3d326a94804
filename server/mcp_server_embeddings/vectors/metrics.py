"""Judge rankings by which documents are relevant."""

from collections.abc import Mapping, Sequence


def ndcg(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Return the normalised discounted cumulative gain of the first documents, as trec_eval's ``ndcg_cut``.

    A document's gain is its relevance itself (linear), the ideal that of all relevant documents, found or not
    (Järvelin and Kekäläinen 2002).

    Args:
        ranking: Documents, best first.
        relevance: Above 0, by document; one or more.
        cut: How many documents count; 2 or more.

    Example:
        >>> ndcg(["b", "a"], {"a": 1}, 10)
        0.6309297535714575
    """
    from sklearn.metrics import ndcg_score

    first = ranking[:cut]
    gains = [relevance.get(document, 0) for document in first] + [0] * (cut - len(first))
    gains += [gain for document, gain in relevance.items() if document not in first]
    return float(ndcg_score([gains], [range(len(gains), 0, -1)], k=cut))


def recall(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Return the share of the relevant documents that are among the first ``cut``."""
    return sum(document in relevance for document in ranking[:cut]) / len(relevance)


def reciprocal_rank(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Return 1 over the place of the first relevant document, 0 where none is among the first ``cut``.

    Its mean over queries is the MRR.
    """
    places = (place for place, document in enumerate(ranking[:cut], 1) if document in relevance)
    return 1 / next(places, float("inf"))
