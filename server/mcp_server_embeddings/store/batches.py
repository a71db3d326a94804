"""Whole documents with their vectors, in the order in which they came: for what copies a collection."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mcp_server_embeddings.store.records import NewChunk, NewDocument

_CHARACTERS_AT_ONCE = 2_000_000
"""A batch ends early here: documents may have millions of characters."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents, and the row of the last: the next batch begins after it."""

    documents: list[NewDocument]
    last: int


def read_batches(database: sqlite3.Connection, collection: int, most: int) -> Iterator[Batch]:
    """All documents of a collection, ``most`` at once."""
    last = 0
    while True:
        batch = _read(database, "d.collection = ? AND d.row > ?", (collection, last), most)
        if not batch.documents:
            return
        yield batch
        last = batch.last


def read_differing(database: sqlite3.Connection, collection: int, copy: int, after: int, most: int) -> Batch:
    """The first documents of a collection that its copy has not, or not like this.

    Args:
        database: Open for reading.
        collection: Its row.
        copy: The row of the copy.
        after: Only documents whose row is above this.
        most: How many at most.
    """
    condition = (
        "d.collection = ? AND d.row > ? AND NOT EXISTS (SELECT 1 FROM documents AS c LEFT JOIN files AS g "
        "ON g.row = c.file WHERE c.collection = ? AND c.id = d.id AND c.digest = d.digest "
        "AND c.metadata = d.metadata AND g.path IS f.path)"
    )
    return _read(database, condition, (collection, after, copy), most)


def read_surplus(database: sqlite3.Connection, collection: int, copy: int) -> list[str]:
    """The ids that a copy has and its collection has no longer."""
    query = (
        "SELECT id FROM documents AS c WHERE collection = ? "
        "AND NOT EXISTS (SELECT 1 FROM documents WHERE collection = ? AND id = c.id)"
    )
    return [str(key) for (key,) in database.execute(query, (copy, collection))]


def _read(database: sqlite3.Connection, condition: str, parameters: Sequence[object], most: int) -> Batch:
    rows = database.execute(
        "SELECT d.row, d.id, d.text, d.metadata, coalesce(f.path, ''), coalesce(f.digest, x'') FROM documents AS d "
        f"LEFT JOIN files AS f ON f.row = d.file WHERE {condition} ORDER BY d.row LIMIT ?",
        (*parameters, most),
    )
    documents: list[NewDocument] = []
    last = characters = 0
    for row, key, text, metadata, path, content in rows:
        chunks = _chunks(database, row)
        documents.append(NewDocument(key, text, json.loads(metadata), chunks, path, bytes(content)))
        last, characters = row, characters + len(text)
        if characters > _CHARACTERS_AT_ONCE:
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
