"""Filters on metadata, as callers write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from mcp_server_embeddings.errors import InputError

Operand = str | int | float | bool | None
Where = Mapping[str, object]
"""Maps each name to a value, a list of values one of which must fit, or an object of comparisons. All must hold."""

Comparison = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in"]
_COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
_NAMES: Mapping[object, Comparison] = {
    "=": "eq",
    "==": "eq",
    "!=": "ne",
    "<>": "ne",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    **{comparison: comparison for comparison in _COMPARISONS},
    **{f"${comparison}": comparison for comparison in _COMPARISONS},
}
"""Accepted names of the comparisons; those of MongoDB and Chroma start with a dollar sign."""

_MAX_CONDITIONS = 16
_MAX_VALUES = 500
"""Maximum values of one ``in``; old builds of SQLite take 999 parameters."""

EXAMPLE = '{"language": "en", "year": {"gte": 2020, "lt": 2025}, "kind": ["note", "mail"]}'


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison with the metadata values of a name; a document fulfils it if any of its values does.

    Attributes:
        name: Metadata name; ``path`` is the file that a document was read from.
        comparison: ``in`` takes one or more values, the others one; only ``eq``, ``ne`` and ``in`` accept null. Order
            comparisons, such as ``gt``, compare texts with texts and numbers with numbers.
        values: The values to compare with.
    """

    name: str
    comparison: Comparison
    values: list[Operand]


def checked_conditions(where: Where | None) -> list[Condition]:
    """Return the conditions of a filter, all of which must hold; empty without a filter.

    Raises:
        InputError: A comparison is unknown or a value is not a scalar.

    Example:
        >>> checked_conditions({"year": {"gte": 2020}})
        [Condition(name='year', comparison='gte', values=[2020])]
    """
    conditions = [condition for name, wanted in (where or {}).items() for condition in _conditions(name, wanted)]
    if len(conditions) > _MAX_CONDITIONS:
        raise InputError(f"where has {len(conditions)} conditions; at most {_MAX_CONDITIONS}")
    for condition in conditions:
        _check_operands(condition)
    return conditions


def _conditions(name: str, wanted: object) -> list[Condition]:
    if isinstance(wanted, Mapping):
        if not wanted:
            raise InputError(f"where.{name} is an empty object; allowed: {', '.join(_COMPARISONS)}, as in {EXAMPLE}")
        return [Condition(name, _comparison(name, given), _values(name, value)) for given, value in wanted.items()]
    several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
    return [Condition(name, "in" if several else "eq", _values(name, wanted))]


def _comparison(name: str, given: object) -> Comparison:
    if given not in _NAMES:
        allowed = ", ".join(_COMPARISONS)
        raise InputError(f"where.{name} has the comparison {given!r}; allowed: {allowed}, as in {EXAMPLE}")
    return _NAMES[given]


def _values(name: str, value: object) -> list[Operand]:
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    values = [one for one in given if one is None or isinstance(one, str | int | float | bool)]
    if len(values) < len(given):
        raise InputError(f"where.{name} has a value that is not a text, number, boolean or null; as in {EXAMPLE}")
    if not 1 <= len(values) <= _MAX_VALUES:
        raise InputError(f"where.{name} has {len(values):,} values; allowed: 1 to {_MAX_VALUES}")
    return values


def _check_operands(condition: Condition) -> None:
    comparison, values = condition.comparison, condition.values
    if comparison == "in":
        return
    if len(values) != 1:
        raise InputError(f"where has a list for the comparison {comparison!r}; give one value, or use in")
    if values[0] is None and comparison not in ("eq", "ne"):
        raise InputError(f"where compares null with {comparison!r}; null can only be eq or ne")
