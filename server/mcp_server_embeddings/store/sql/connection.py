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


C_co = TypeVar("C_co", bound=Connection, covariant=True)


class Database(Protocol[C_co]):
    """A source of connections."""

    def reading(self) -> AbstractContextManager[C_co]:
        """Yield a connection inside one read transaction: all its queries see one state."""

    def writing(self) -> AbstractContextManager[C_co]:
        """Yield a connection inside a write transaction: committed and durable after the block, or rolled back."""
