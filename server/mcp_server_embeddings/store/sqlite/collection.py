"""One collection of the SQLite file."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

import numpy as np

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.matching import best_matches
from mcp_server_embeddings.store.records import (
    CollectionRecord,
    Nearest,
    NewDocument,
    PutResult,
    Vector,
    WordMatches,
    digest,
    passage_text,
)
from mcp_server_embeddings.store.sql.collection import SqlCollection
from mcp_server_embeddings.store.sql.connection import Database
from mcp_server_embeddings.store.sql.filtering import Filter
from mcp_server_embeddings.store.sqlite.connection import Connection
from mcp_server_embeddings.store.sqlite.filtering import filtered, selected_rows
from mcp_server_embeddings.store.sqlite.fulltext import SqliteTerms
from mcp_server_embeddings.store.sqlite.matrix import Matrix, Snapshot
from mcp_server_embeddings.store.sqlite.segments import SegmentFiles
from mcp_server_embeddings.store.sqlite.stored_vectors import vectors_of
from mcp_server_embeddings.store.sqlite.writing import SqliteWriter
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Vectors

_DAMAGE = (sqlite3.Error, ValueError, TypeError)
"""Errors from damaged pages, raised by SQLite or while its values are decoded."""


class SqliteCollection(SqlCollection[Connection]):
    """A collection of the SQLite file, whose keys are rows.

    Args:
        database: The file that holds it.
        record: The record at the time of opening.
        matrix: Returns the vectors of a collection in memory.
        segments: The segment files of large collections.
    """

    def __init__(
        self,
        database: Database[Connection],
        record: CollectionRecord,
        matrix: Callable[[CollectionRecord], Matrix],
        segments: SegmentFiles,
    ) -> None:
        super().__init__(database, record)
        self._matrix = matrix
        self._segments = segments

    def _filter(self, where: Where | None) -> Filter | None:
        return filtered(self.record.key, where)

    def _vectors_table(self) -> str:
        return "vectors"

    def _decode(self, vector: bytes) -> Vector:
        return np.frombuffer(vector, dtype="<f4")

    def _writer(self, database: Connection) -> SqliteWriter:
        return SqliteWriter(database, self._current(database))

    def nearest(self, vectors: Vectors, k: int, where: Where | None = None) -> list[Nearest]:
        with self._reading() as database:
            snapshot = self.snapshot(database)
            return snapshot.nearest(database, vectors, k, selected_rows(database, self._filter(where)))

    def vectors(self, keys: Sequence[int]) -> Vectors:
        with self._reading() as database:
            return vectors_of(database, np.asarray(keys, np.int64), self.record.dimensions)

    def matching(self, words: str, k: int, where: Where | None = None) -> WordMatches:
        with self._reading() as database:
            record = self._current(database)
            known = self._matrix(record).words.at(database.generation, record.revision)
            terms = SqliteTerms(database, record.key, self._filter(where), known)
            return best_matches(terms, words, k)

    def item_texts(self, keys: Sequence[int], length: int | None = None) -> list[str]:
        if length is None:
            return super().item_texts(keys)
        # Bytes, up to four per character: SQLite's substr() of a text ends at its first NUL.
        found = self._of_items(keys, f"substr(CAST(text AS BLOB), 1, {4 * length:d})")
        return [str(start, "utf-8", "replace")[:length] for start in found]

    def readable(self) -> Iterator[NewDocument]:
        with self._reading() as database:
            key = self._current(database).key
            for row in range(1, _last_row(database) + 1):
                document = self._read_whole(database, key, row) or _read_text(database, key, row)
                if document is not None:
                    yield document

    def _read_whole(self, database: Connection, key: int, row: int) -> NewDocument | None:
        try:
            (found,) = self._batch(database, "d.collection = ? AND d.row = ?", (key, row), 1).documents or (None,)
            intact = found is not None and _is_intact(database, row, found)
        except _DAMAGE:
            return None
        return found if intact else None

    def snapshot(self, database: Connection) -> Snapshot:
        """Update the vectors in memory and return them. A returned snapshot never changes."""
        record = self._current(database)
        return self._matrix(record).snapshot(database, record)

    def item_vectors(self, keys: Sequence[int]) -> Vectors:
        with self._reading() as database:
            snapshot = self.snapshot(database)
            query = "SELECT row, document, stop - start FROM chunks WHERE collection = ? ORDER BY document, part"
            found = database.execute(query, (self.record.key,))
            chunks = np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, 3)
        documents, starts = np.unique(chunks[:, 1], return_index=True)
        wanted = np.asarray(keys, np.int64)
        places = np.searchsorted(documents, wanted)
        self._check_items(documents[np.minimum(places, len(documents) - 1)] == wanted if len(documents) else [False])
        return snapshot.means(database, chunks[:, 0], chunks[:, 2], starts, places)

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        with self._database.writing() as database:
            result = self._writer(database).put(documents)
            chunks = self._current(database).chunks
        if chunks >= 2 * self._segments.rows and (result.added or result.updated):
            with suppress(StorageError), self._database.reading() as database:  # the documents are stored anyway
                self._segments.extend(database, self.record.key)
        return result


def _last_row(database: Connection) -> int:
    """Return the highest row that a document may have."""
    with suppress(*_DAMAGE):
        (last,) = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'documents'").fetchone()
        return int(last)
    with suppress(*_DAMAGE):
        (last,) = database.execute("SELECT max(row) FROM documents").fetchone()
        return int(last)
    return 0


def _read_text(database: Connection, key: int, row: int) -> NewDocument | None:
    """Return a document whose chunks cannot be read, without them; None if its text cannot be read either."""
    try:
        query = "SELECT id, text, metadata FROM documents WHERE collection = ? AND row = ?"
        found = database.execute(query, (key, row)).fetchone()
        document = NewDocument(str(found[0]), str(found[1]), json.loads(found[2]), ()) if found else None
        intact = document is not None and _is_intact(database, row, document)
    except _DAMAGE:
        return None
    return document if intact else None


def _is_intact(database: Connection, row: int, document: NewDocument) -> bool:
    """Tell whether the digests of a text and its chunks are the stored ones."""
    (known,) = database.execute("SELECT digest FROM documents WHERE row = ?", (row,)).fetchone()
    if bytes(known) != digest(document.text):
        return False
    query = "SELECT digest FROM chunks WHERE document = ? ORDER BY part"
    stored = [bytes(part) for (part,) in database.execute(query, (row,))] if document.chunks else []
    texts = [passage_text(chunk.heading, document.text[chunk.start : chunk.stop]) for chunk in document.chunks]
    return stored == [digest(text) for text in texts] and (not document.chunks or _is_covered(document))


def _is_covered(document: NewDocument) -> bool:
    """Tell whether the chunks are in order and cover the whole text: a damaged index repeats or omits some."""
    text, place, last = document.text, 0, -1
    for chunk in document.chunks:
        if not last < chunk.start < chunk.stop <= len(text) or text[place : chunk.start].strip():
            return False
        place, last = max(place, chunk.stop), chunk.start
    return not text[place:].strip()
