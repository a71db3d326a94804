"""Whole documents with their vectors, in the order in which they came: for what copies a collection."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mcp_server_embeddings.sqlite import query_batches
from mcp_server_embeddings.store.records import Batch, NewChunk, NewDocument, Vector
from mcp_server_embeddings.store.sql.connection import Connection

_CHARACTERS_PER_BATCH = 2_000_000
"""A batch ends early here: documents may have millions of characters."""


def read_batch(
    database: Connection,
    vectors: str,
    decoded: Callable[[Any], Vector],
    condition: str,
    parameters: Sequence[object],
    size: int,
) -> Batch:
    """Return the first documents ``d`` that fulfil a condition, in the order of their rows.

    Args:
        database: Where they are.
        vectors: The table of the vectors.
        decoded: Reads a vector that is stored there.
        condition: In SQL; ``f`` is the document's file.
        parameters: Its values.
        size: How many at most.
    """
    found = database.execute(
        "SELECT d.row, d.id, d.text, d.metadata, f.path, f.digest FROM documents AS d "
        f"LEFT JOIN files AS f ON f.row = d.file WHERE {condition} ORDER BY d.row LIMIT ?",
        (*parameters, size),
    )
    rows = list(_until_enough(found))
    chunks: dict[int, list[NewChunk]] = {}
    for marks, batch in query_batches([row for row, *_ in rows]):
        query = (
            f"SELECT document, start, stop, heading, vector FROM chunks JOIN {vectors} ON chunk = row "
            f"WHERE document IN ({marks}) ORDER BY document, part"
        )
        for document, start, stop, heading, vector in database.execute(query, batch):
            chunks.setdefault(document, []).append(NewChunk(start, stop, heading, decoded(vector)))
    documents = [
        NewDocument(key, text, json.loads(metadata), tuple(chunks.get(row, ())), path or "", bytes(content or b""))
        for row, key, text, metadata, path, content in rows
    ]
    return Batch(documents, rows[-1][0] if rows else 0)


def _until_enough(rows: Iterable[Any]) -> Iterator[Any]:
    """Give documents up to the one with which they have enough characters."""
    characters = 0
    for row in rows:
        yield row
        characters += len(row[2])
        if characters > _CHARACTERS_PER_BATCH:
            return
