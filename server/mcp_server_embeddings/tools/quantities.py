"""Find numbers, quantities, times and dates in a text, in a canonical form in which equal ones compare equal."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from mcp_server_embeddings.languages import Language, tables

NUMBER = (
    r"\d{4}-\d\d-\d\d(?!\d)"
    r"|\d{1,2}/\d{1,2}/\d{4}(?!\d)"
    r"|\d{1,3}(?:[ \u00a0\u202f]\d{3}){1,4}(?![\d])"
    r"|[1-9]/[2-9](?![\d/])"
    r"|(?:(?<!\S)[-−])?\d++(?:[.,:'’]\d++)*+"
)
"""A number in digits. Each branch reads a character a bounded number of times, so matching takes linear time."""

_DIGIT = re.compile(r"\d")
_NON_DIGIT = re.compile(r"\D")
_MAX_DIGITS = 40
"""Maximum length of digits that are converted; longer ones are keys and are compared literally."""

_MAX_COMPARED = 100
"""Maximum number of unmatched quantities that are compared for similarity; more are too many to read."""

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)|(\d{1,2})[./](\d{1,2})[./](\d{4})")
_MINUS = "-−"
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?")
_TIME = re.compile(r"([01]?\d|2[0-3])[:.]([0-5]\d)")
_GROUPED = re.compile(r"\d{1,3}(?:([ \u00a0\u202f.,'’])\d{3})(?:\1\d{3})*")
_HALF_DAYS = {"am": 0, "a": 0, "pm": 12, "p": 12}
_AFTERNOON = ("午後", "下午", "晚上")
_CURRENCIES = frozenset({"€", "$", "£", "¥", "₽", "eur", "usd", "gbp", "jpy", "chf", "sek", "pln"})
_CONNECTIVES = frozenset({"and", "und", "et", "y", "e", "i", "och", "en"})
_VERSIONS = frozenset({"version", "v", "release"})
_AMBIGUOUS_WORDS = frozenset({"may", "march", "mars", "mar", "mon", "wed", "sat", "sun"})
_SHORT_SCALES = {"k": 1_000, "m": 1_000_000, "mn": 1_000_000, "bn": 1_000_000_000}
"""Scales that are read only in amounts of money."""

_HAN = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1_000, "万": 10_000, "萬": 10_000}
_COUNTERS = frozenset("个個年月日天时時点分秒倍人次瓶箱件元円本回階层名只条张台度歳岁枚冊杯")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number with its meaning.

    Attributes:
        value: Canonical form: ``1000``, ``0.5``, ``15:00``, ``month 5``.
        unit: Canonical unit or currency; empty if there is none.
        shown: The number as written in the text.
        other: Second reading of ambiguous digits (``1.500`` is 1500 or 1.5); empty otherwise.
        weak: Whether it may not be a number (``one``, ``a second``); it then counts only against another number.
    """

    value: str
    unit: str
    shown: str
    other: str = ""
    weak: bool = False


def quantities(tokens: list[str], words: list[str], language: Language) -> tuple[list[Quantity], set[int]]:
    """Find the quantities of a text.

    Args:
        tokens: The text's words, numbers and symbols as written.
        words: The tokens in lower case.
        language: The language of number words, months and weekdays.

    Returns:
        The quantities in order, and the positions of the tokens they consist of.
    """
    found: list[Quantity] = []
    used: set[int] = set()
    position = 0
    while position < len(words):
        word = words[position]
        if word not in language.quantity_words and word[0].isalpha():
            position += 1
            continue
        entries, end = _read_at(tokens, words, position, language)
        found += entries
        if entries:
            used.update(range(position, end))
            if position and words[position - 1] in _CURRENCIES:
                used.add(position - 1)
            elif entries[0].unit == "%" and words[position - 1] == "之":
                used.update(range(position - 3, position))
        position = end
    return found, used


def _read_at(tokens: list[str], words: list[str], position: int, language: Language) -> tuple[list[Quantity], int]:
    """Return the quantities that begin at a token, if any, and the position to continue at."""
    word = words[position]
    if word[0].isdigit() or word[0] in _MINUS:
        return _read_digits(tokens, words, position, language)
    if word in language.numbers or word in language.scales:
        return _read_words(tokens, words, position, language)
    if word in language.halves:
        return _half_of_unit(tokens, words, position)
    if word in _HAN or word in _HAN_SCALES:
        return _read_han(words, position)
    if word in language.calendar and _is_calendar(tokens, words, position):
        return [Quantity(language.calendar[word], "", tokens[position])], position + 1
    return [], position + 1


def unmatched(left: Sequence[Quantity], right: Sequence[Quantity]) -> tuple[list[Quantity], list[Quantity]]:
    """Return the quantities of each side that have no equal on the other side, in order."""
    lefts, rights = _without_equals(left, right), _without_equals(right, left)
    kept = []
    for index, quantity in enumerate(lefts):
        near = (at for at, other in enumerate(rights[:_MAX_COMPARED]) if _may_be_equal(quantity, other))
        match = next(near, None) if index < _MAX_COMPARED else None
        if match is None:
            kept.append(quantity)
        else:
            del rights[match]
    return _without_spare_weak(kept, len(rights)), _without_spare_weak(rights, len(kept))


def _without_equals(quantities: Sequence[Quantity], others: Sequence[Quantity]) -> list[Quantity]:
    """Return the quantities that remain after each is matched with at most one equal one of the others."""
    equal = Counter((other.value, other.unit) for other in others)
    kept = []
    for quantity in quantities:
        key = quantity.value, quantity.unit
        if equal[key] > 0:
            equal[key] -= 1
        else:
            kept.append(quantity)
    return kept


def _may_be_equal(one: Quantity, other: Quantity) -> bool:
    """Return whether two may be equal: one has no unit, or digits with two readings."""
    if one.unit and other.unit and one.unit != other.unit:
        return False
    return bool({one.value, one.other or one.value} & {other.value, other.other or other.value})


def _without_spare_weak(quantities: list[Quantity], others: int) -> list[Quantity]:
    """Return the quantities without weak ones that have no number on the other side to count against."""
    spare = others - sum(not quantity.weak for quantity in quantities)
    kept = []
    for quantity in quantities:
        if not quantity.weak or spare > 0:
            kept.append(quantity)
            spare -= quantity.weak
    return kept


def _read_digits(tokens: list[str], words: list[str], start: int, language: Language) -> tuple[list[Quantity], int]:
    """Read a number in digits with its context: am or pm, scale, unit, currency."""
    text = words[start]
    after = words[start + 1 : start + 4]
    if len(text) > _MAX_DIGITS:
        return [Quantity(text, "", text)], start + 1
    if date := _DATE.fullmatch(text):
        return _read_date(date, text), start + 1
    if time := _read_time(words, start):
        value, length = time
        return [Quantity(value, "", " ".join(tokens[start : start + length]))], start + length
    if start and words[start - 1] in _VERSIONS:
        return [Quantity(text, "", text)], start + 1
    value, other = _read_value(text)
    end = start + 1
    scale = language.scales.get(after[0], 0) if after else 0
    if after and start and words[start - 1] in _CURRENCIES:
        scale = _SHORT_SCALES.get(after[0], scale)
    if scale >= 1_000 and len(value) < _MAX_DIGITS and _DECIMAL.fullmatch(value):
        value, other, end = _canonical(Decimal(value) * scale), "", end + 1
    elif after and after[0] in ("st", "nd", "rd", "th", "º", "ª"):
        end += 1
    return _with_unit(tokens, words, (start, end), (value, other), weak=False)


def _read_date(match: re.Match[str], shown: str) -> list[Quantity]:
    year, month, day = match.group(1, 2, 3) if match.group(1) else match.group(6, 5, 4)
    if int(month) > 12 >= int(day):
        month, day = day, month
    return [Quantity(value, "", shown) for value in (str(int(year)), f"month {int(month)}", str(int(day)))]


def _read_time(words: list[str], start: int) -> tuple[str, int] | None:
    """Read a time of day; return it as ``hours:minutes`` with its number of tokens."""
    text, after = words[start], words[start + 1 : start + 4]
    clock = _TIME.fullmatch(text)
    hour = int(clock[1]) if clock else int(text) if text.isdecimal() and len(text) <= 2 else -1
    minute = int(clock[2]) if clock else 0
    if not 0 <= hour < 25:
        return None
    if after[:1] and after[0] in _HALF_DAYS and (len(after[0]) == 2 or after[1:2] == ["m"]):
        return f"{hour % 12 + _HALF_DAYS[after[0]]}:{minute:02}", 1 + len(after[0]) % 2 + 1
    if after[:1] and after[0] in ("uhr", "時", "点"):
        late = hour < 12 and "".join(words[max(0, start - 2) : start]) in _AFTERNOON
        return f"{hour + 12 * late}:{minute:02}", 2
    if after[:2] == ["o", "clock"]:
        return f"{hour}:{minute:02}", 3
    if after[:1] == ["h"] and len(after) > 1 and len(after[1]) == 2 and after[1].isdecimal() and after[2:3] != ["min"]:
        return f"{hour}:{after[1]}", 3
    return (f"{hour}:{minute:02}", 1) if clock and ":" in text else None


@lru_cache(maxsize=1 << 14)
def _read_value(text: str) -> tuple[str, str]:
    """Return the canonical form of digits, and their second reading or ``""``.

    A separator before exactly three digits separates thousands; before any other number of digits it is decimal. Of two
    different separators the last is decimal (CLDR: both ``1,234.5`` and ``1.234,5`` are in use).
    """
    if text[0] in _MINUS:
        return "-" + _read_value(text[1:])[0], ""
    if "/" in text:
        return _canonical(Decimal(text[0]) / Decimal(text[2])), ""
    if _GROUPED.fullmatch(text) and not text.startswith("0"):
        parts = _NON_DIGIT.split(text)
        return _canonical(Decimal("".join(parts))), _canonical(Decimal(".".join(parts))) if len(parts) == 2 else ""
    separators = _DIGIT.sub("", text)
    if not separators:
        return _canonical(Decimal(text)), ""
    whole, _, decimals = text.replace(separators[-1], ".").rpartition(".")
    if len(separators) == 1 and separators in ".,":
        return _canonical(Decimal(f"{whole}.{decimals}")), ""
    if separators[-1] in ".," and len(set(separators)) == 2 and separators.count(separators[-1]) == 1:
        return _canonical(Decimal(_NON_DIGIT.sub("", whole) + "." + decimals)), ""
    return text, ""


def _canonical(number: Decimal) -> str:
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def _read_words(tokens: list[str], words: list[str], start: int, language: Language) -> tuple[list[Quantity], int]:
    """Read a number in words, such as ``one hundred and twenty-five``."""
    total = current = 0
    position = end = start
    while position < len(words):
        word = words[position]
        scale = language.scales.get(word)
        if scale is not None and (position == start or current or scale > 100):
            total, current = (total, (current or 1) * 100) if scale == 100 else (total + (current or 1) * scale, 0)
        elif word in language.numbers and (position == start or _continues(current, total, language.numbers[word])):
            current = 80 if (current, language.numbers[word]) == (4, 20) else current + language.numbers[word]
        elif word in _CONNECTIVES and end > start and (current or total) and current % 10 == 0:
            position += 1
            continue
        else:
            break
        position += 1
        end = position
    weak = end == start + 1 and words[start] in language.weak
    return _with_unit(tokens, words, (start, end), (str(total + current), ""), weak=weak)


def _continues(current: int, total: int, value: int) -> bool:
    """Return whether a number word continues the number read so far."""
    if current % 100 == 0 and (current or total):
        return 0 < value < 100
    if (current, value) == (4, 20):
        return True
    return current % 10 == 0 < current and 0 < value < (20 if current % 100 in (60, 80) else 10)


def _read_han(words: list[str], start: int) -> tuple[list[Quantity], int]:
    """Read Chinese numerals; a single character counts only before a counter or with 百分之 (percent)."""
    end = start
    while end < len(words) and (words[end] in _HAN or words[end] in _HAN_SCALES):
        end += 1
    shown = "".join(words[start:end])
    if shown == "百" and words[end : end + 2] == ["分", "之"]:
        return [], end
    percent = "".join(words[max(0, start - 3) : start]) == "百分之"
    if end - start == 1 and not percent and (end == len(words) or words[end] not in _COUNTERS):
        return [], end
    total = section = digit = 0
    for character in shown:
        scale = _HAN_SCALES.get(character)
        if scale is None:
            digit = digit * 10 + _HAN[character] if len(shown) < _MAX_DIGITS else 0
        elif scale == 10_000:
            total, section, digit = (total + section + digit) * scale, 0, 0
        else:
            section, digit = section + (digit or 1) * scale, 0
    return [Quantity(str(total + section + digit), "%" if percent else "", shown)], end


def _with_unit(
    tokens: list[str], words: list[str], span: tuple[int, int], value: tuple[str, str], *, weak: bool
) -> tuple[list[Quantity], int]:
    """Return a number with the unit after it or the currency before it."""
    start, end = span
    units = tables().units
    after = words[end : end + 2]
    shown = " ".join(tokens[start:end])
    unit = ""
    if after and (unit := units.get("_".join(after), "") if len(after) == 2 else ""):
        end += 2
    elif after and (unit := units.get(after[0], "")):
        end += 1
    elif start and words[start - 1] in _CURRENCIES:
        unit = units[words[start - 1]]
        return [Quantity(value[0], unit, tokens[start - 1] + shown, value[1])], end
    return [Quantity(value[0], unit, " ".join(tokens[start:end]), value[1], weak)], end


def _half_of_unit(tokens: list[str], words: list[str], start: int) -> tuple[list[Quantity], int]:
    """Read ``half an hour``."""
    end = start + 1 + (words[start + 1 : start + 2] in (["a"], ["an"]))
    found, after = _with_unit(tokens, words, (start, end), ("0.5", ""), weak=False)
    return (found, after) if found[0].unit else ([Quantity("0.5", "", tokens[start])], start + 1)


def _is_calendar(tokens: list[str], words: list[str], position: int) -> bool:
    """Tell May from the modal verb, and March from a march, by the capital letter and an adjacent number."""
    word = words[position]
    if word not in _AMBIGUOUS_WORDS:
        return True
    beside = [*words[max(0, position - 1) : position], *words[position + 1 : position + 2]]
    capital = tokens[position][0].isupper()
    if word == "mars":
        return not capital
    return capital and (position > 0 or any(neighbour[0].isdigit() for neighbour in beside))
