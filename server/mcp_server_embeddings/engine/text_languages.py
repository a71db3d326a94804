"""Detect that texts are mostly in a language that the model was not trained for. Only counts are kept, no texts."""

import functools
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence

from mcp_server_embeddings.engine.catalogue import known
from mcp_server_embeddings.languages import language_of

_NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "sv": "Swedish",
    "pl": "Polish",
}
"""Languages in Latin script, which are distinguished by their function words."""

_SCRIPTS = {"CJK": "Chinese or Japanese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
"""Languages of scripts that only one or two languages use, by the first word of their letters' Unicode names. Other
scripts are reported by their own name."""

_SAMPLE_TEXTS = 8
_SAMPLE_CHARACTERS = 160
"""Number of texts of each call that are examined, and length of the beginning examined: half a millisecond in all."""

_MIN_FUNCTION_WORDS = 0.2
"""Share of a text's words that must be function words of one language. Prose has twice as many, code and names none."""

_MIN_TEXTS = 20
_MAX_TEXTS = 400
"""Number of counted texts that a note requires, and number above which all counts are halved."""

_WORD = re.compile(r"[^\W\d_]+")


class TextLanguages:
    """Counts the languages of texts as they are embedded. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._noted = False
        self._lock = threading.Lock()

    def see(self, texts: Sequence[str]) -> None:
        """Count the languages of a sample of these texts."""
        chosen = texts[:: max(1, -(-len(texts) // _SAMPLE_TEXTS))]
        found = Counter(name for text in chosen if (name := language(text[:_SAMPLE_CHARACTERS])))
        with self._lock:
            self._counts += found
            if self._counts.total() > _MAX_TEXTS:
                self._counts = Counter({name: count // 2 for name, count in self._counts.items()})

    def count(self) -> int:
        """Return the number of texts counted."""
        with self._lock:
            return self._counts.total()

    def note(self, model: str) -> list[str]:
        """Return a note, once, if most texts are not in English and the model was trained for English alone.

        Args:
            model: Name of the model; there is no note for models that are not in the catalogue.
        """
        with self._lock:
            counts, noted = Counter(self._counts), self._noted
        foreign = counts.total() - counts["English"]
        if noted or counts.total() < _MIN_TEXTS or foreign <= counts["English"]:
            return []
        entry = known(model)
        if entry is None or entry.languages != "English":
            return []
        self._noted = True
        name = next(name for name, _ in counts.most_common() if name != "English")
        reason = f"{entry.id} was trained for English, and most texts are not in English (many in {name})"
        return [f"{reason}; `pull multilingual` fetches a model of many languages, --model multilingual serves with it"]


def language(text: str) -> str | None:
    """Return the language of a text, or the name of its script; None if neither can be determined.

    Example:
        >>> language("Die Rechnung ist noch nicht bezahlt."), language("Счёт не оплачен"), language("x = f(y)")
        ('German', 'Cyrillic script', None)
    """
    letters = [letter for letter in text if letter.isalpha()]
    scripts = Counter(_script(letter) for letter in letters if letter > "\u007f")
    scripts["LATIN"] += len(letters) - scripts.total()
    script, count = scripts.most_common(1)[0]
    if script != "LATIN":
        return _SCRIPTS.get(script, f"{script.capitalize()} script") if 2 * count > len(letters) else None
    code, share = language_of((word.lower() for word in _WORD.findall(text)), _NAMES)
    return _NAMES[code] if code is not None and share >= _MIN_FUNCTION_WORDS else None


@functools.cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "UNKNOWN").split()[0]
