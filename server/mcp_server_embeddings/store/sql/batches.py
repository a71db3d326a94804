"""Read whole documents with their vectors in order of insertion, to copy a collection."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mcp_server_embeddings.store.records import Batch, NewChunk, NewDocument, Vector
from mcp_server_embeddings.store.sql.connection import Connection, select_in

_CHARACTERS_PER_BATCH = 2_000_000
"""A batch with this many characters ends early: documents may have millions of them."""


def read_batch(
    database: Connection,
    vectors: str,
    decode: Callable[[Any], Vector],
    condition: str,
    parameters: Sequence[object],
    size: int,
) -> Batch:
    """Return the first documents that fulfil a condition, in the order of their rows.

    Args:
        database: The connection to read from.
        vectors: Name of the table of vectors.
        decode: Decodes a vector read from that table.
        condition: SQL in which ``d`` is the document and ``f`` its file.
        parameters: The values of the condition.
        size: Maximum number of documents.
    """
    found = database.execute(
        "SELECT d.row, d.id, d.text, d.metadata, f.path, f.digest FROM documents AS d "
        f"LEFT JOIN files AS f ON f.row = d.file WHERE {condition} ORDER BY d.row LIMIT ?",
        (*parameters, size),
    )
    rows = list(_until_enough(found))
    chunks: dict[int, list[NewChunk]] = {}
    query = (
        f"SELECT document, start, stop, heading, vector FROM chunks JOIN {vectors} ON chunk = row "
        "WHERE document IN (...) ORDER BY document, part"
    )
    for document, start, stop, heading, vector in select_in(database, query, [row for row, *_ in rows]):
        chunks.setdefault(document, []).append(NewChunk(start, stop, heading, decode(vector)))
    documents = [
        NewDocument(key, text, json.loads(metadata), tuple(chunks.get(row, ())), path or "", bytes(file_digest or b""))
        for row, key, text, metadata, path, file_digest in rows
    ]
    return Batch(documents, rows[-1][0] if rows else 0)


def _until_enough(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield rows up to the one with which the texts reach the maximum size of a batch."""
    characters = 0
    for row in rows:
        yield row
        characters += len(row[2])
        if characters > _CHARACTERS_PER_BATCH:
            return
