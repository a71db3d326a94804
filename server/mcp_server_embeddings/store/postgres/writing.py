"""Write to a collection inside one write transaction, many documents per statement."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcp_server_embeddings.store.matching import words_table
from mcp_server_embeddings.store.postgres.connection import Connection
from mcp_server_embeddings.store.postgres.filtering import columns
from mcp_server_embeddings.store.postgres.fulltext import index_values
from mcp_server_embeddings.store.postgres.nearest import index_vectors, vectors_table
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


def remove_collection(database: Connection, collection: int) -> None:
    """Remove a collection and everything in it."""
    database.execute(f"DROP TABLE {vectors_table(collection)}, {words_table(collection)}")
    for table in ("attributes", "chunks", "documents", "files", "sources"):
        database.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))
    database.execute("DELETE FROM collections WHERE row = ?", (collection,))


@dataclass(frozen=True, slots=True)
class _Stored:
    """A document as it is stored."""

    row: int
    digest: bytes
    metadata: str
    file: int | None


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A document to store.

    Attributes:
        document: The document without NUL characters.
        digest: Digest of its original text.
        chunk_digests: Digests of the embedded texts of its chunks, from the original text.
        stored: The stored document with its id.
    """

    document: NewDocument
    digest: bytes
    chunk_digests: list[bytes]
    stored: _Stored | None

    @property
    def metadata(self) -> str:
        """The metadata to store."""
        if self.stored and self.document.metadata is None:
            return self.stored.metadata
        return as_json(self.document.metadata or {})

    @property
    def unchanged(self) -> bool:
        """Whether the same document is stored already."""
        return bool(self.stored and (self.stored.digest, self.stored.metadata) == (self.digest, self.metadata))


def put_documents(database: Connection, record: CollectionRecord, documents: Sequence[NewDocument]) -> PutResult:
    """Implement ``Collection.put``."""
    result, change, moved, terms = PutResult(), Change(), 0, 0
    for group in _unique_groups(documents):
        stored = _read_stored(database, record.key, [document.id for document in group])
        incoming = [_incoming(document, stored) for document in group]
        files = _record_files(database, record.key, group)
        same = [one for one in incoming if one.unchanged]
        different = [one for one in incoming if not one.unchanged]
        without_chunks = next((one.document.id for one in different if not one.document.chunks), None)
        if without_chunks is not None:
            raise changed_meanwhile(without_chunks)
        earlier_files = _update_files(database, record.key, same, files)
        replaced = [one.stored.row for one in different if one.stored]
        terms -= _delete(database, record, replaced, change)
        terms += _insert(database, record, different, files, change)
        moved += len(earlier_files)
        earlier_files += [one.stored.file for one in different if one.stored]
        _forget_unused(database, set(earlier_files))  # only now: other documents of the group may use them
        result += PutResult(len(different) - len(replaced), len(replaced), len(same))
    if result.added or result.updated or moved:
        _update_counts(database, record, change, terms)
    return result


def annotate_documents(database: Connection, record: CollectionRecord, name: str, values: Mapping[str, Scalar]) -> int:
    """Implement ``Collection.annotate``."""
    stored = _read_stored(database, record.key, list(values))
    rows, metadata = [], []
    for document, value in values.items():
        if document in stored:
            rows.append(stored[document].row)
            metadata.append(with_field(stored[document].metadata, name, value))
    if rows:
        database.execute(
            "UPDATE documents SET metadata = new.metadata FROM unnest(?::bigint[], ?::text[]) AS new (row, metadata) "
            "WHERE documents.row = new.row",
            (rows, metadata),
        )
        _replace_attributes(database, record.key, rows)
        _update_counts(database, record, Change(), 0)
    return len(rows)


def remove_documents(database: Connection, record: CollectionRecord, rows: Sequence[int]) -> None:
    """Remove documents by row, and the records of files that have no documents left."""
    if rows:
        change = Change()
        query = "SELECT DISTINCT file FROM documents WHERE row = ANY(?)"
        files = {file for (file,) in database.execute(query, (list(rows),))}
        terms = _delete(database, record, rows, change)
        _forget_unused(database, files)
        _update_counts(database, record, change, -terms)


def _unique_groups(documents: Sequence[NewDocument]) -> Iterator[list[NewDocument]]:
    """Group documents so that no id occurs twice in a group: the later one replaces the earlier."""
    group: dict[str, NewDocument] = {}
    for document in documents:
        key = document.id.replace("\0", "")  # as it is stored
        if key in group:
            yield list(group.values())
            group = {}
        group[key] = document
    if group:
        yield list(group.values())


def _incoming(document: NewDocument, stored: Mapping[str, _Stored]) -> _Incoming:
    text = document.text
    digests = [digest(passage_text(chunk.heading, text[chunk.start : chunk.stop])) for chunk in document.chunks]
    return _Incoming(_without_nul(document), digest(text), digests, stored.get(document.id.replace("\0", "")))


def _without_nul(document: NewDocument) -> NewDocument:
    """Return a document without NUL characters, which PostgreSQL does not have; the places of chunks are shifted."""
    text = document.text
    if "\0" not in text:
        return document

    def shifted(place: int) -> int:
        return place - text.count("\0", 0, place)

    chunks = tuple(replace(chunk, start=shifted(chunk.start), stop=shifted(chunk.stop)) for chunk in document.chunks)
    return replace(document, text=text.replace("\0", ""), chunks=chunks)


def _read_stored(database: Connection, collection: int, ids: Sequence[str]) -> dict[str, _Stored]:
    query = "SELECT id, row, digest, metadata, file FROM documents WHERE collection = ? AND id = ANY(?)"
    return {key: _Stored(*values) for key, *values in database.execute(query, (collection, list(ids)))}


def _record_files(database: Connection, collection: int, documents: Sequence[NewDocument]) -> dict[str, int]:
    """Record the files of documents, return their rows by path; their full state is recorded once a file is stored."""
    digests = {document.file: document.file_digest for document in documents if document.file}
    return {path: record_file(database, collection, path, StoredFile(known)) for path, known in digests.items()}


def _update_files(
    database: Connection, collection: int, documents: Sequence[_Incoming], files: Mapping[str, int]
) -> list[int | None]:
    """Record the current files of unchanged documents; return the earlier files of those whose file changed."""
    moved = [
        (one.stored.row, one.stored.file, files.get(one.document.file))
        for one in documents
        if one.stored and one.stored.file != files.get(one.document.file)
    ]
    if moved:
        database.executemany("UPDATE documents SET file = ? WHERE row = ?", [(file, row) for row, _, file in moved])
        _replace_attributes(database, collection, [row for row, _, _ in moved])  # the path of its file is one
    return [file for _, file, _ in moved]


def _insert(
    database: Connection,
    record: CollectionRecord,
    documents: Sequence[_Incoming],
    files: Mapping[str, int],
    change: Change,
) -> int:
    """Insert documents and return their number of terms."""
    if not documents:
        return 0
    rows = _keys(database, "documents", len(documents))
    chunk_rows = iter(_keys(database, "chunks", sum(len(one.document.chunks) for one in documents)))
    document_values, chunk_values, word_values, vector_values = [], [], [], []
    attribute_values: list[tuple[Any, ...]] = []
    for row, one in zip(rows, documents, strict=True):
        document, metadata = one.document, one.metadata
        document_values.append(
            (row, record.key, document.id, one.digest, files.get(document.file), metadata, document.text)
        )
        attribute_values += _attributes(record.key, row, metadata, document.file)
        for part, (chunk, chunk_digest) in enumerate(zip(document.chunks, one.chunk_digests, strict=True)):
            key = next(chunk_rows)
            chunk_values.append((key, record.key, row, part, chunk.start, chunk.stop, chunk.heading, chunk_digest))
            text = passage_text(chunk.heading, document.text[chunk.start : chunk.stop])
            word_values.append((key, *index_values(text)))
            vector_values.append((key, chunk.vector))
        change.count(1, len(document.text.encode()), len(document.chunks), record.dimensions)
    _copy(database, "documents (row, collection, id, digest, file, metadata, text)", document_values)
    _copy(database, "chunks (row, collection, document, part, start, stop, heading, digest)", chunk_values)
    _copy(database, _ATTRIBUTES, attribute_values)
    _copy(database, f"{words_table(record.key)} (chunk, length, language, words)", word_values)
    _copy(database, f"{vectors_table(record.key)} (chunk, vector)", vector_values, types=("int8", "vector"))
    return sum(length for _, length, _, _ in word_values)


_ATTRIBUTES = "attributes (collection, name, text, number, document)"


def _keys(database: Connection, table: str, count: int) -> list[int]:
    """Return new keys, ascending."""
    query = f"SELECT nextval(pg_get_serial_sequence('{table}', 'row')) FROM generate_series(1, ?)"
    return sorted(key for (key,) in database.execute(query, (count,)))


def _copy(database: Connection, table: str, rows: Iterable[Sequence[Any]], types: Sequence[str] = ()) -> None:
    """Append rows to a table; in binary format if the types of its columns are given."""
    form = " (FORMAT BINARY)" if types else ""
    with database.raw.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN{form}".encode()) as copy:
        if types:
            copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _attributes(collection: int, row: int, metadata: str, file: str) -> Iterator[tuple[Any, ...]]:
    for name, value in attributes(metadata, file):
        yield (collection, name, *columns(value), row)


def _replace_attributes(database: Connection, collection: int, rows: Sequence[int]) -> None:
    """Replace the attributes of documents after their metadata or their file changed."""
    database.execute("DELETE FROM attributes WHERE document = ANY(?)", (list(rows),))
    query = (
        "SELECT documents.row, metadata, coalesce(path, '') FROM documents LEFT JOIN files ON file = files.row "
        "WHERE documents.row = ANY(?)"
    )
    found = database.execute(query, (list(rows),)).fetchall()
    values = (one for row, metadata, path in found for one in _attributes(collection, row, metadata, path))
    _copy(database, _ATTRIBUTES, values)


def _delete(database: Connection, record: CollectionRecord, rows: Sequence[int], change: Change) -> int:
    """Delete documents and return their number of terms."""
    if not rows:
        return 0
    found = database.execute(
        "SELECT octet_length(text), (SELECT count(*) FROM chunks WHERE document = documents.row) "
        "FROM documents WHERE row = ANY(?)",
        (list(rows),),
    ).fetchall()
    for text_bytes, chunks in found:
        change.count(-1, text_bytes, chunks, record.dimensions)
    (terms,) = database.execute(
        f"WITH gone AS (DELETE FROM {words_table(record.key)} WHERE chunk IN "
        "(SELECT row FROM chunks WHERE document = ANY(?)) RETURNING length) SELECT coalesce(sum(length), 0) FROM gone",
        (list(rows),),
    ).fetchone() or (0,)
    database.execute(
        f"DELETE FROM {vectors_table(record.key)} WHERE chunk IN (SELECT row FROM chunks WHERE document = ANY(?))",
        (list(rows),),
    )
    for table, column in (("chunks", "document"), ("attributes", "document"), ("documents", "row")):
        database.execute(f"DELETE FROM {table} WHERE {column} = ANY(?)", (list(rows),))
    return int(terms)


def _forget_unused(database: Connection, files: set[int | None]) -> None:
    """Remove the records of files that have no documents left."""
    database.execute(
        "DELETE FROM files WHERE row = ANY(?::bigint[]) "
        "AND NOT EXISTS (SELECT 1 FROM documents WHERE file = files.row)",
        ([file for file in files if file is not None],),
    )


def _update_counts(database: Connection, record: CollectionRecord, change: Change, terms: int) -> None:
    """Update the counts, and create the vector index once it is worthwhile."""
    chunks = update_counts(database, record, change)
    if terms:
        database.execute("UPDATE collections SET terms = terms + ? WHERE row = ?", (terms, record.key))
    if record.chunks < chunks:
        index_vectors(database, record, chunks)
