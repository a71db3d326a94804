"""Write to a collection inside one write transaction, many documents per statement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mcp_server_embeddings.store.matching import words_table
from mcp_server_embeddings.store.postgres.connection import Connection
from mcp_server_embeddings.store.postgres.filtering import columns
from mcp_server_embeddings.store.postgres.fulltext import index_values
from mcp_server_embeddings.store.postgres.nearest import index_vectors, vectors_table
from mcp_server_embeddings.store.records import NewDocument, passage_text
from mcp_server_embeddings.store.sql.writing import DocumentWriter, Incoming, attributes

_COLUMN_TYPES = {"metadata": "text", "file": "bigint"}


class PostgresWriter(DocumentWriter[Connection]):
    """Writes documents by ``COPY``."""

    def _storable(self, document: NewDocument) -> NewDocument:
        """Return a document without NUL characters, which PostgreSQL does not have; chunks are shifted."""
        text = document.text
        if "\0" not in text and "\0" not in document.id:
            return document

        def shifted(place: int) -> int:
            return place - text.count("\0", 0, place)

        chunks = (replace(chunk, start=shifted(chunk.start), stop=shifted(chunk.stop)) for chunk in document.chunks)
        key = document.id.replace("\0", "")
        return replace(document, id=key, text=text.replace("\0", ""), chunks=tuple(chunks))

    def _insert(self, documents: Sequence[Incoming], files: Mapping[str, int]) -> None:
        if not documents:
            return
        key = self._record.key
        rows = self._keys("documents", len(documents))
        chunk_rows = iter(self._keys("chunks", sum(len(one.document.chunks) for one in documents)))
        document_values, chunk_values, word_values, vector_values = [], [], [], []
        for row, one in zip(rows, documents, strict=True):
            document = one.document
            file = files.get(document.file)
            document_values.append((row, key, document.id, one.digest, file, one.metadata, document.text))
            for part, (chunk, chunk_digest) in enumerate(zip(document.chunks, one.chunk_digests, strict=True)):
                number = next(chunk_rows)
                chunk_values.append((number, key, row, part, chunk.start, chunk.stop, chunk.heading, chunk_digest))
                text = passage_text(chunk.heading, document.text[chunk.start : chunk.stop])
                word_values.append((number, *index_values(text)))
                vector_values.append((number, chunk.vector))
            self._change.count(1, len(document.text.encode()), len(document.chunks), self._record.dimensions)
        self._copy("documents (row, collection, id, digest, file, metadata, text)", document_values)
        self._copy("chunks (row, collection, document, part, start, stop, heading, digest)", chunk_values)
        self._insert_attributes(
            (row, one.metadata, one.document.file) for row, one in zip(rows, documents, strict=True)
        )
        self._copy(f"{words_table(key)} (chunk, length, language, words)", word_values)
        self._copy(f"{vectors_table(key)} (chunk, vector)", vector_values, types=("int8", "vector"))
        self._change.terms += sum(length for _, length, _, _ in word_values)

    def _insert_attributes(self, documents: Iterable[tuple[int, str, str]]) -> None:
        self._copy(
            "attributes (collection, name, text, number, document)",
            (
                (self._record.key, name, *columns(value), row)
                for row, metadata, path in documents
                for name, value in attributes(metadata, path)
            ),
        )

    def _delete(self, rows: Sequence[int]) -> None:
        if not rows:
            return
        key = self._record.key
        found = self._database.execute(
            "SELECT octet_length(text), (SELECT count(*) FROM chunks WHERE document = documents.row) "
            "FROM documents WHERE row = ANY(?)",
            (list(rows),),
        ).fetchall()
        for text_bytes, chunks in found:
            self._change.count(-1, text_bytes, chunks, self._record.dimensions)
        query = (
            f"WITH gone AS (DELETE FROM {words_table(key)} WHERE chunk IN (SELECT row FROM chunks "
            "WHERE document = ANY(?)) RETURNING length) SELECT coalesce(sum(length), 0) FROM gone"
        )
        (terms,) = self._database.execute(query, (list(rows),)).fetchone() or (0,)
        self._change.terms -= int(terms)
        self._database.execute(
            f"DELETE FROM {vectors_table(key)} WHERE chunk IN (SELECT row FROM chunks WHERE document = ANY(?))",
            (list(rows),),
        )
        self._delete_rows(rows)

    def _update_counts(self) -> int:
        """Update the counts, and create the vector index once it is worthwhile."""
        terms = self._change.terms
        chunks = super()._update_counts()
        if terms:
            query = "UPDATE collections SET terms = terms + ? WHERE row = ?"
            self._database.execute(query, (terms, self._record.key))
        if self._record.chunks < chunks:
            index_vectors(self._database, self._record, chunks)
        return chunks

    def _set_column(self, column: str, values: Mapping[int, object]) -> None:
        """Set a column of documents by one statement, in less than half the time of one for each row."""
        kind = _COLUMN_TYPES[column]
        self._database.execute(
            f"UPDATE documents SET {column} = new.value FROM unnest(?::bigint[], ?::{kind}[]) AS new (row, value) "
            "WHERE documents.row = new.row",
            (list(values), list(values.values())),
        )

    def _keys(self, table: str, count: int) -> list[int]:
        """Return new keys, ascending."""
        query = f"SELECT nextval(pg_get_serial_sequence('{table}', 'row')) FROM generate_series(1, ?)"
        return sorted(key for (key,) in self._database.execute(query, (count,)))

    def _copy(self, table: str, rows: Iterable[Sequence[Any]], types: Sequence[str] = ()) -> None:
        """Append rows to a table; in binary format if the types of its columns are given."""
        form = " (FORMAT BINARY)" if types else ""
        with self._database.raw.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN{form}".encode()) as copy:
            if types:
                copy.set_types(types)
            for row in rows:
                copy.write_row(row)


def remove_collection(database: Connection, collection: int) -> None:
    """Remove a collection and everything in it."""
    database.execute(f"DROP TABLE {vectors_table(collection)}, {words_table(collection)}")
    for table in ("attributes", "chunks", "documents", "files", "sources"):
        database.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))
    database.execute("DELETE FROM collections WHERE row = ?", (collection,))
