"""Write to a collection inside one write transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.matching import words_table
from mcp_server_embeddings.store.records import passage_text
from mcp_server_embeddings.store.sql.writing import DocumentWriter, Incoming, attributes
from mcp_server_embeddings.store.sqlite.connection import Connection
from mcp_server_embeddings.store.sqlite.filtering import storable
from mcp_server_embeddings.store.sqlite.fulltext import delete_words, insert_words

MAX_CHUNKS = 1_000_000
"""Maximum of a collection: an exact search scans so many in some hundredths of a second."""


class SqliteWriter(DocumentWriter[Connection]):
    """Writes documents row by row."""

    def _insert(self, documents: Sequence[Incoming], files: Mapping[str, int]) -> None:
        key = self._record.key
        for one in documents:
            document = one.document
            row = self._database.execute(
                "INSERT INTO documents (collection, id, digest, file, metadata, text) VALUES (?, ?, ?, ?, ?, ?)",
                (key, document.id, one.digest, files.get(document.file), one.metadata, document.text),
            ).lastrowid
            self._insert_attributes([(int(row or 0), one.metadata, document.file)])
            for part, (chunk, chunk_digest) in enumerate(zip(document.chunks, one.chunk_digests, strict=True)):
                number = self._database.execute(
                    "INSERT INTO chunks (collection, document, part, start, stop, heading, digest) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (key, row, part, chunk.start, chunk.stop, chunk.heading, chunk_digest),
                ).lastrowid
                vector = chunk.vector.astype("<f4").tobytes()
                self._database.execute("INSERT INTO vectors VALUES (?, ?)", (number, vector))
                text = passage_text(chunk.heading, document.text[chunk.start : chunk.stop])
                insert_words(self._database, key, int(number or 0), text)
            self._change.count(1, len(document.text.encode()), len(document.chunks), self._record.dimensions)

    def _insert_attributes(self, documents: Iterable[tuple[int, str, str]]) -> None:
        self._database.executemany(
            "INSERT INTO attributes VALUES (?, ?, ?, ?)",
            [
                (self._record.key, name, storable(value), row)
                for row, metadata, path in documents
                for name, value in attributes(metadata, path)
            ],
        )

    def _delete(self, rows: Sequence[int]) -> None:
        for row in rows:
            (text,) = self._database.execute("SELECT text FROM documents WHERE row = ?", (row,)).fetchone()
            chunks = self._database.execute("SELECT row FROM chunks WHERE document = ?", (row,)).fetchall()
            for (chunk,) in chunks:
                delete_words(self._database, self._record.key, chunk)
                self._database.execute("DELETE FROM vectors WHERE chunk = ?", (chunk,))
            self._change.count(-1, len(text.encode()), len(chunks), self._record.dimensions)
        self._delete_rows(rows)

    def _update_counts(self) -> int:
        """Update the counts; see ``DocumentWriter``.

        Raises:
            CollectionError: There are too many chunks now; the transaction must not be committed.
        """
        is_growing = self._change.chunks > 0
        chunks = super()._update_counts()
        if chunks > MAX_CHUNKS and is_growing:
            raise CollectionError(
                f"collection {self._record.name!r} would have {chunks:,} chunks, at most {MAX_CHUNKS:,} are searched "
                "exactly in one process; use several collections, or see docs/scaling.md for what serves more"
            )
        return chunks


def remove_collection(database: sqlite3.Connection, collection: int) -> None:
    """Remove a collection and everything in it."""
    database.execute("DELETE FROM vectors WHERE chunk IN (SELECT row FROM chunks WHERE collection = ?)", (collection,))
    for table in ("attributes", "chunks", "documents", "files", "sources", "segments"):
        database.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))
    database.execute(f"DROP TABLE {words_table(collection)}")
    database.execute("DELETE FROM collections WHERE row = ?", (collection,))
