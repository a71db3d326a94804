"""Filters on metadata as SQL. Values are passed as parameters, never as part of the SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_server_embeddings.store.where import Condition, Where, checked_conditions

OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on documents.

    Attributes:
        parts: An SQL query for rows of documents for each comparison; a document fits if all of them find it.
        parameters: The values of all parts.
    """

    parts: tuple[str, ...]
    parameters: tuple[Any, ...]

    @property
    def sql(self) -> str:
        """Return the query for the rows of all documents that fit."""
        return " INTERSECT ".join(self.parts)

    @property
    def chunks_sql(self) -> str:
        """Return the query for the rows of the chunks of all documents that fit."""
        return f"SELECT row FROM chunks WHERE document IN ({self.sql})"

    def of_document(self, row: str) -> str:
        """Return an SQL condition that tells if a document fits: for a few, faster than finding all that do."""
        # OFFSET stops PostgreSQL from finding all of them regardless.
        return " AND ".join(f"EXISTS ({part} AND document = {row} OFFSET 0)" for part in self.parts)


def build_filter(
    collection: int, where: Where | None, condition_sql: Callable[[Condition], tuple[str, Sequence[Any]]]
) -> Filter | None:
    """Return the filter of one collection; None without conditions.

    Args:
        collection: Its key.
        where: The filter as the caller wrote it.
        condition_sql: Returns the SQL of a condition on one row of ``attributes``, and its parameters.

    Raises:
        InputError: A comparison is unknown or a value is not a scalar.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    for condition in checked_conditions(where):
        sql, values = condition_sql(condition)
        parts.append(f"SELECT document FROM attributes WHERE collection = ? AND name = ? AND {sql}")
        parameters += [collection, condition.name, *values]
    return Filter(tuple(parts), tuple(parameters)) if parts else None
