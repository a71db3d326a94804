"""Write to a collection of an SQL database inside one write transaction: the parts that all databases share."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mcp_server_embeddings.errors import CollectionError
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
from mcp_server_embeddings.store.sql.connection import Connection, execute_in, select_in

C = TypeVar("C", bound=Connection)

_FLOAT_BYTES = 4


@dataclass(slots=True)
class Change:
    """Changes of the counts of a collection by one write.

    Attributes:
        documents: Documents added, less those removed.
        chunks: Chunks added, less those removed.
        bytes: Bytes of their texts and vectors.
        removed_chunks: Chunks removed.
        terms: Terms added, less those removed; 0 where the full-text index counts them itself.
    """

    documents: int = 0
    chunks: int = 0
    bytes: int = 0
    removed_chunks: int = 0
    terms: int = 0

    def count(self, sign: int, text_bytes: int, chunks: int, dimensions: int) -> None:
        """Count one document as added (1) or removed (-1)."""
        self.documents += sign
        self.chunks += sign * chunks
        self.bytes += sign * (text_bytes + _FLOAT_BYTES * dimensions * chunks)
        self.removed_chunks += chunks if sign < 0 else 0


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A stored document without its text; ``file`` is the row of its file."""

    row: int
    digest: bytes
    metadata: str
    file: int | None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A document to store.

    Attributes:
        document: The document as the database can store it.
        digest: Digest of the text that was sent.
        chunk_digests: Digests of the embedded texts of its chunks, as they were sent.
        metadata: The metadata to store.
        stored: The stored document with its id.
    """

    document: NewDocument
    digest: bytes
    chunk_digests: Sequence[bytes]
    metadata: str
    stored: StoredRow | None

    @property
    def unchanged(self) -> bool:
        """Whether the same document is stored already."""
        return bool(self.stored and (self.stored.digest, self.stored.metadata) == (self.digest, self.metadata))


class DocumentWriter(ABC, Generic[C]):
    """Adds, changes and removes documents of a collection inside one write transaction.

    Args:
        database: A connection inside the transaction.
        record: The record of the collection in this transaction.
    """

    def __init__(self, database: C, record: CollectionRecord) -> None:
        self._database = database
        self._record = record
        self._change = Change()

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        """Implement ``Collection.put``.

        Raises:
            CollectionError: A document without chunks, since it was stored already, is no longer stored like this.
        """
        result, moved_count = PutResult(), 0
        for group in self._groups(documents):
            unchanged = [one for one in group if one.unchanged]
            different = [one for one in group if not one.unchanged]
            _check_chunks(different)
            files = self._record_files(group)
            moved = {
                one.stored: files.get(one.document.file)
                for one in unchanged
                if one.stored and one.stored.file != files.get(one.document.file)
            }
            self._set_files({stored.row: file for stored, file in moved.items()})
            replaced = [one.stored for one in different if one.stored]
            self._delete([stored.row for stored in replaced])
            self._insert(different, files)
            self._forget_unused({stored.file for stored in [*moved, *replaced]})  # after inserting: it may use them
            moved_count += len(moved)
            result += PutResult(len(different) - len(replaced), len(replaced), len(unchanged))
        if result.added or result.updated or moved_count:
            self._update_counts()
        return result

    def annotate(self, name: str, values: Mapping[str, Scalar]) -> int:
        """Implement ``Collection.annotate``."""
        stored = self._stored(list(values))
        metadata = {
            stored[document].row: with_field(stored[document].metadata, name, value)
            for document, value in values.items()
            if document in stored
        }
        if metadata:
            self._set_column("metadata", metadata)
            self._replace_attributes(list(metadata))
            self._update_counts()
        return len(metadata)

    def remove(self, rows: Sequence[int]) -> None:
        """Remove documents by row, and the records of files that have no documents left."""
        if rows:
            query = "SELECT file FROM documents WHERE row IN (...)"
            files = {file for (file,) in select_in(self._database, query, rows)}
            self._delete(rows)
            self._forget_unused(files)
            self._update_counts()

    @abstractmethod
    def _insert(self, documents: Sequence[Incoming], files: Mapping[str, int]) -> None:
        """Insert documents and count them; ``files`` has the rows of files by path."""

    @abstractmethod
    def _delete(self, rows: Sequence[int]) -> None:
        """Delete documents with all that belongs to them, and count them."""

    @abstractmethod
    def _insert_attributes(self, documents: Iterable[tuple[int, str, str]]) -> None:
        """Insert what filters compare, for documents by row, metadata and path; see ``attributes``."""

    def _storable(self, document: NewDocument) -> NewDocument:
        """Return a document as the database can store it."""
        return document

    def _update_counts(self) -> int:
        """Update the counts, and the revision by which processes notice changes; return the new number of chunks."""
        change, self._change = self._change, Change()
        (chunks,) = self._database.execute(
            "UPDATE collections SET revision = revision + 1, removals = removals + ?, updated = ?, "
            "documents = documents + ?, chunks = chunks + ?, bytes = bytes + ? WHERE row = ? RETURNING chunks",
            (
                int(change.removed_chunks > 0),
                time.time(),
                change.documents,
                change.chunks,
                change.bytes,
                self._record.key,
            ),
        ).fetchone()
        return int(chunks)

    def _groups(self, documents: Sequence[NewDocument]) -> Iterator[list[Incoming]]:
        """Group documents so that no id occurs twice in a group, since the later document replaces the earlier one."""
        group: dict[str, NewDocument] = {}
        for document in documents:
            key = self._storable(document).id
            if key in group:
                yield self._incoming(group)
                group = {}
            group[key] = document
        if group:
            yield self._incoming(group)

    def _incoming(self, group: Mapping[str, NewDocument]) -> list[Incoming]:
        found = self._stored(list(group))
        incoming = []
        for key, document in group.items():
            stored, text = found.get(key), document.text
            digests = [digest(passage_text(chunk.heading, text[chunk.start : chunk.stop])) for chunk in document.chunks]
            metadata = stored.metadata if stored and document.metadata is None else as_json(document.metadata or {})
            incoming.append(Incoming(self._storable(document), digest(text), digests, metadata, stored))
        return incoming

    def _stored(self, ids: Sequence[str]) -> dict[str, StoredRow]:
        query = "SELECT id, row, digest, metadata, file FROM documents WHERE collection = ? AND id IN (...)"
        return {key: StoredRow(*values) for key, *values in select_in(self._database, query, ids, self._record.key)}

    def _record_files(self, group: Sequence[Incoming]) -> dict[str, int]:
        """Record the files of documents, return their rows by path; their state is recorded once a file is stored."""
        digests = {one.document.file: one.document.file_digest for one in group if one.document.file}
        return {
            path: record_file(self._database, self._record.key, path, StoredFile(known))
            for path, known in digests.items()
        }

    def _set_files(self, files: Mapping[int, int | None]) -> None:
        """Set the files of documents, by row."""
        if files:
            self._set_column("file", files)
            self._replace_attributes(list(files))  # the path is one

    def _set_column(self, column: str, values: Mapping[int, object]) -> None:
        """Set a column of documents, by row."""
        rows = [(value, row) for row, value in values.items()]
        self._database.executemany(f"UPDATE documents SET {column} = ? WHERE row = ?", rows)

    def _replace_attributes(self, rows: Sequence[int]) -> None:
        """Replace what filters compare, after the metadata or the file of documents changed."""
        execute_in(self._database, "DELETE FROM attributes WHERE document IN (...)", rows)
        query = (
            "SELECT documents.row, metadata, coalesce(path, '') FROM documents LEFT JOIN files ON file = files.row "
            "WHERE documents.row IN (...)"
        )
        self._insert_attributes(list(select_in(self._database, query, rows)))

    def _delete_rows(self, rows: Sequence[int]) -> None:
        """Delete the rows of documents in the tables that all databases have."""
        for table, column in (("chunks", "document"), ("attributes", "document"), ("documents", "row")):
            execute_in(self._database, f"DELETE FROM {table} WHERE {column} IN (...)", rows)

    def _forget_unused(self, files: Iterable[int | None]) -> None:
        """Remove the records of files that have no documents left."""
        statement = (
            "DELETE FROM files WHERE row IN (...) AND NOT EXISTS (SELECT 1 FROM documents WHERE file = files.row)"
        )
        execute_in(self._database, statement, [file for file in files if file is not None])


def _check_chunks(documents: Iterable[Incoming]) -> None:
    """Reject documents without chunks: they were stored already, but another process changed or removed them."""
    for one in documents:
        if not one.document.chunks:
            raise CollectionError(
                f"document {one.document.id!r} was changed or removed by another process meanwhile; send the call again"
            )


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


def attributes(metadata: str, path: str) -> Iterator[tuple[str, Scalar]]:
    """Yield the names and values that filters compare: the metadata of a document, and the path of its file."""
    if path:
        yield "path", path
    fields: dict[str, Scalar | list[Scalar]] = json.loads(metadata)
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, one
