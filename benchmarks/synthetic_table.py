"""A table of synthetic texts, and an encoder that needs no model, to measure the work of tools apart from the model.

The texts have 25 themes of 40 subjects each. Every theme and subject has words that occur nowhere else; the other words
can occur in every text. Every tenth text is the previous one with a word or a number replaced. The encoder has the
identity, the tokens and the calibration of the default model, and adds up a fixed vector for each word, so texts that
share words are near each other.
"""

import csv
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mcp_server_embeddings import Settings
from mcp_server_embeddings.engine.encoder import Encoder, EncoderInput, LoadedEncoder
from mcp_server_embeddings.engine.registry import load_encoder
from mcp_server_embeddings.vectors.scores import Vectors

THEMES, SUBJECTS = 25, 40
_THEME_WORDS, _SUBJECT_WORDS, _COMMON_WORDS = 5, 7, 20_000
_TEAMS = ("sales", "support", "billing", "shipping")
_WORD_VECTORS = 4_096
"""Number of word vectors; words share one if their hashes have the same remainder."""

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_STOP_WORDS = frozenset({"the", "was", "for", "and", "not", "days", "after", "before"})


def word(number: int) -> str:
    """Return one of 343,000 words of three syllables."""
    high, low = divmod(number * 7_919 % 343_000, 70)
    return _SYLLABLES[high // 70] + _SYLLABLES[high % 70] + _SYLLABLES[low]


def texts(count: int, seed: int = 0) -> Iterator[str]:
    """Yield texts of 20 words."""
    random = np.random.default_rng([seed, 7])
    first_theme = _COMMON_WORDS
    first_subject = first_theme + THEMES * _THEME_WORDS
    chances = 1 / np.arange(1, _COMMON_WORDS + 1)
    chances /= chances.sum()
    previous = ""
    for index in range(count):
        if index % 10 == 1:
            yield _reworded(previous, index)
            continue
        subject = int(random.integers(THEMES * SUBJECTS))
        theme_words = first_theme + subject // SUBJECTS * _THEME_WORDS + random.permutation(_THEME_WORDS)[:4]
        subject_words = first_subject + subject * _SUBJECT_WORDS + random.permutation(_SUBJECT_WORDS)[:5]
        common_words = random.choice(_COMMON_WORDS, 5, p=chances)
        words = [word(int(number)) for number in (*theme_words, *subject_words, *common_words)]
        a, b, c = " ".join(words[:5]), " ".join(words[5:10]), " ".join(words[10:])
        previous = f"The {a} was {'not ' * (index % 7 == 0)}{b} for {random.integers(2, 90)} days after the {c}."
        yield previous


def _reworded(text: str, index: int) -> str:
    words = text.split()
    if index % 3:
        words[index % 4 + 1] = word(index % _COMMON_WORDS)
    else:
        words = [str(int(token) + 30) if token.isdigit() else token for token in words]
    return " ".join(words)


def write_table(path: Path, messages: Iterable[str]) -> None:
    """Write a CSV file with the columns ``number``, ``message``, ``team``, ``day``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["number", "message", "team", "day"])
        for index, message in enumerate(messages):
            day = f"2026-{index % 12 + 1:02}-{index % 28 + 1:02}"
            rows.writerow([f"T{index:06}", message, _TEAMS[index % len(_TEAMS)], day])


class SyntheticEncoder(Encoder):
    """Encoder that adds up a fixed vector for each word."""

    engine = "synthetic"
    batch_tokens = 8_192

    def __init__(self, encoder: Encoder) -> None:
        self.identity = encoder.identity
        self.precision = encoder.precision
        self._words = np.random.default_rng(0).normal(size=(_WORD_VECTORS, self.identity.dimensions)).astype(np.float32)

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Return unit vectors, shape ``(n, d)``."""
        vectors = np.empty((len(inputs), self.identity.dimensions), np.float32)
        for row, part in enumerate(inputs):
            words = part.text.lower().replace(".", " ").split()
            content_words = [token for token in words if token not in _STOP_WORDS] or words
            numbers = [zlib.crc32(token.encode()) % _WORD_VECTORS for token in content_words]
            vectors[row] = self._words[numbers].sum(axis=0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def load(settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    """Load the default model for its identity and tokens, and return the synthetic encoder."""
    loaded = load_encoder(settings, progress)
    return LoadedEncoder(SyntheticEncoder(loaded.encoder), loaded.counter)
