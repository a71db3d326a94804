"""Filters on metadata in PostgreSQL, which stores texts and numbers in separate columns."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from mcp_server_embeddings.store.records import Scalar
from mcp_server_embeddings.store.sql.filtering import OPERATORS, Filter, build_filter
from mcp_server_embeddings.store.where import Condition, Where

INDEXED_CHARACTERS = 200
"""Indexed characters of a metadata text: an index entry takes at most a third of a page."""

_LEFT = f"left(text, {INDEXED_CHARACTERS})"
_LEFT_OF_VALUE = f"left(?, {INDEXED_CHARACTERS})"


def filtered(collection: int, where: Where | None) -> Filter | None:
    """Return the filter of one collection; see ``build_filter``."""
    return build_filter(collection, where, _sql)


def columns(value: Scalar) -> tuple[str | None, Decimal | None]:
    """Return a value as it is stored and compared: a text or a number; both are None for null.

    A number has the decimal value that JSON shows, so that 0.1 is exactly 0.1 and integers keep all their digits.
    """
    if value is None or isinstance(value, str):
        return value, None
    return None, Decimal(repr(value)) if isinstance(value, float) else Decimal(int(value))


def _sql(condition: Condition) -> tuple[str, Sequence[Any]]:
    given = [columns(value) for value in condition.values if value is not None]
    has_null = len(given) < len(condition.values)
    if condition.comparison == "in":
        return _any(given, has_null=has_null)
    if has_null:
        is_null = "text IS NULL AND number IS NULL"
        return (is_null if condition.comparison == "eq" else f"NOT ({is_null})"), []
    ((text, number),) = given
    operator = OPERATORS[condition.comparison]
    if condition.comparison == "ne":  # a value of the other kind is unequal
        if text is None:
            return "(text IS NOT NULL OR number <> ?)", [number]
        return "(number IS NOT NULL OR text <> ?)", [text]
    if text is None:
        return f"number {operator} ?", [number]
    beginning = operator if operator == "=" else operator[0] + "="
    return f"{_LEFT} {beginning} {_LEFT_OF_VALUE} AND text {operator} ?", [text, text]


def _any(given: Sequence[tuple[str | None, Decimal | None]], *, has_null: bool) -> tuple[str, Sequence[Any]]:
    texts = [text for text, _ in given if text is not None]
    numbers = [number for _, number in given if number is not None]
    parts = ["text IS NULL AND number IS NULL"] if has_null else []
    parameters: list[Any] = []
    if texts:
        parts.append(f"{_LEFT} = ANY(?) AND text = ANY(?)")
        parameters += [[text[:INDEXED_CHARACTERS] for text in texts], texts]
    if numbers:
        parts.append("number = ANY(?)")
        parameters.append(numbers)
    return "(" + " OR ".join(f"({part})" for part in parts) + ")", parameters
