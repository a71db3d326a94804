"""Tell what the values of a column are: texts, words, numbers or booleans."""

import math
import re
from collections.abc import Callable, Sequence

from mcp_server_embeddings.reading.cells import Cell

_PROSE_WORDS = 3
_CJK_PER_WORD = 2
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
"""Scripts without spaces between words (Chinese, Japanese, Thai), and Korean, whose words are short."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
"""Excludes ``007``, ``+49`` and twenty digits: these are codes, which conversion to a number would change."""

_MISSING = frozenset({"", "-", "na", "n/a", "nan", "null", "none"})
_BOOLEANS = {"true": True, "false": False}


def holds_texts(values: Sequence[str]) -> bool:
    """Tell whether most values have three words or more, and at least one in 5 is distinct."""
    return 5 * len(set(values)) >= len(values) and 2 * sum(map(_is_prose, values)) >= len(values)


def holds_words(values: Sequence[str]) -> bool:
    """Tell whether most values have a letter and are not addresses, and at least one in 2 is distinct."""
    return 2 * len(set(values)) >= len(values) and 2 * sum(map(_is_word, values)) >= len(values)


def converted(values: list[Cell]) -> list[Cell]:
    """Convert strings to numbers or booleans if every value has that form, except missing ones; see ``Table.typed``."""
    normalised = {value: value.strip().casefold() for value in values if isinstance(value, str)}
    present = {text for text in normalised.values() if text not in _MISSING}
    convert: Callable[[str], Cell] | None = None
    if present and present <= _BOOLEANS.keys():
        convert = _BOOLEANS.__getitem__
    elif present and all(map(_is_number, present)):
        convert = _number
    cells: dict[str, Cell] = {
        value: (None if text in _MISSING else convert(text)) if convert else (value if text else None)
        for value, text in normalised.items()
    }
    return [cells[value] if isinstance(value, str) else value for value in values]


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text))


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _is_prose(value: str) -> bool:
    words = [word for word in value.split() if any(map(str.isalpha, word))]
    return len(words) + len(_CJK.findall(value)) // _CJK_PER_WORD >= _PROSE_WORDS


def _is_word(value: str) -> bool:
    return any(map(str.isalpha, value)) and "://" not in value
