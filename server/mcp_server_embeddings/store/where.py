"""Filters on metadata as SQL. Values travel as parameters, never as SQL."""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcp_server_embeddings.errors import InputError

Operand = str | int | float | bool | None
Where = Mapping[str, object]
"""Each name with a value, a list of values of which one must fit, or an object of comparisons. All must hold."""

_COMPARISONS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "in": "IN"}
_MOST_CONDITIONS = 16
_MOST_VALUES = 500
"""Of one ``in``; SQLite takes 999 parameters in old builds."""

EXAMPLE = '{"language": "en", "year": {"gte": 2020, "lt": 2025}, "kind": ["note", "mail"]}'


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on chunks: an SQL query for the rows of their documents, and its parameters."""

    sql: str
    parameters: tuple[Operand, ...]


def filtered(collection: int, where: Where | None) -> Filter | None:
    """The filter of one collection; None where nothing is filtered.

    Args:
        collection: Its row.
        where: See ``Where``. The name ``path`` is the file a chunk came from.

    Raises:
        InputError: A comparison is unknown or a value is no scalar.
    """
    if not where:
        return None
    conditions = [condition for name, wanted in where.items() for condition in _conditions(name, wanted)]
    if len(conditions) > _MOST_CONDITIONS:
        raise InputError(f"where has {len(conditions)} conditions; at most {_MOST_CONDITIONS}")
    parts, parameters = [], []
    for name, comparison, values in conditions:
        condition, given = _condition(comparison, values)
        parts.append(f"SELECT document FROM attributes WHERE collection = ? AND name = ? AND {condition}")
        parameters += [collection, name, *given]
    return Filter(" INTERSECT ".join(parts), tuple(parameters))


def chunk_rows(database: sqlite3.Connection, condition: Filter) -> list[int]:
    """Rows of the chunks that fit, ascending."""
    query = f"SELECT row FROM chunks WHERE document IN ({condition.sql}) ORDER BY row"
    return [row for (row,) in database.execute(query, condition.parameters)]


def _conditions(name: str, wanted: object) -> list[tuple[str, str, list[Operand]]]:
    if isinstance(wanted, Mapping):
        if not wanted:
            raise InputError(f"where.{name} is an empty object; allowed: {', '.join(_COMPARISONS)}, as in {EXAMPLE}")
        return [(name, _known(name, comparison), _values(name, value)) for comparison, value in wanted.items()]
    return [(name, "in" if _is_list(wanted) else "eq", _values(name, wanted))]


def _known(name: str, comparison: str) -> str:
    if comparison not in _COMPARISONS:
        raise InputError(
            f"where.{name} has the comparison {comparison!r}; allowed: {', '.join(_COMPARISONS)}, as in {EXAMPLE}"
        )
    return comparison


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _values(name: str, value: object) -> list[Operand]:
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    values = [one for one in given if one is None or isinstance(one, str | int | float | bool)]
    if len(values) < len(given):
        raise InputError(f"where.{name} has a value that is no text, number, boolean or null; as in {EXAMPLE}")
    if not 1 <= len(values) <= _MOST_VALUES:
        raise InputError(f"where.{name} has {len(values):,} values; allowed: 1 to {_MOST_VALUES}")
    return [storable(one) for one in values]


def storable(value: Operand) -> Operand:
    """What is stored and compared: SQLite's whole numbers have 64 bits, its others end near 1.8e308."""
    if not isinstance(value, int) or abs(value) < 1 << 63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _condition(comparison: str, values: list[Operand]) -> tuple[str, list[Operand]]:
    if comparison == "in":
        given: list[Operand] = [value for value in values if value is not None]
        either = f"value IN ({', '.join('?' * len(given))})"
        return (f"({either} OR value IS NULL)" if len(given) < len(values) else either), given
    if len(values) != 1:
        raise InputError(f"where has a list for the comparison {comparison!r}; give one value, or use in")
    (value,) = values
    if value is None:
        if comparison not in ("eq", "ne"):
            raise InputError(f"where compares null with {comparison!r}; null can only be eq or ne")
        return ("value IS NULL" if comparison == "eq" else "value IS NOT NULL"), []
    sign = _COMPARISONS[comparison]
    if comparison in ("eq", "ne"):
        return f"value {sign} ?", [value]
    # SQLite sorts every text behind every number; a range holds only its own kind.
    kinds = "('text')" if isinstance(value, str) else "('integer', 'real')"
    return f"value {sign} ? AND typeof(value) IN {kinds}", [value]
