"""Word lists of each language: function words, negations, numbers and opposites."""

import re
import tomllib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice

_SAMPLE_WORDS = 200
"""Number of words at the beginning of a text from which its language is guessed."""

_OTHER_WEIGHT = 0.5
"""Weight of the other text's words: a short text may contain no function word."""

_HAN_NUMERALS = "零〇一二三四五六七八九十百千万萬两兩"
"""Recognised in every language."""

_TENS = range(30, 100, 10)


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """The word lists of one language; every word is in lower case.

    Attributes:
        function: Words without content.
        light: Words with little content, which comparisons ignore too.
        negation: Words that negate.
        concord: Words that negate only if the text has no word of ``negation`` (negative concord).
        numbers: Number words with their values below 1,000, excluding the word for hundred.
        weak: Articles, ordinals and inflected forms in ``numbers``: they count only against another number.
        halves: Words for 0.5.
        irregular: Irregular forms with their base form.
        scales: Words for hundred, thousand and million, with their values.
        calendar: Names of months and weekdays; the value of January is ``month 1``.
        quantity_words: All words that a quantity can begin with.
        opposites: The ``(group, class)`` pairs of each word; two classes of the same group contrast.
        cues: Pattern for a script without spaces; its group 1 matches the characters that negate.
        nouns_capitalised: Whether all nouns are capitalised, as in German, so that a capital does not mark a name.
    """

    function: frozenset[str]
    light: frozenset[str]
    negation: frozenset[str]
    concord: frozenset[str]
    numbers: Mapping[str, int]
    weak: frozenset[str]
    halves: frozenset[str]
    irregular: Mapping[str, str]
    scales: Mapping[str, int]
    calendar: Mapping[str, str]
    quantity_words: frozenset[str]
    opposites: Mapping[str, tuple[tuple[int, int], ...]]
    cues: re.Pattern[str] | None
    nouns_capitalised: bool


@dataclass(frozen=True, slots=True)
class Tables:
    """All languages by code, units of measurement by word, and the languages of each known word.

    Endings and prefixes are pooled over all languages.
    """

    languages: Mapping[str, Language]
    units: Mapping[str, str]
    spoken_in: Mapping[str, tuple[str, ...]]
    endings: frozenset[str]
    denying_prefixes: tuple[str, ...]


@cache
def tables() -> Tables:
    """Read ``data/differences.toml`` once."""
    text = (files("mcp_server_embeddings") / "data" / "differences.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    endings, prefixes = data.pop("endings").split(), data.pop("denying_prefixes").split()
    units = {word: unit for unit, words in data.pop("units").items() for word in words.split()}
    languages = {code: _parse_language(entry) for code, entry in data.items()}
    spoken_in: dict[str, tuple[str, ...]] = {}
    for code, language in languages.items():
        for word in {
            *language.function,
            *language.light,
            *language.negation,
            *language.numbers,
            *language.calendar,
            *language.opposites,
        }:
            spoken_in[word] = (*spoken_in.get(word, ()), code)
    return Tables(languages, units, spoken_in, frozenset(endings), tuple(prefixes))


def languages_of(one: Sequence[str], other: Sequence[str]) -> tuple[Language, Language]:
    """Guess the languages of two texts from their scripts and their function words.

    Args:
        one: The words of a text in lower case.
        other: The words of the text it is compared with. Each text's words also count for the other, at half weight.

    Returns:
        The most likely language of each; English if neither contains a known word.

    Example:
        >>> "nicht" in languages_of(["die", "lampe", "ist", "aus"], [])[0].negation
        True
    """
    languages = tables().languages
    votes = _count_votes(one), _count_votes(other)
    return languages[_winner(*votes)], languages[_winner(*reversed(votes))]


def language_of(words: Iterable[str], among: Container[str]) -> tuple[str | None, float]:
    """Guess the language of a single text.

    Args:
        words: Its words in lower case. Single ASCII letters are ignored: they are as often variables.
        among: Codes of the candidate languages.

    Returns:
        The code of the language with the most known words (English in a tie) and their share of all words; None and 0
        if no word is known.
    """
    counted = [word for word in islice(words, _SAMPLE_WORDS) if len(word) > 1 or word > "\u007f"]
    votes = {"en": 0, **_count_votes(counted)}
    best = max((code for code in votes if code in among), key=lambda code: votes[code], default="en")
    return (best, votes[best] / len(counted)) if votes[best] else (None, 0.0)


def _count_votes(words: Sequence[str]) -> dict[str, int]:
    """Count the known words of each language at the beginning of a text."""
    spoken_in = tables().spoken_in
    votes: dict[str, int] = {}
    for word in words[:_SAMPLE_WORDS]:
        for code in spoken_in.get(word) or (_by_script(word) if word[0] >= "\u0400" else ()):
            votes[code] = votes.get(code, 0) + 1
    return votes


def _winner(votes: Mapping[str, int], others: Mapping[str, int]) -> str:
    if len(votes) == 1:
        return next(iter(votes))
    best, best_count = "en", 0.0
    for code in ("en", *votes) if votes else ("en", *others):
        count = votes.get(code, 0) + _OTHER_WEIGHT * others.get(code, 0)
        if count > best_count:
            best, best_count = code, count
    return best


def _by_script(word: str) -> tuple[str, ...]:
    first = word[0]
    if "\u3040" <= first <= "\u30ff":
        return ("ja", "ja", "ja")  # outweighs the Han characters of a Japanese text, which vote for Chinese
    if "\u3400" <= first <= "\u9fff":
        return ("zh",)
    if "\uac00" <= first <= "\ud7a3":
        return ("ko",)
    return ("ru",) if first <= "\u04ff" else ()


def _parse_language(entry: Mapping[str, str | list[str]]) -> Language:
    words = {name: value.split() for name, value in entry.items() if isinstance(value, str)}
    numbers, weak = _number_words(words)
    opposites: dict[str, tuple[tuple[int, int], ...]] = {}
    for group, classes in enumerate(entry.get("opposites", ())):
        for index, members in enumerate(classes.split("|")):
            for word in members.split():
                opposites[word] = (*opposites.get(word, ()), (group, index))
    scales = dict(_with_values(words.get("scales", ()), (100, 1_000, 1_000_000)))
    halves = frozenset(words.get("half", ()))
    calendar = {
        word: f"{kind} {value}"
        for kind, name in (("month", "months"), ("weekday", "weekdays"))
        for word, value in _with_values(words.get(name, ()), range(1, 13))
    }
    return Language(
        function=frozenset(words.get("function", ())),
        light=frozenset(words.get("light", ())),
        negation=frozenset(words.get("negation", ())),
        concord=frozenset(words.get("concord", ())),
        numbers=numbers,
        weak=weak,
        halves=halves,
        irregular={form: forms.split("/")[0] for forms in words.get("irregular", ()) for form in forms.split("/")[1:]},
        scales=scales,
        calendar=calendar,
        quantity_words=frozenset({*numbers, *scales, *halves, *calendar, *_HAN_NUMERALS}),
        opposites=opposites,
        cues=_cue_pattern(words) if "cues" in words else None,
        nouns_capitalised="nouns_capitalised" in words,
    )


def _number_words(words: Mapping[str, list[str]]) -> tuple[dict[str, int], frozenset[str]]:
    """Return the values of number words, and the weak ones among them."""
    values = (0, *range(2, 21), *_TENS)
    entries = words.get("numbers", [])
    strong = {alternative.removeprefix("=") for entry in entries for alternative in entry.split("/=")[1:]}
    strong |= {entry.split("/")[0] for entry in entries}
    ones = words.get("one", [])
    numbers = dict(_with_values([entry.replace("/=", "/") for entry in entries], values))
    weak = frozenset(ones) | (frozenset(numbers) - strong)
    numbers |= dict.fromkeys(ones, 1) | dict(_with_values(words.get("hundreds", ()), range(200, 1_000, 100)))
    units = {word: value for word, value in numbers.items() if 0 < value < 10}
    for pattern in words.get("compounds", ()):
        tens = {word: value for word, value in numbers.items() if value in (20, *_TENS)}
        numbers |= {pattern.format(u=u, t=t): tens[t] + units[u] for t in tens for u in units}
        numbers |= {u + words["scales"][0].split("/")[0]: units[u] * 100 for u in units}
    return numbers, weak


def _with_values(entries: Iterable[str], values: Iterable[int]) -> Iterable[tuple[str, int]]:
    return ((word, value) for entry, value in zip(entries, values, strict=False) for word in entry.split("/"))


def _cue_pattern(words: Mapping[str, list[str]]) -> re.Pattern[str]:
    """Build a pattern that skips the exceptions and captures the cues."""
    exceptions, cues = ("|".join(map(re.escape, words.get(name, ["\0"]))) for name in ("exceptions", "cues"))
    return re.compile(f"{exceptions}|({cues})")
