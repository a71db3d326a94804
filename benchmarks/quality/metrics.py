"""Standard metrics from scipy and scikit-learn, on plain lists."""

from collections.abc import Sequence

from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, v_measure_score


def correlations(scores: Sequence[float], human: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's and Pearson's correlation."""
    return float(spearmanr(scores, human).statistic), float(pearsonr(scores, human).statistic)


def accuracy_and_macro_f1(predicted: Sequence[str | None], labels: Sequence[str]) -> tuple[float, float]:
    """Return the share of correct labels, and the unweighted mean of every label's F1."""
    predicted = [str(label) for label in predicted]
    return float(accuracy_score(labels, predicted)), float(f1_score(labels, predicted, average="macro"))


def coverage_and_accuracy(predicted: Sequence[str | None], labels: Sequence[str]) -> tuple[float, float]:
    """Return the share of texts with a label, and the share of those labels that are correct; NaN if there are none."""
    answered = [(guess, label) for guess, label in zip(predicted, labels, strict=True) if guess is not None]
    correct = sum(guess == label for guess, label in answered)
    return len(answered) / len(labels), correct / len(answered) if answered else float("nan")


def v_measure(groups: Sequence[Sequence[int]], labels: Sequence[str]) -> float:
    """Return the harmonic mean of homogeneity and completeness; a text in no group forms a group."""
    group_of = [len(groups) + position for position in range(len(labels))]
    for number, group in enumerate(groups):
        for position in group:
            group_of[position] = number
    return float(v_measure_score(labels, group_of))
