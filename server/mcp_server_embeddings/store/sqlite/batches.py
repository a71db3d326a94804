"""Whole documents with their vectors, in the order in which they came: for what copies a collection."""

import json
import sqlite3
from collections.abc import Sequence

import numpy as np

from mcp_server_embeddings.store.records import Batch, NewChunk, NewDocument

_CHARACTERS_PER_BATCH = 2_000_000
"""A batch ends early here: documents may have millions of characters."""


def read_batch(database: sqlite3.Connection, condition: str, parameters: Sequence[object], size: int) -> Batch:
    """Return the first documents ``d`` that fulfil a condition, in the order of their rows."""
    rows = database.execute(
        "SELECT d.row, d.id, d.text, d.metadata, coalesce(f.path, ''), coalesce(f.digest, x'') FROM documents AS d "
        f"LEFT JOIN files AS f ON f.row = d.file WHERE {condition} ORDER BY d.row LIMIT ?",
        (*parameters, size),
    )
    documents: list[NewDocument] = []
    last = characters = 0
    for row, key, text, metadata, path, content in rows:
        chunks = _chunks(database, row)
        documents.append(NewDocument(key, text, json.loads(metadata), chunks, path, bytes(content)))
        last, characters = row, characters + len(text)
        if characters > _CHARACTERS_PER_BATCH:
            break
    return Batch(documents, last)


def _chunks(database: sqlite3.Connection, document: int) -> tuple[NewChunk, ...]:
    query = (
        "SELECT start, stop, heading, vector FROM chunks JOIN vectors ON chunk = row WHERE document = ? ORDER BY part"
    )
    return tuple(
        NewChunk(start, stop, heading, np.frombuffer(vector, dtype="<f4"))
        for start, stop, heading, vector in database.execute(query, (document,))
    )
