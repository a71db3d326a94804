"""Analyse texts and queries into terms for keyword search.

The terms of a passage are the stems of its words in the passage's language, with accents folded. A name such as
``getUserName`` or ``max_retries`` yields a term for each of its parts; a name with inner capitals also yields one for
the whole. Scripts without spaces yield a term for each pair of adjacent letters. One more term marks the passage's
language, so that a query can be analysed in the languages that occur.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from Stemmer import Stemmer  # type: ignore[import-not-found]

from mcp_server_embeddings.languages import language_of, tables

STEMMERS = {
    "en": "porter",
    "de": "german",
    "fr": "french",
    "es": "spanish",
    "it": "italian",
    "pt": "portuguese",
    "nl": "dutch",
    "sv": "swedish",
    "pl": "polish",
    "ru": "russian",
    "ar": "arabic",
    "hi": "hindi",
}
"""Snowball's stemmer for each language that is detected; a text in any other language is treated as English."""

_DEFAULT = "en"

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
"""Letters of scripts that put no spaces between words, or attach particles without a space: Thai, Lao, Burmese, Khmer,
Japanese, Chinese, Korean."""

_INDIC = "\u0900-\u0963\u0966-\u0dff"
_MARKS = f"\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670{_INDIC}"
"""Accents and vowel signs, which ``\\w`` does not match."""

_LETTER = f"(?:[^\\W{_UNSPACED}]|[{_MARKS}])"
_ASCII_NAME = re.compile(r"\w+(?:\.\w+)*", re.ASCII)
_NAME = re.compile(rf"[{_UNSPACED}]+|{_LETTER}+(?:\.{_LETTER}+)*")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]")
_FIRST_UNSPACED = _UNSPACED[0]
_VOWEL_SIGNS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u17b4-\u17d3\u3099\u309a"
_CLUSTER = re.compile(f"[^{_VOWEL_SIGNS}][{_VOWEL_SIGNS}]*|[{_VOWEL_SIGNS}]+")
_ACCENT = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0640]")
_CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_SEPARATOR = re.compile(r"[._]+")
_QUOTED = re.compile(r'`[^`]+`|"[^"]+"')

_UNDECOMPOSED = str.maketrans({"ß": "ss", "ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe"})
"""Letters that Unicode does not decompose."""

_MAX_NAME = 100
"""Maximum characters of a name; one of this length or longer is data, such as base64, and is not split into parts."""

_MAX_STEMMED = 40

_MIN_KNOWN_SHARE = 0.1
"""Minimum share of known words for a passage in another language than English: source code has a few by chance."""

_MAX_WORDS = 64
"""Maximum number of different query words that are looked up."""


@dataclass(frozen=True, slots=True)
class QueryWord:
    """A word of a query: it matches a passage that has one of its ``terms``, or the words of one in sequence.

    Attributes:
        terms: Its stem in each language; for a name of several parts, their stems joined by spaces.
        parts: The stems of each part of such a name; else empty.
        prefix: Whether the terms are prefixes.
    """

    terms: tuple[str, ...]
    parts: tuple[tuple[str, ...], ...] = ()
    prefix: bool = False


def language_term(language: str) -> str:
    """Return the term that marks all passages in a language; no word yields it."""
    return f"={language}"


def passage_terms(text: str) -> list[str]:
    """Return the terms of a passage in order, preceded by the term of its language.

    Example:
        >>> passage_terms("Two foxes, getName")
        ['=en', 'two', 'fox', 'get', 'name', 'getnam']
    """
    names = list(_names(text))
    language = _passage_language(names)
    terms = [language_term(language)]
    for name in names:
        terms += (
            _run_terms(name)
            if name >= _FIRST_UNSPACED and _is_unspaced(name)
            else _name_terms(name[:_MAX_NAME], language)
        )
    return terms


def query_words(query: str, languages: Collection[str]) -> list[QueryWord]:
    """Return the different words of a query that are looked up.

    Function words are left out if the language is known, unless the query has no other words. Names, words in quotes
    or backticks, and words in capitals are always kept.

    Args:
        query: The search query.
        languages: The languages of the passages, in the order of ``STEMMERS``.
    """
    names = list(_names(query))
    language, _ = language_of((name.lower() for name in names), languages)
    function_words = tables().languages[language].function if language else frozenset[str]()
    quoted = set(_names(" ".join(_QUOTED.findall(query))))
    capitals = query.isupper()

    def is_content(name: str) -> bool:
        emphasised = name in quoted or (len(name) > 1 and name.isupper() and not capitals)
        return emphasised or name.lower() not in function_words

    kept = [name for name in names if is_content(name)] or names
    words: dict[QueryWord, None] = {}
    for name in dict.fromkeys(kept):
        words |= dict.fromkeys(_query_words(name, languages or [_DEFAULT], function_words))
        if len(words) >= _MAX_WORDS:
            break
    return list(words)[:_MAX_WORDS]


def _query_words(name: str, languages: Collection[str], function_words: Collection[str]) -> Iterator[QueryWord]:
    if _is_unspaced(name):
        *pairs, last = _run_terms(name)
        yield from map(QueryWord, ((pair,) for pair in pairs)) if pairs else [QueryWord((last,), prefix=True)]
    else:
        pieces = _pieces(name[:_MAX_NAME])
        parts = [part for piece in pieces for part in piece]
        wholes = [" ".join(_stem(part, language) for part in parts) for language in languages]
        if len(parts) == 1:
            yield QueryWord(tuple(dict.fromkeys(wholes)))
            return
        if len(pieces) == 1:
            wholes += [_stem("".join(parts), language) for language in languages]
        content_parts = [part for part in parts if part not in function_words]
        yield QueryWord(tuple(dict.fromkeys(wholes)), tuple(_stems(part, languages) for part in content_parts))


def _names(text: str) -> Iterator[str]:
    if text.isascii():
        yield from _ASCII_NAME.findall(text)
    else:
        yield from _NAME.findall(unicodedata.normalize("NFKC", text).replace("\u00ad", ""))


def _passage_language(names: list[str]) -> str:
    language, share = language_of((name.lower() for name in names), STEMMERS)
    return language if language and share >= _MIN_KNOWN_SHARE else _DEFAULT


def _run_terms(run: str) -> list[str]:
    """Return the terms of an unspaced run: each letter with the next, the last alone, so that each starts a term."""
    letters = _CLUSTER.findall(run)  # each with its vowel signs
    return ["".join(letters[at : at + 2]) for at in range(len(letters))]


@lru_cache(20_000)
def _name_terms(name: str, language: str) -> tuple[str, ...]:
    """Return the terms of a name in a passage."""
    pieces = _pieces(name)
    terms: list[str] = []
    for word in [part for piece in pieces for part in piece] + ["".join(piece) for piece in pieces if len(piece) > 1]:
        # A query may omit the accents, and a word without them may have a different stem.
        terms += dict.fromkeys((_stem(word, language), _stem(_without_accents(word), language)))
    return tuple(terms)


def _pieces(name: str) -> list[list[str]]:
    """Split a name at dots and underscores, and each piece into its parts at changes of case, in lower case."""
    if len(name) == _MAX_NAME:
        return [[name.lower()]]
    return [_CASE_CHANGE.sub(" ", piece).lower().split() for piece in _SEPARATOR.split(name) if piece] or [[name]]


def _is_unspaced(name: str) -> bool:
    return _UNSPACED_RUN.match(name) is not None


def _stems(word: str, languages: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_stem(word, language) for language in languages))


@lru_cache(20_000)
def _stem(word: str, language: str) -> str:
    if 2 < len(word) <= _MAX_STEMMED and not any(map(str.isdigit, word)):
        word = str(Stemmer(STEMMERS[language], 0).stemWord(word))  # a new instance: a stemmer is not thread-safe
    return _without_accents(word)


def _without_accents(word: str) -> str:
    """Remove the accents from a word."""
    if word.isascii():
        return word
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", word.translate(_UNDECOMPOSED))))
