"""JSONL: one document, or one row of a table, per line."""

import json
import math
from collections.abc import Iterable, Iterator

from mcp_server_embeddings.reading.cells import Cell, Cells
from mcp_server_embeddings.reading.decoding import clean, decoded
from mcp_server_embeddings.reading.document import Document, Parsing, Scalar, UnreadableError, row_document
from mcp_server_embeddings.reading.formats.table import cells_documents

_USUAL_KEYS = ("text", "content", "body")
"""Keys that usually hold the text of a line, tried in this order."""

_MAX_DEPTH = 5
"""Levels of nested objects whose keys become columns."""

_Row = tuple[int, dict[str, object]]
"""Line number, and the object on the line."""


def jsonl_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse each line that has text into a document.

    The text is the value of the first usual key that all lines have; their other strings and numbers are metadata. If
    there is no such key, each line is a row of a table; see ``row_documents``.

    Raises:
        UnreadableError: A line is malformed, or no line has text.
    """
    rows = list(_read_rows(decoded(content), parsing))
    key = next((key for key in _USUAL_KEYS if all(isinstance(values.get(key), str) for _, values in rows)), None)
    if key is None:
        return cells_documents(_cells(rows, parsing), parsing)
    documents: list[Document] = []
    for number, values in rows:
        parsing.cancelled()
        text = clean(str(values[key]))
        parsing.check_characters(len(text))
        if text.strip():
            documents.append(row_document(f":{number}", text, _scalars(values, key)))
    if not documents:
        raise UnreadableError(f"no line has text in {key!r}")
    return documents


def jsonl_cells(content: bytes, parsing: Parsing) -> Cells:
    """Read a file as a table whose columns are the keys of all lines; keys of nested objects are joined by a dot.

    Strings, numbers and booleans keep their type, lists become JSON, non-finite numbers None.

    Raises:
        UnreadableError: A line is malformed, or the file is too large.
    """
    return _cells(_read_rows(decoded(content), parsing), parsing)


def _cells(lines: Iterable[_Row], parsing: Parsing) -> Cells:
    rows: list[dict[str, Cell]] = []
    keys: dict[str, None] = {}
    cells = 0
    for number, values in lines:
        try:
            rows.append(_flatten(values))
        except RecursionError:
            raise UnreadableError(f"line {number} is nested too deeply") from None
        cells += len(rows[-1])
        parsing.check_cells(cells)
        keys.update(dict.fromkeys(rows[-1]))
        parsing.check_columns(len(keys))
    names = list(keys)
    return Cells(names, len(rows), lambda at: [values.get(names[at]) for values in rows])


def _flatten(values: dict[str, object], prefix: str = "", depth: int = 1) -> dict[str, Cell]:
    flat: dict[str, Cell] = {}
    for key, value in values.items():
        name = clean(f"{prefix}{key}")
        match value:
            case str():
                flat[name] = clean(value)
            case None | bool() | int():
                flat[name] = value
            case float():
                flat[name] = value if math.isfinite(value) else None
            case dict() if depth < _MAX_DEPTH:
                flat |= _flatten(value, f"{name}.", depth + 1)
            case _:
                flat[name] = clean(json.dumps(value, ensure_ascii=False))
    return flat


def _read_rows(text: str, parsing: Parsing) -> Iterator[_Row]:
    # Not splitlines(): a string may contain U+2028.
    count = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        count += 1
        parsing.check_rows(count)
        parsing.check_characters(len(line))
        try:
            values: object = json.loads(line)
        except (ValueError, RecursionError):
            raise UnreadableError(f"line {number} is not JSON; each line has to be one object") from None
        if not isinstance(values, dict):
            raise UnreadableError(f'line {number} is not an object; each line has to be one, such as {{"text": "…"}}')
        yield number, values


def _scalars(values: dict[str, object], text_key: str) -> dict[str, Scalar]:
    scalars: dict[str, Scalar] = {}
    for key, value in values.items():
        if key == text_key or not isinstance(value, str | int | float):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            continue
        scalars[clean(key)] = clean(value) if isinstance(value, str) else value
    return scalars
