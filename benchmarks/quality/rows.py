"""Read labelled rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from quality.data import Table, read_csv

_WANTED = "wanted: the columns text and label (or category), by these names or else as the first two"


@dataclass(frozen=True, slots=True)
class Row:
    """A text and its label."""

    text: str
    label: str


def read_rows(path: Path) -> tuple[list[Row], str]:
    """Read every row of a file, and describe the columns used.

    Without known column names, a first row is a header if its second cell occurs in no other row.

    Raises:
        InputError: The file is invalid.
    """
    table = read_csv(path)
    header, body = table[0][1], table[1:]
    names = [cell.casefold() for cell in header]
    _check_width(path, table, len(names))
    label = "label" if "label" in names else "category"
    named = {"text", label} <= set(names)
    text_at, label_at = (names.index("text"), names.index(label)) if named else (0, 1)
    columns = f"columns {header[text_at]!r} and {header[label_at]!r}"
    if not named and header[label_at] in {row[label_at] for _, row in body}:
        body, columns = table, "first two columns, no header"
    return [_row(path, line, row[text_at], row[label_at]) for line, row in body], columns


def distinct(rows: Iterable[Row]) -> list[Row]:
    """Return the first row of each text."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.text, row)
    return list(first.values())


def _check_width(path: Path, table: Table, width: int) -> None:
    for line, row in table:
        if len(row) != width or width < 2:
            raise InputError(
                f"line {line} of {path} has {len(row)} columns, the first line {width}; {_WANTED}, texts with commas "
                "in quotes"
            )


def _row(path: Path, line: int, text: str, label: str) -> Row:
    if not (text and label):
        raise InputError(f"line {line} of {path} has no {'label' if text else 'text'}; fill it in or take it out")
    return Row(text, label)
