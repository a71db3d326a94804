"""The standard metrics, by scipy and scikit-learn, on plain lists."""

from collections.abc import Mapping, Sequence

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, ndcg_score, v_measure_score


def correlations(scores: Sequence[float], human: Sequence[float]) -> tuple[float, float]:
    """Spearman's and Pearson's."""
    return float(spearmanr(scores, human).statistic), float(pearsonr(scores, human).statistic)


def accuracy_and_macro_f1(given: Sequence[str | None], wanted: Sequence[str]) -> tuple[float, float]:
    """Share of texts labelled rightly, and the unweighted mean of every label's F1."""
    given = [str(label) for label in given]
    return float(accuracy_score(wanted, given)), float(f1_score(wanted, given, average="macro"))


def coverage_and_accuracy(given: Sequence[str | None], wanted: Sequence[str]) -> tuple[float, float]:
    """Share of texts that were given a label, and share of those labelled rightly: not a number if there are none."""
    answered = [(label, right) for label, right in zip(given, wanted, strict=True) if label is not None]
    rightly = sum(label == right for label, right in answered)
    return len(answered) / len(wanted), rightly / len(answered) if answered else float("nan")


def v_measure(groups: Sequence[Sequence[int]], wanted: Sequence[str]) -> float:
    """Harmonic mean of homogeneity and completeness; a text that is in no group is a group of its own."""
    found = [len(groups) + position for position in range(len(wanted))]
    for number, group in enumerate(groups):
        for position in group:
            found[position] = number
    return float(v_measure_score(wanted, found))


def ndcg(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Normalised discounted cumulative gain of the first ``cut`` documents, as trec_eval's ``ndcg_cut``.

    A document's gain is its relevance itself (linear), the ideal that of all relevant documents, found or not. Those
    not among the first follow behind the cut, where they count for the ideal only.

    Args:
        ranking: Documents, best first.
        relevance: Above 0, by document.
        cut: 2 or more.
    """
    first = ranking[:cut]
    gains = [relevance.get(document, 0) for document in first] + [0] * (cut - len(first))
    gains += [gain for document, gain in relevance.items() if document not in first]
    return float(ndcg_score([gains], [range(len(gains), 0, -1)], k=cut))


def average_precision(ranking: Sequence[str], relevance: Mapping[str, int], cut: int) -> float:
    """Average precision of the first ``cut`` documents, as trec_eval's ``map_cut``; its mean over queries is MAP.

    The precisions at the relevant documents found, summed, over the number of all relevant ones: the library's
    average over those found, times their share.
    """
    found = [document in relevance for document in ranking[:cut]]
    if not any(found):
        return 0.0
    return float(average_precision_score(found, range(len(found), 0, -1))) * sum(found) / len(relevance)
