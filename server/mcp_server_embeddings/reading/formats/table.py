"""CSV and TSV: one document for each row."""

import csv
import io

from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, UnreadableError, listed, row

_DELIMITERS = ",;\t|"


def table_documents(content: bytes, parsing: Parsing, delimiter: str = "") -> list[Document]:
    """Parse each row that has text into a document; the first row names the columns.

    With ``parsing.field`` the text is that column and the others are metadata; without it, the text is all columns as
    ``name: value`` lines.

    Args:
        content: The file.
        parsing: How to parse it.
        delimiter: Separates columns; ``""`` takes the most frequent of the usual ones in the first row.

    Raises:
        UnreadableError: There is no such column, the file is malformed, or no row has text.
    """
    text = decoded(content)
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    # A setting of the whole process, 131,072 by default; nothing else in it reads CSV.
    csv.field_size_limit(parsing.limits.characters)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next((cells for cells in rows if any(cells)), [])
        parsing.check_columns(len(header))
        names = [name.strip() for name in header]
        if parsing.field is not None and parsing.field not in names:
            raise UnreadableError(f"has no column {parsing.field!r}; its columns: {listed(names)}")
        documents: list[Document] = []
        for number, cells in enumerate(rows, start=1):
            parsing.check_rows(len(documents))
            parsing.check_columns(len(cells))
            documents += _documents(number, _named(names, cells), parsing)
    except csv.Error:
        raise UnreadableError(f"malformed CSV at line {rows.line_num}: a value never ends or is too long") from None
    if not documents:
        raise UnreadableError("no row has text" + (f" in column {parsing.field!r}" if parsing.field else ""))
    return documents


def _named(names: list[str], cells: list[str]) -> dict[str, str]:
    """Map column names to values; unnamed columns are numbered, of two with one name the first stays."""
    values: dict[str, str] = {}
    for index, cell in enumerate(cells):
        name = names[index] if index < len(names) else ""
        values.setdefault(name or f"column {index + 1}", cell)
    return values


def _documents(number: int, values: dict[str, str], parsing: Parsing) -> list[Document]:
    if parsing.field is None:
        lines = [f"{name}: {value}" for name, value in values.items() if value.strip()]
        text, others = "\n".join(lines), values
    else:
        text = values.get(parsing.field, "")
        others = {name: value for name, value in values.items() if name != parsing.field}
    parsing.check_characters(len(text))
    return [row(f":{number}", text, others)] if text.strip() else []
