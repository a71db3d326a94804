"""Shared parts of writing to a collection of an SQL database: counts, records of files, and attributes for filters."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.records import CollectionRecord, Scalar, StoredFile, as_json
from mcp_server_embeddings.store.sql.connection import Connection

_FLOAT_BYTES = 4


@dataclass(slots=True)
class Change:
    """Changes of the counts of a collection by one write."""

    documents: int = 0
    chunks: int = 0
    bytes: int = 0
    removed_chunks: int = 0

    def count(self, sign: int, text_bytes: int, chunks: int, dimensions: int) -> None:
        """Count one document as added (1) or removed (-1)."""
        self.documents += sign
        self.chunks += sign * chunks
        self.bytes += sign * (text_bytes + _FLOAT_BYTES * dimensions * chunks)
        self.removed_chunks += chunks if sign < 0 else 0


def update_counts(database: Connection, collection: CollectionRecord, change: Change) -> int:
    """Update the counts, and the revision by which processes notice changes; return the new number of chunks."""
    (chunks,) = database.execute(
        "UPDATE collections SET revision = revision + 1, removals = removals + ?, updated = ?, "
        "documents = documents + ?, chunks = chunks + ?, bytes = bytes + ? WHERE row = ? RETURNING chunks",
        (
            int(change.removed_chunks > 0),
            time.time(),
            change.documents,
            change.chunks,
            change.bytes,
            collection.key,
        ),
    ).fetchone()
    return int(chunks)


def record_file(database: Connection, collection: int, path: str, state: StoredFile) -> int:
    """Record the state of a file and return its row."""
    database.execute(
        "INSERT INTO files (collection, path, digest, size, changed, indexed) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (collection, path) DO UPDATE SET digest = excluded.digest, size = excluded.size, "
        "changed = excluded.changed, indexed = excluded.indexed",
        (collection, path, state.digest, state.size, state.changed_ns, time.time()),
    )
    query = "SELECT row FROM files WHERE collection = ? AND path = ?"
    (row,) = database.execute(query, (collection, path)).fetchone()
    return int(row)


def with_field(metadata: str, name: str, value: Scalar) -> str:
    """Return the metadata of a document with a field set, or removed if the value is None."""
    fields: dict[str, Scalar | list[Scalar]] = json.loads(metadata)
    fields.pop(name, None)
    return as_json(fields if value is None else {**fields, name: value})


def changed_meanwhile(document: str) -> CollectionError:
    """Return the error for a document that should have been stored unchanged but no longer is."""
    return CollectionError(
        f"document {document!r} was changed or removed by another process meanwhile; send the call again"
    )


def attributes(metadata: str, file: str) -> Iterable[tuple[str, Scalar]]:
    """Yield the names and values that filters compare: the metadata of a document, and the path of its file."""
    if file:
        yield "path", file
    fields: dict[str, Scalar | list[Scalar]] = json.loads(metadata)
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, one
