"""CSV and TSV: rows of cells, and one document per row of any table."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from mcp_server_embeddings.reading.cells import Cell, Cells, of_rows
from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, Scalar, UnreadableError, row_document

_DELIMITERS = ",;\t|"
_QUOTED = re.compile('"[^"]*"')
_SENTINEL = "\0"
"""Sentinel line appended to the file: decoded text has no NUL. If it ends up inside a value, a quote was not closed."""


def csv_rows(content: bytes, parsing: Parsing, delimiter: str = "") -> Iterator[list[str]]:
    """Yield the rows of a file, starting with the header, which is the first non-blank row.

    Args:
        content: The file.
        parsing: Limits and cancellation.
        delimiter: Column separator; ``""`` takes the most frequent of the usual separators in the first line.

    Raises:
        UnreadableError: A quote is not closed, or a row has too many columns.
    """
    text = decoded(content)
    first = _QUOTED.sub("", text.lstrip("\r\n").partition("\n")[0])
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    # A process-wide setting, 131,072 by default; nothing else in this process reads CSV.
    csv.field_size_limit(parsing.limits.characters)
    rows = csv.reader(chain(io.StringIO(text, newline=""), (_SENTINEL,)), delimiter=delimiter)
    row_start, header_seen = 1, False
    try:
        for cells in rows:
            parsing.cancelled()
            parsing.check_columns(len(cells))
            if cells and _SENTINEL in cells[-1]:
                if cells == [_SENTINEL]:
                    return
                break
            header_seen = header_seen or any(cells)
            if header_seen:
                yield cells
            row_start = rows.line_num + 1
    except csv.Error:
        raise UnreadableError(f"malformed CSV at line {rows.line_num}: a value never ends or is too long") from None
    raise UnreadableError(f"malformed CSV: a quoted value in the row that begins at line {row_start} never ends")


def csv_cells(content: bytes, parsing: Parsing, delimiter: str = "") -> Cells:
    """Read a file as a table in which every cell is a string.

    Raises:
        UnreadableError: It is malformed or too large.
    """
    lines = csv_rows(content, parsing, delimiter)
    header = next(lines, [])
    rows: list[list[str]] = []
    count = 0
    for cells in lines:
        rows.append(cells)
        count += len(cells)
        if len(rows) > parsing.limits.rows or count > parsing.limits.cells:
            parsing.check_rows(len(rows))
            parsing.check_cells(count)
    return of_rows(header, rows, "", typed=False)


def csv_documents(content: bytes, parsing: Parsing, delimiter: str = "") -> list[Document]:
    """Parse each row with text of a CSV or TSV file into a document; see ``row_documents``.

    Raises:
        UnreadableError: The file is malformed, or no row has text.
    """
    rows = csv_rows(content, parsing, delimiter)
    return row_documents([name.strip() for name in next(rows, [])], rows, parsing)


def cells_documents(cells: Cells, parsing: Parsing) -> list[Document]:
    """Make a document from each row with text of a table; see ``row_documents``.

    Raises:
        UnreadableError: No row has text.
    """
    parsing.check_cells(cells.rows * len(cells.names))
    return row_documents(cells.names, zip(*map(cells.column, range(len(cells.names))), strict=True), parsing)


def row_documents(names: list[str], rows: Iterable[Sequence[Cell]], parsing: Parsing) -> list[Document]:
    """Make a document from each row with text: all columns as ``name: value`` lines.

    Raises:
        UnreadableError: No row has text.
    """
    documents: list[Document] = []
    for number, cells in enumerate(rows, start=1):
        parsing.check_rows(len(documents))
        values = _named(names, cells)
        text = "\n".join(f"{name}: {value}" for name, value in values.items() if str(value).strip())
        parsing.check_characters(len(text))
        if text.strip():
            documents.append(row_document(f":{number}", text, values))
    if not documents:
        raise UnreadableError("no row has text")
    return documents


def _named(names: list[str], cells: Sequence[Cell]) -> dict[str, Scalar]:
    """Map column names to values; unnamed columns are numbered, and the first of columns with the same name wins."""
    values: dict[str, Scalar] = {}
    for index, cell in enumerate(cells):
        name = names[index] if index < len(names) else ""
        if cell is not None:
            values.setdefault(name or f"column {index + 1}", cell)
    return values
