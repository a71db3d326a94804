"""Filters on metadata as SQL. Values travel as parameters, never as SQL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mcp_server_embeddings.store.where import Condition, Where, checked_conditions

OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on chunks.

    Attributes:
        parts: For each of its comparisons an SQL query for rows of documents; one that fits is found by all of them.
        parameters: The values of all.
    """

    parts: tuple[str, ...]
    parameters: tuple[Any, ...]

    @property
    def sql(self) -> str:
        """Return the query for the rows of all documents that fit."""
        return " INTERSECT ".join(self.parts)

    def of_document(self, row: str) -> str:
        """Return the SQL of whether a document fits: quicker for a few than to find all that do."""
        # OFFSET keeps PostgreSQL from finding all of them nonetheless.
        return " AND ".join(f"EXISTS ({part} AND document = {row} OFFSET 0)" for part in self.parts)


def combined(
    collection: int, where: Where | None, condition_sql: Callable[[Condition], tuple[str, Sequence[Any]]]
) -> Filter | None:
    """Return the filter of one collection; None where nothing is filtered.

    Args:
        collection: Its key.
        where: What must hold.
        condition_sql: Gives the SQL of a condition on one row of ``attributes``, and its parameters.

    Raises:
        InputError: A comparison is unknown or a value is no scalar.
    """
    parts: list[str] = []
    parameters: list[Any] = []
    for condition in checked_conditions(where):
        sql, values = condition_sql(condition)
        parts.append(f"SELECT document FROM attributes WHERE collection = ? AND name = ? AND {sql}")
        parameters += [collection, condition.name, *values]
    return Filter(tuple(parts), tuple(parameters)) if parts else None
