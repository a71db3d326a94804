"""The cells of a table file, as returned by the module for its format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Cell = str | int | float | bool | None
Row = TypeVar("Row", bound=Sequence[Cell])

LINES = "lines"
"""Name of the only column of a text file that is read as a table."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A table whose columns are built on request.

    Attributes:
        names: Column names as in the file; they may be blank or repeated.
        rows: Number of rows below the header.
        column: Returns the values of the column at an index, one per row.
        notes: Sentences about omitted content.
        typed: Whether cells have the types stored in the file; False for a format that has only strings.
    """

    names: list[str]
    rows: int
    column: Callable[[int], list[Cell]]
    notes: tuple[str, ...] = ()
    typed: bool = True


def of_rows(header: Sequence[Cell], rows: list[Row], blank: Cell, notes: tuple[str, ...] = (), *, typed: bool) -> Cells:
    """Make a table from rows of different lengths.

    Args:
        header: Names of the columns.
        rows: Rows below the header; trailing blank ones are removed from the list.
        blank: Value of the cells that a short row lacks.
        notes: See ``Cells``.
        typed: See ``Cells``.
    """
    while rows and is_blank(rows[-1]):
        rows.pop()
    width = max(map(len, rows), default=0)
    names = ["" if name is None else str(name).strip() for name in header]
    names += [""] * (width - len(names))
    return Cells(names, len(rows), lambda at: [row[at] if at < len(row) else blank for row in rows], notes, typed)


def is_blank(row: Sequence[Cell]) -> bool:
    """Tell whether no cell of a row has a value."""
    return all(cell is None or cell == "" for cell in row)
