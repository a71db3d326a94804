"""Changing a collection of an SQL database: what is counted, and what documents are found by."""

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
    """How a write changes the counts of its collection."""

    documents: int = 0
    chunks: int = 0
    bytes: int = 0
    removed_chunks: int = 0

    def count(self, sign: int, text_bytes: int, chunks: int, dimensions: int) -> None:
        """One document came (1) or went (-1)."""
        self.documents += sign
        self.chunks += sign * chunks
        self.bytes += sign * (text_bytes + _FLOAT_BYTES * dimensions * chunks)
        self.removed_chunks += chunks if sign < 0 else 0


def record_change(database: Connection, collection: CollectionRecord, change: Change) -> int:
    """Keep the counts, and let every process see that something changed; how many chunks there are now."""
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


def remember_file(database: Connection, collection: int, path: str, state: StoredFile) -> int:
    """Return the row of a file, whose state is noted."""
    database.execute(
        "INSERT INTO files (collection, path, digest, size, changed, indexed) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (collection, path) DO UPDATE SET digest = excluded.digest, size = excluded.size, "
        "changed = excluded.changed, indexed = excluded.indexed",
        (collection, path, state.digest, state.size, state.changed_ns, time.time()),
    )
    query = "SELECT row FROM files WHERE collection = ? AND path = ?"
    (row,) = database.execute(query, (collection, path)).fetchone()
    return int(row)


def annotated(metadata: str, name: str, value: Scalar) -> str:
    """Return the metadata of a document with a field set, or without it where the value is None."""
    fields: dict[str, Scalar | list[Scalar]] = json.loads(metadata)
    fields.pop(name, None)
    return as_json(fields if value is None else {**fields, name: value})


def changed_meanwhile(document: str) -> CollectionError:
    """Return the error of a document that was to stay as it was stored, and is not stored so any more."""
    return CollectionError(
        f"document {document!r} was changed or removed by another process meanwhile; send the call again"
    )


def attributes(metadata: str, file: str) -> Iterable[tuple[str, Scalar]]:
    """Give names and values by which a document is found: its metadata, and the path of its file."""
    if file:
        yield "path", file
    fields: dict[str, Scalar | list[Scalar]] = json.loads(metadata)
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, one
