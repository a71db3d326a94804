"""The cells of a table file, as its format's module gives them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Cell = str | int | float | bool | None
Row = TypeVar("Row", bound=Sequence[Cell])

LINES = "lines"
"""Name of the one column of a text that is read as a table."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A table whose columns are made when they are asked for.

    Attributes:
        names: Of the columns, as in the file: some may be blank or the same.
        rows: Number of rows below the header.
        column: Returns the values of the column at an index, one a row.
        notes: Sentences on what was left out.
        typed: The cells have the types of the file; False where it has strings only.
    """

    names: list[str]
    rows: int
    column: Callable[[int], list[Cell]]
    notes: tuple[str, ...] = ()
    typed: bool = True


def of_rows(header: Sequence[Cell], rows: list[Row], blank: Cell, notes: tuple[str, ...] = (), *, typed: bool) -> Cells:
    """Make a table of rows of different lengths.

    Args:
        header: Names of the columns.
        rows: The others; blank ones at the end are removed.
        blank: What a short row has in the columns it lacks.
        notes: Sentences on what was left out.
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
