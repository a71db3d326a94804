"""Write to a collection inside one write transaction."""

import sqlite3
from collections.abc import Mapping, Sequence

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.matching import words_table
from mcp_server_embeddings.store.records import (
    CollectionRecord,
    NewDocument,
    PutResult,
    Scalar,
    StoredFile,
    as_json,
    digest,
    passage_text,
)
from mcp_server_embeddings.store.sql.writing import (
    Change,
    attributes,
    changed_meanwhile,
    record_file,
    update_counts,
    with_field,
)
from mcp_server_embeddings.store.sqlite.filtering import storable
from mcp_server_embeddings.store.sqlite.fulltext import delete_words, insert_words

MAX_CHUNKS = 1_000_000
"""Maximum of a collection: an exact search scans so many in some hundredths of a second."""


def put_documents(
    database: sqlite3.Connection, collection: CollectionRecord, documents: Sequence[NewDocument]
) -> PutResult:
    """Implement ``Collection.put``."""
    added = updated = unchanged = moved = 0
    change = Change()
    for document in documents:
        stored = database.execute(
            "SELECT row, digest, metadata FROM documents WHERE collection = ? AND id = ?", (collection.key, document.id)
        ).fetchone()
        metadata = stored[2] if stored and document.metadata is None else as_json(document.metadata or {})
        if stored and stored[1] == digest(document.text) and stored[2] == metadata:
            unchanged += 1
            moved += _set_file(database, collection.key, stored[0], document)
            continue
        if stored:
            _delete(database, collection, [stored[0]], change)
        if not document.chunks:
            raise changed_meanwhile(document.id)
        _insert(database, collection, document, metadata, change)
        added, updated = added + (not stored), updated + bool(stored)
    if added or updated or moved:
        _update_counts(database, collection, change)
    return PutResult(added, updated, unchanged)


def annotate_documents(
    database: sqlite3.Connection, collection: CollectionRecord, name: str, values: Mapping[str, Scalar]
) -> int:
    """Implement ``Collection.annotate``."""
    changed = 0
    query = (
        "SELECT documents.row, metadata, coalesce(path, '') FROM documents LEFT JOIN files ON file = files.row "
        "WHERE documents.collection = ? AND id = ?"
    )
    for document, value in values.items():
        found = database.execute(query, (collection.key, document)).fetchone()
        if found is None:
            continue
        row, metadata, file = found
        metadata = with_field(metadata, name, value)
        database.execute("UPDATE documents SET metadata = ? WHERE row = ?", (metadata, row))
        database.execute("DELETE FROM attributes WHERE document = ?", (row,))
        _insert_attributes(database, collection.key, row, metadata, file)
        changed += 1
    if changed:
        _update_counts(database, collection, Change())
    return changed


def remove_documents(database: sqlite3.Connection, collection: CollectionRecord, rows: Sequence[int]) -> None:
    """Remove documents by row, and the records of files that have no documents left."""
    if rows:
        change = Change()
        _delete(database, collection, rows, change)
        _update_counts(database, collection, change)


def remove_collection(database: sqlite3.Connection, collection: int) -> None:
    """Remove a collection and everything in it."""
    database.execute("DELETE FROM vectors WHERE chunk IN (SELECT row FROM chunks WHERE collection = ?)", (collection,))
    for table in ("attributes", "chunks", "documents", "files", "sources", "segments"):
        database.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))
    database.execute(f"DROP TABLE {words_table(collection)}")
    database.execute("DELETE FROM collections WHERE row = ?", (collection,))


def _record_file(database: sqlite3.Connection, collection: int, document: NewDocument) -> int | None:
    """Record the file of a document and return its row; its full state is recorded once the whole file is stored."""
    if not document.file:
        return None
    return record_file(database, collection, document.file, StoredFile(document.file_digest))


def _insert(
    database: sqlite3.Connection, record: CollectionRecord, document: NewDocument, metadata: str, change: Change
) -> None:
    collection = record.key
    file = _record_file(database, collection, document)
    row = database.execute(
        "INSERT INTO documents (collection, id, digest, file, metadata, text) VALUES (?, ?, ?, ?, ?, ?)",
        (collection, document.id, digest(document.text), file, metadata, document.text),
    ).lastrowid
    _insert_attributes(database, collection, int(row or 0), metadata, document.file)
    for part, chunk in enumerate(document.chunks):
        text = passage_text(chunk.heading, document.text[chunk.start : chunk.stop])
        number = database.execute(
            "INSERT INTO chunks (collection, document, part, start, stop, heading, digest) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (collection, row, part, chunk.start, chunk.stop, chunk.heading, digest(text)),
        ).lastrowid
        database.execute("INSERT INTO vectors VALUES (?, ?)", (number, chunk.vector.astype("<f4").tobytes()))
        insert_words(database, collection, int(number or 0), text)
    change.count(1, len(document.text.encode()), len(document.chunks), record.dimensions)


def _insert_attributes(database: sqlite3.Connection, collection: int, row: int, metadata: str, file: str) -> None:
    database.executemany(
        "INSERT INTO attributes VALUES (?, ?, ?, ?)",
        [(collection, name, storable(value), row) for name, value in attributes(metadata, file)],
    )


def _delete(database: sqlite3.Connection, record: CollectionRecord, rows: Sequence[int], change: Change) -> None:
    for row in rows:
        (text, file) = database.execute("SELECT text, file FROM documents WHERE row = ?", (row,)).fetchone()
        chunks = database.execute("SELECT row FROM chunks WHERE document = ?", (row,)).fetchall()
        for (chunk,) in chunks:
            delete_words(database, record.key, chunk)
            database.execute("DELETE FROM vectors WHERE chunk = ?", (chunk,))
        for name, column in (("chunks", "document"), ("attributes", "document"), ("documents", "row")):
            database.execute(f"DELETE FROM {name} WHERE {column} = ?", (row,))
        _forget_unused(database, file)
        change.count(-1, len(text.encode()), len(chunks), record.dimensions)


def _set_file(database: sqlite3.Connection, collection: int, row: int, document: NewDocument) -> bool:
    """Record the current file of an unchanged document; return whether it is another one than before."""
    file = _record_file(database, collection, document)
    (before, metadata) = database.execute("SELECT file, metadata FROM documents WHERE row = ?", (row,)).fetchone()
    if file == before:
        return False
    database.execute("UPDATE documents SET file = ? WHERE row = ?", (file, row))
    database.execute("DELETE FROM attributes WHERE document = ?", (row,))  # the path of its file is one
    _insert_attributes(database, collection, row, metadata, document.file)
    _forget_unused(database, before)
    return True


def _forget_unused(database: sqlite3.Connection, file: int | None) -> None:
    """Remove the record of a file that has no documents left."""
    database.execute(
        "DELETE FROM files WHERE row = ? AND NOT EXISTS (SELECT 1 FROM documents WHERE file = ?)", (file, file)
    )


def _update_counts(database: sqlite3.Connection, collection: CollectionRecord, change: Change) -> None:
    """Update the counts; see ``update_counts``.

    Raises:
        CollectionError: There are more chunks now than a collection may hold; the transaction must not be committed.
    """
    chunks = update_counts(database, collection, change)
    if chunks > MAX_CHUNKS and change.chunks > 0:
        raise CollectionError(
            f"collection {collection.name!r} would have {chunks:,} chunks, at most {MAX_CHUNKS:,} are searched exactly "
            "in one process; use several collections, or see docs/scaling.md for what serves more"
        )
