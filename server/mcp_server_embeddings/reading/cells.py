"""The cells of a table file, as its format's module gives them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Cell = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Cells:
    """A table whose columns are made when they are asked for.

    Attributes:
        names: Of the columns, as in the file: some may be blank or the same.
        rows: Number of rows below the header.
        column: Returns the values of the column at an index, one a row.
        notes: Sentences on what was left out.
    """

    names: list[str]
    rows: int
    column: Callable[[int], list[Cell]]
    notes: tuple[str, ...] = ()


def of_rows(header: Sequence[Cell], rows: Sequence[Sequence[Cell]], blank: Cell, notes: tuple[str, ...] = ()) -> Cells:
    """Make a table of rows of different lengths; ``blank`` is what a short row has in the columns it lacks."""
    width = max(map(len, rows), default=0)
    names = ["" if name is None else str(name).strip() for name in header]
    names += [""] * (width - len(names))
    return Cells(names, len(rows), lambda at: [row[at] if at < len(row) else blank for row in rows], notes)
