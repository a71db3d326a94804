"""What is known of the words of each language: function words, negations, numbers, opposites."""

import re
import tomllib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice

_GUESSED_FROM = 200
"""Words at the beginning of a text that tell its language."""

_OTHER_SIDE = 0.5
"""Weight of the other text's function words: a few words alone may hold none."""

HAN_NUMERALS = "零〇一二三四五六七八九十百千万萬两兩"
"""Read in every language."""

_TENS = range(30, 100, 10)


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """What is known of one language; every word in lower case.

    Attributes:
        function: Words without content of their own.
        light: Words with little content of their own: a comparison passes over them, too.
        negation: Words that deny.
        concord: Words that deny only where no word of ``negation`` does.
        numbers: Number words and their values below 1,000, hundred apart.
        weak: Of these, articles, ordinals and inflected forms: they count only against another number.
        halves: Words for 0.5.
        irregular: Irregular forms and their base form.
        scales: Words for hundred, thousand and million.
        calendar: Months and weekdays, such as ``month 1`` for January.
        quantity_words: All words that a quantity may begin with.
        opposites: Per word its classes as ``(group, class)``; two classes of one group are a contrast.
        cues: Denying characters of a script without spaces; its group 1 is what denies.
        nouns_capitalised: Whether a capital tells no name, as in German.
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

    Endings and prefixes are those of all languages together.
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
    languages = {code: _language(entry) for code, entry in data.items()}
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
        other: Those of the text it is compared with; each decides for the other in doubt.

    Returns:
        The most likely language of each; English where nothing tells.

    Example:
        >>> "nicht" in languages_of(["die", "lampe", "ist", "aus"], [])[0].negation
        True
    """
    languages = tables().languages
    votes = _votes(one), _votes(other)
    return languages[_winner(*votes)], languages[_winner(*reversed(votes))]


def language_of(words: Iterable[str], among: Container[str]) -> tuple[str | None, float]:
    """Guess the language of a text by itself.

    Args:
        words: Its words in lower case. Single Latin letters tell nothing: they are as often variables.
        among: Codes of the languages that it may have.

    Returns:
        The code of the language with most known words, English where equal, and the share of these words; None where
        nothing tells.
    """
    telling = [word for word in islice(words, _GUESSED_FROM) if len(word) > 1 or word > "\u007f"]
    votes = {"en": 0, **_votes(telling)}
    best = max((code for code in votes if code in among), key=lambda code: votes[code], default="en")
    return (best, votes[best] / len(telling)) if votes[best] else (None, 0.0)


def _votes(words: Sequence[str]) -> dict[str, int]:
    """Count the known words of each language at the beginning of a text."""
    spoken_in = tables().spoken_in
    votes: dict[str, int] = {}
    for word in words[:_GUESSED_FROM]:
        for code in spoken_in.get(word) or (_by_script(word) if word[0] >= "\u0400" else ()):
            votes[code] = votes.get(code, 0) + 1
    return votes


def _winner(votes: Mapping[str, int], others: Mapping[str, int]) -> str:
    if len(votes) == 1:
        return next(iter(votes))
    best, most = "en", 0.0
    for code in ("en", *votes) if votes else ("en", *others):
        count = votes.get(code, 0) + _OTHER_SIDE * others.get(code, 0)
        if count > most:
            best, most = code, count
    return best


def _by_script(word: str) -> tuple[str, ...]:
    first = word[0]
    if "\u3040" <= first <= "\u30ff":
        return ("ja", "ja", "ja")  # Han characters beside it vote for Chinese
    if "\u3400" <= first <= "\u9fff":
        return ("zh",)
    if "\uac00" <= first <= "\ud7a3":
        return ("ko",)
    return ("ru",) if first <= "\u04ff" else ()


def _language(entry: Mapping[str, str | list[str]]) -> Language:
    words = {name: value.split() for name, value in entry.items() if isinstance(value, str)}
    numbers, weak = _numbers(words)
    opposites: dict[str, tuple[tuple[int, int], ...]] = {}
    for group, classes in enumerate(entry.get("opposites", ())):
        for which, members in enumerate(classes.split("|")):
            for word in members.split():
                opposites[word] = (*opposites.get(word, ()), (group, which))
    scales = dict(_valued(words.get("scales", ()), (100, 1_000, 1_000_000)))
    halves = frozenset(words.get("half", ()))
    calendar = {
        word: f"{kind} {value}"
        for kind, name in (("month", "months"), ("weekday", "weekdays"))
        for word, value in _valued(words.get(name, ()), range(1, 13))
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
        quantity_words=frozenset({*numbers, *scales, *halves, *calendar, *HAN_NUMERALS}),
        opposites=opposites,
        cues=_cues(words) if "cues" in words else None,
        nouns_capitalised="nouns_capitalised" in words,
    )


def _numbers(words: Mapping[str, list[str]]) -> tuple[dict[str, int], frozenset[str]]:
    """Return the values of number words, and those that are weak."""
    values = (0, *range(2, 21), *_TENS)
    entries = words.get("numbers", [])
    strong = {alternative.removeprefix("=") for entry in entries for alternative in entry.split("/=")[1:]}
    strong |= {entry.split("/")[0] for entry in entries}
    ones = words.get("one", [])
    numbers = dict(_valued([entry.replace("/=", "/") for entry in entries], values))
    weak = frozenset(ones) | (frozenset(numbers) - strong)
    numbers |= dict.fromkeys(ones, 1) | dict(_valued(words.get("hundreds", ()), range(200, 1_000, 100)))
    units = {word: value for word, value in numbers.items() if 0 < value < 10}
    for pattern in words.get("compounds", ()):
        tens = {word: value for word, value in numbers.items() if value in (20, *_TENS)}
        numbers |= {pattern.format(u=u, t=t): tens[t] + units[u] for t in tens for u in units}
        numbers |= {u + words["scales"][0].split("/")[0]: units[u] * 100 for u in units}
    return numbers, weak


def _valued(entries: Iterable[str], values: Iterable[int]) -> Iterable[tuple[str, int]]:
    return ((word, value) for entry, value in zip(entries, values, strict=False) for word in entry.split("/"))


def _cues(words: Mapping[str, list[str]]) -> re.Pattern[str]:
    """Build a pattern that passes over the exceptions and captures the cues."""
    exceptions, cues = ("|".join(map(re.escape, words.get(name, ["\0"]))) for name in ("exceptions", "cues"))
    return re.compile(f"{exceptions}|({cues})")
