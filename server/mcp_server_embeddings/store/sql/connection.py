"""The database interface that the shared queries use; ``?`` is the placeholder for values in all of them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar


class Cursor(Protocol):
    """The result of a query."""

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the rows."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row
        """Return the next row; None if there is none."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""


class Connection(Protocol):
    """A connection inside a transaction."""

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> object:
        """Run a statement once for each row of values."""

    def conditions_in(self, values: Sequence[object], /) -> Iterator[tuple[str, Sequence[object]]]:
        """Yield SQL conditions that together find all values, such as ``IN (?, ?)``, and the parameters of each."""


def select_in(database: Connection, query: str, values: Sequence[object], *parameters: object) -> Iterator[Any]:
    """Yield the rows of a query with ``IN (...)``, run as often as the number of values needs.

    Args:
        database: A connection.
        query: SQL whose last placeholder is ``IN (...)``.
        values: The values in place of it.
        parameters: The values of the placeholders before it.
    """
    for condition, given in database.conditions_in(values):
        yield from database.execute(query.replace("IN (...)", condition), (*parameters, *given))


def execute_in(database: Connection, statement: str, values: Sequence[object]) -> None:
    """Run a statement with ``IN (...)`` that returns no rows; see ``select_in``."""
    for condition, given in database.conditions_in(values):
        database.execute(statement.replace("IN (...)", condition), given)


C_co = TypeVar("C_co", bound=Connection, covariant=True)


class Database(Protocol[C_co]):
    """A source of connections."""

    def exists(self) -> bool:
        """Tell whether anything was ever stored."""

    def version(self) -> int:
        """Return a number that grows when any process writes; 0 where nothing was ever stored."""

    def close(self) -> None:
        """Close all connections; they are opened again when needed."""

    def reading(self) -> AbstractContextManager[C_co]:
        """Yield a connection inside one read transaction: all its queries see one state."""

    def writing(self) -> AbstractContextManager[C_co]:
        """Yield a connection inside a write transaction: committed and durable after the block, or rolled back."""
