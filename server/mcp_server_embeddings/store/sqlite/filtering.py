"""Filters on metadata in SQLite."""

import math
import sqlite3

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.store.sql.filtering import OPERATORS, Filter, build_filter
from mcp_server_embeddings.store.where import Condition, Operand, Where


def filtered(collection: int, where: Where | None) -> Filter | None:
    """Return the filter of one collection; see ``build_filter``."""
    return build_filter(collection, where, _sql)


def selected_rows(database: sqlite3.Connection, condition: Filter | None) -> NDArray[np.int64] | None:
    """Return the rows of the chunks that fit, ascending; None without a filter."""
    if condition is None:
        return None
    found = database.execute(f"{condition.chunks_sql} ORDER BY row", condition.parameters)
    return np.fromiter((row for (row,) in found), np.int64)


def storable(value: Operand) -> Operand:
    """Return a value as it is stored and compared: SQLite's integers have 64 bits, its reals end near 1.8e308."""
    if not isinstance(value, int) or abs(value) < 1 << 63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _sql(condition: Condition) -> tuple[str, list[Operand]]:
    comparison = condition.comparison
    given = [storable(value) for value in condition.values if value is not None]
    has_null = len(given) < len(condition.values)
    if comparison == "in":
        either = f"value IN ({', '.join('?' * len(given))})"
        return (f"({either} OR value IS NULL)" if has_null else either), given
    if has_null:
        return ("value IS NULL" if comparison == "eq" else "value IS NOT NULL"), []
    sql = f"value {OPERATORS[comparison]} ?"
    if comparison in ("eq", "ne"):
        return sql, given
    # SQLite sorts every text after every number; a range contains only its own kind.
    kinds = "('text')" if isinstance(given[0], str) else "('integer', 'real')"
    return f"{sql} AND typeof(value) IN {kinds}", given
