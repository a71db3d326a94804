"""Tables as sources of texts: a column of texts, a column of ids, and the other columns."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import LINES, Cell, Cells
from mcp_server_embeddings.reading.columns import converted, holds_texts, holds_words
from mcp_server_embeddings.reading.document import Parsing, UnreadableError, formatted_names
from mcp_server_embeddings.reading.isolated import read_cells
from mcp_server_embeddings.reading.limits import TABLE_LIMITS
from mcp_server_embeddings.reading.parsing import LINES_SUFFIX, TABLE_SUFFIXES, suffix_of

TABLE_PARSING = Parsing(limits=TABLE_LIMITS)

ROW_NUMBER = "row"
"""Value of ``id_field`` that numbers the rows even if a column is called id."""

_SAMPLE_ROWS = 1_000
"""Number of evenly spaced rows that decide whether a column holds texts, or labels, names or numbers."""

_SAMPLED_CHARACTERS = 500
_SHOWN_ROWS = 5
_MAX_SIGNS = 16
"""Number of ``#`` signs in a source that are tried as the end of the path."""


@dataclass(frozen=True, slots=True)
class TableTexts:
    """The rows of a table that have text.

    Attributes:
        column: The column of the texts.
        ids: Unique ids, in the order of the file.
        texts: The texts, none of them blank.
        rows: Indices of the rows in the table's columns, ascending.
        blank: Number of rows that were omitted because their text is blank.
        numbered: Whether the ids are row numbers.
    """

    column: str
    ids: list[str]
    texts: list[str]
    rows: list[int]
    blank: int
    numbered: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table file.

    Attributes:
        name: The file's name, for messages.
        columns: Unique names. A blank name becomes ``column 3``, a repeated one ``name (2)``.
        rows: Number of rows below the header, including blank lines between rows, since these have a number too.
        notes: Sentences about omitted content, such as other sheets.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    notes: tuple[str, ...]
    _cells: Cells
    _parsing: Parsing

    def column(self, name: str) -> list[Cell]:
        """Return the values of a column, one per row, with the types of the file; cells of a CSV file are strings.

        Args:
            name: Its name; letter case is ignored if the name is unambiguous without it.

        Raises:
            InputError: There is no such column.
            UnreadableError: A column of a Parquet file, which is read on request, is corrupt or too large.
        """
        return self._cells.column(self.columns.index(self.column_name(name)))

    def typed(self, name: str) -> list[Cell]:
        """Return the values of a column for comparisons: those of ``column``, with the strings of a CSV file converted.

        A column of a CSV file becomes numbers or booleans if every value has that form, except blank values, ``n/a``,
        ``null`` and the like, which become None. ``007`` is not a number. In other columns blank cells become None.

        Raises:
            InputError: There is no such column.
        """
        values = self.column(name)
        return values if self._cells.typed else converted(values)

    def column_name(self, name: str) -> str:
        """Return the column that ``name`` means.

        Raises:
            InputError: There is none; the message suggests the closest name and lists all.
        """
        same = [column for column in self.columns if column.casefold() == name.strip().casefold()]
        if name in self.columns or len(same) == 1:
            return name if name in self.columns else same[0]
        close = difflib.get_close_matches(name, self.columns, n=1)
        hint = f"did you mean {close[0]!r}? Its columns: " if close else "its columns: "
        raise InputError(f"{self.name!r} has no column {name[:200]!r}; {hint}{formatted_names(list(self.columns))}")

    def text_columns(self) -> list[str]:
        """Return the columns that hold text, those with the longest texts first; the first is the one to suggest.

        A text has three words or more; values that repeat are labels. If no column has texts, columns of shorter,
        distinct strings are returned.
        """
        samples = {name: sample for name in self.columns if (sample := self._sample(name))}
        names = [name for name, sample in samples.items() if holds_texts(sample)]
        if not names:
            names = [name for name, sample in samples.items() if name.casefold() != "id" and holds_words(sample)]
        return sorted(names, key=lambda name: -sum(map(len, samples[name])) / len(samples[name]))

    def text_column(self, name: str | None = None) -> str:
        """Return the column that ``name`` means, or the only one that holds text.

        Raises:
            InputError: There is no such column, or no name was given and not exactly one column holds text.
        """
        if name is not None:
            return self.column_name(name)
        candidates = self.text_columns()
        if len(candidates) == 1:
            return candidates[0]
        problem = f"{len(candidates)} columns that hold text" if candidates else "no column that looks like text"
        suggestion = candidates[0] if candidates else self.columns[0]
        others = f"; its columns: {formatted_names(list(self.columns))}"
        raise InputError(f"{self.name!r} has {problem}; name one, such as '{self.name}#{suggestion}'{others}")

    def texts(self, column: str | None = None, id_field: str | None = None) -> TableTexts:
        """Return the rows that have text, with their ids.

        Args:
            column: The column of the texts; None takes the only one that holds text.
            id_field: The column of the ids; None takes a column called id in any letter case, otherwise row numbers
                from 1. ``"row"`` takes row numbers, unless a column has that name.

        Raises:
            InputError: A column does not exist or must be named, or ids are blank or not unique.
            UnreadableError: No row has text, or a text is too long.
        """
        column = self.text_column(column)
        rows: list[int] = []
        texts: list[str] = []
        for index, value in enumerate(self.column(column)):
            text = as_text(value)
            if text.strip():
                self._parsing.check_characters(len(text))
                rows.append(index)
                texts.append(text)
        self._parsing.check_total(sum(map(len, texts)))
        if not texts:
            raise UnreadableError(f"no row has text in column {column!r}")
        return TableTexts(
            column,
            self._ids(id_field, rows),
            texts,
            rows,
            self.rows - len(rows),
            self._id_column(id_field) is None,
        )

    def ids(self, id_field: str | None = None) -> list[str]:
        """Return the id of each row; see ``texts``.

        Raises:
            InputError: There is no such column, or ids are blank or not unique.
        """
        return self._ids(id_field, range(self.rows))

    def id_columns(self, rows: Sequence[int]) -> list[str]:
        """Return the columns, among the first 20, whose values in the given rows are unique, short and not blank."""
        unique = []
        for name in self.columns[:20]:
            values = self.column(name)
            ids = {as_text(values[row]).strip() for row in rows}
            if len(ids) == len(rows) and "" not in ids and max(map(len, ids)) <= 100:
                unique.append(name)
        return unique

    def _ids(self, id_field: str | None, rows: Sequence[int]) -> list[str]:
        column = self._id_column(id_field)
        if column is None:
            return [str(row + 1) for row in rows]
        values = self.column(column)
        ids = [as_text(values[row]).strip() for row in rows]
        if len(set(ids)) == len(ids) and "" not in ids:
            return ids
        rows_by_id: dict[str, list[int]] = {}
        for row, identity in zip(rows, ids, strict=True):
            rows_by_id.setdefault(identity, []).append(row + 1)
        problems = [
            f"{f'the value {identity[:100]!r}' if identity else 'no value'} in {_row_list(numbers)}"
            for identity, numbers in rows_by_id.items()
            if not identity or len(numbers) > 1
        ]
        more = f", and {len(problems) - 3} more values repeat" if len(problems) > 3 else ""
        raise InputError(
            f"column {column!r} of {self.name!r} cannot give the ids, which must be unique and not blank: it has "
            f"{'; '.join(problems[:3])}{more}; correct the file, or pass {self._other_ids(column, rows)}"
        )

    def _id_column(self, id_field: str | None) -> str | None:
        if id_field is None:
            return next((name for name in self.columns if name.casefold() == "id"), None)
        if id_field == ROW_NUMBER and ROW_NUMBER not in self.columns:
            return None
        return self.column_name(id_field)

    def _other_ids(self, column: str, rows: Sequence[int]) -> str:
        unique = [f"id_field={name!r}" for name in self.id_columns(rows) if name != column]
        return " or ".join([*unique[:3], f"id_field={ROW_NUMBER!r} to number the rows"])

    def _sample(self, name: str) -> list[str]:
        """Return a sample of the non-blank strings of a column, truncated; empty for a column of numbers."""
        self._parsing.cancelled()
        values = self.column(name)
        sample = values[:: max(1, len(values) // _SAMPLE_ROWS)]
        return [value[:_SAMPLED_CHARACTERS] for value in sample if isinstance(value, str) and value.strip()]


def read_table(path: str, content: bytes, parsing: Parsing = TABLE_PARSING) -> Table:
    r"""Read a table.

    Args:
        path: Its suffix determines the format; nothing is opened.
        content: All bytes of the file.
        parsing: Limits and cancellation.

    Raises:
        UnreadableError: It is not a table, is malformed, too large or without rows, or takes too long.

    Example:
        >>> read_table("a.csv", b"id,text\n7,hello\n").texts("text").ids
        ['7']
    """
    suffix = suffix_of(path)
    if suffix not in (*TABLE_SUFFIXES, LINES_SUFFIX):
        raise UnreadableError(f"not a table; allowed: {', '.join(TABLE_SUFFIXES)}")
    cells = read_cells(path, content, parsing)
    if not cells.rows or not cells.names:
        raise UnreadableError("no rows below the names of the columns" if cells.names else "an empty table")
    if suffix != ".parquet":  # the columns of a Parquet file are read on request, each within a limit of bytes
        parsing.check_cells(cells.rows * len(cells.names))
    return Table(PurePath(path).name, _unique(cells.names), cells.rows, cells.notes, cells, parsing)


def is_table(path: str) -> bool:
    """Tell from its suffix whether a file is a table."""
    return suffix_of(path) in TABLE_SUFFIXES


def split_source(source: str, exists: Callable[[str], bool] = lambda _path: False) -> tuple[str, str | None]:
    """Split ``tickets.csv#message`` into the path and the column, ``notes.txt#lines`` into the path and ``lines``.

    A ``#`` splits only after the name of a table, or between the name of a text file and ``lines``, so that names of
    folders and other files may contain one. The first such ``#`` splits. Nothing is opened.

    Args:
        source: The caller's source; may be a pattern.
        exists: Tells whether a path is a file, for tables whose own name contains ``.csv#``.

    Returns:
        The path, and the column or None.

    Example:
        >>> split_source("data/tickets.csv#message")
        ('data/tickets.csv', 'message')
    """
    path, sign, column = source.rpartition("#")
    if sign and path.lower().endswith(LINES_SUFFIX) and column.strip().lower() in (LINES, "line"):
        return (source, None) if exists(source) else (path, LINES)
    longest = max(map(len, TABLE_SUFFIXES))
    signs = [
        index
        for index, character in enumerate(source)
        if character == "#" and source[max(0, index - longest) : index].lower().endswith(TABLE_SUFFIXES)
    ]
    if not signs or exists(source):
        return source, None
    end = next((index for index in signs[:_MAX_SIGNS] if exists(source[:index])), signs[0])
    return source[:end], source[end + 1 :].strip() or None


def as_text(value: Cell) -> str:
    """Convert a cell to a text or id: ``""`` for None, whole numbers without a decimal point."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1 << 53:
            return str(int(value))
        case _:
            return str(value)


def _unique(names: list[str]) -> tuple[str, ...]:
    unique: dict[str, None] = {}
    for index, name in enumerate(names, start=1):
        base = name or f"column {index}"
        number, candidate = 1, base
        while candidate in unique:
            number += 1
            candidate = f"{base} ({number})"
        unique[candidate] = None
    return tuple(unique)


def _row_list(rows: list[int]) -> str:
    more = f" and {len(rows) - _SHOWN_ROWS} more" if len(rows) > _SHOWN_ROWS else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:_SHOWN_ROWS]))}{more}"
