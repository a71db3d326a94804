"""JSONL: one document for each line."""

import json
import math

from mcp_server_embeddings.reading.decoding import clean, decoded
from mcp_server_embeddings.reading.document import Document, Parsing, Scalar, UnreadableError, listed, row

_USUAL_KEYS = ("text", "content", "body")
"""Tried in this order when no key is named."""

_Row = tuple[int, dict[str, object]]
"""Number of a line, and its object."""


def jsonl_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse each line that has text under ``parsing.field`` into a document; other strings and numbers are metadata.

    Raises:
        UnreadableError: A line is malformed or has no such key, no key was named and none of the usual ones fits, or
            no line has text.
    """
    rows = _rows(decoded(content), parsing)
    field = parsing.field or _usual_key(rows)
    documents: list[Document] = []
    for number, values in rows:
        parsing.cancelled()
        text = _text(number, values, field)
        parsing.check_characters(len(text))
        if text.strip():
            documents.append(row(f":{number}", text, _scalars(values, field)))
    if not documents:
        raise UnreadableError(f"no line has text in {field!r}")
    return documents


def _rows(text: str, parsing: Parsing) -> list[_Row]:
    rows: list[_Row] = []
    # Not splitlines: a string may contain U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        parsing.check_rows(len(rows) + 1)
        try:
            values: object = json.loads(line)
        except (ValueError, RecursionError):
            raise UnreadableError(f"line {number} is not JSON; each line has to be one object") from None
        if not isinstance(values, dict):
            raise UnreadableError(f'line {number} is not an object; each line has to be one, such as {{"text": "…"}}')
        rows.append((number, values))
    return rows


def _usual_key(rows: list[_Row]) -> str:
    for key in _USUAL_KEYS:
        if all(isinstance(values.get(key), str) for _, values in rows):
            return key
    keys = list(dict.fromkeys(key for _, values in rows for key in values))
    raise UnreadableError(f"no key of the text found; pass field= with one of {listed(keys)}")


def _text(number: int, values: dict[str, object], field: str) -> str:
    found: object = values
    for key in [field] if field in values else field.split("."):
        if not isinstance(found, dict) or key not in found:
            raise UnreadableError(f"line {number} has no {field!r}; its keys: {listed(list(values))}")
        found = found[key]
    if found is None:
        return ""
    if not isinstance(found, str):
        raise UnreadableError(f"line {number}: {field!r} is not a string; pass field= with the key of a text")
    return clean(found)


def _scalars(values: dict[str, object], field: str) -> dict[str, Scalar]:
    scalars: dict[str, Scalar] = {}
    for key, value in values.items():
        if key == field or not isinstance(value, str | int | float):
            continue
        if isinstance(value, float) and not math.isfinite(value):
            continue
        scalars[clean(key)] = clean(value) if isinstance(value, str) else value
    return scalars
