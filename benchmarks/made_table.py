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
_TABLE = 4_096
"""Number of word vectors; words share one if their hashes have the same remainder."""

_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_SILENT = frozenset({"the", "was", "for", "and", "not", "days", "after", "before"})


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
    last = ""
    for at in range(count):
        if at % 10 == 1:
            yield _reworded(last, at)
            continue
        subject = int(random.integers(THEMES * SUBJECTS))
        theme = first_theme + subject // SUBJECTS * _THEME_WORDS + random.permutation(_THEME_WORDS)[:4]
        own = first_subject + subject * _SUBJECT_WORDS + random.permutation(_SUBJECT_WORDS)[:5]
        words = [word(int(number)) for number in (*theme, *own, *random.choice(_COMMON_WORDS, 5, p=chances))]
        a, b, c = " ".join(words[:5]), " ".join(words[5:10]), " ".join(words[10:])
        last = f"The {a} was {'not ' * (at % 7 == 0)}{b} for {random.integers(2, 90)} days after the {c}."
        yield last


def _reworded(text: str, at: int) -> str:
    words = text.split()
    if at % 3:
        words[at % 4 + 1] = word(at % _COMMON_WORDS)
    else:
        words = [str(int(one) + 30) if one.isdigit() else one for one in words]
    return " ".join(words)


def write_table(path: Path, messages: Iterable[str]) -> None:
    """Write a CSV file with the columns ``number``, ``message``, ``team``, ``day``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["number", "message", "team", "day"])
        for at, message in enumerate(messages):
            day = f"2026-{at % 12 + 1:02}-{at % 28 + 1:02}"
            rows.writerow([f"T{at:06}", message, _TEAMS[at % len(_TEAMS)], day])


class MadeEncoder(Encoder):
    """Encoder that adds up a fixed vector for each word."""

    engine = "made"
    batch_tokens = 8_192

    def __init__(self, encoder: Encoder) -> None:
        self.identity = encoder.identity
        self.precision = encoder.precision
        self._words = np.random.default_rng(0).normal(size=(_TABLE, self.identity.dimensions)).astype(np.float32)

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Return unit vectors, shape ``(n, d)``."""
        vectors = np.empty((len(inputs), self.identity.dimensions), np.float32)
        for row, part in enumerate(inputs):
            words = part.text.lower().replace(".", " ").split()
            telling = [one for one in words if one not in _SILENT] or words
            vectors[row] = self._words[[zlib.crc32(one.encode()) % _TABLE for one in telling]].sum(axis=0)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def load(settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    """Load the default model for its identity and tokens, and return the synthetic encoder."""
    loaded = load_encoder(settings, progress)
    return LoadedEncoder(MadeEncoder(loaded.encoder), loaded.counter)
