"""Standard metrics from scipy and scikit-learn, on plain lists."""

from collections.abc import Sequence

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, v_measure_score


def correlations(scores: Sequence[float], human: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's and Pearson's correlation."""
    return float(spearmanr(scores, human).statistic), float(pearsonr(scores, human).statistic)


def accuracy_and_macro_f1(given: Sequence[str | None], wanted: Sequence[str]) -> tuple[float, float]:
    """Return the share of correct labels, and the unweighted mean of every label's F1."""
    given = [str(label) for label in given]
    return float(accuracy_score(wanted, given)), float(f1_score(wanted, given, average="macro"))


def coverage_and_accuracy(given: Sequence[str | None], wanted: Sequence[str]) -> tuple[float, float]:
    """Return the share of texts with a label, and the share of those labels that are correct; NaN if there are none."""
    answered = [(label, right) for label, right in zip(given, wanted, strict=True) if label is not None]
    rightly = sum(label == right for label, right in answered)
    return len(answered) / len(wanted), rightly / len(answered) if answered else float("nan")


def v_measure(groups: Sequence[Sequence[int]], wanted: Sequence[str]) -> float:
    """Return the harmonic mean of homogeneity and completeness; a text in no group forms a group."""
    found = [len(groups) + position for position in range(len(wanted))]
    for number, group in enumerate(groups):
        for position in group:
            found[position] = number
    return float(v_measure_score(wanted, found))
