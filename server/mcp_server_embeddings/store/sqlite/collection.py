"""One collection of the file."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Self

import numpy as np

from mcp_server_embeddings.errors import StorageError
from mcp_server_embeddings.store.matching import best_matches
from mcp_server_embeddings.store.records import (
    CollectionRecord,
    Nearest,
    NewDocument,
    PutResult,
    Scalar,
    Vector,
    WordMatches,
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
from mcp_server_embeddings.store.sqlite.writing import annotate_documents, put_documents, remove_documents
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Vectors


class SqliteCollection(SqlCollection[Connection]):
    """A collection of the file; keys are rows.

    Args:
        database: The file it is in.
        record: As it was when it was opened.
        matrix: Gives its vectors in memory.
        segments: Keeps those of large collections.
        connection: Inside a read transaction, for all reading; by default each method has its own.
    """

    def __init__(
        self,
        database: Database[Connection],
        record: CollectionRecord,
        matrix: Callable[[CollectionRecord], Matrix],
        segments: SegmentFiles,
        connection: Connection | None = None,
    ) -> None:
        super().__init__(database, record, connection)
        self._matrix = matrix
        self._segments = segments

    def _within_read(self, connection: Connection) -> Self:
        return type(self)(self._database, self.record, self._matrix, self._segments, connection)

    def _filtered(self, where: Where | None) -> Filter | None:
        return filtered(self.record.key, where)

    def _vectors_table(self) -> str:
        return "vectors"

    def _decoded(self, vector: bytes) -> Vector:
        return np.frombuffer(vector, dtype="<f4")

    def _remove_documents(self, database: Connection, record: CollectionRecord, rows: Sequence[int]) -> None:
        remove_documents(database, record, rows)

    def nearest(self, vectors: Vectors, k: int, where: Where | None = None) -> list[Nearest]:
        with self._reading() as database:
            snapshot = self.snapshot(database)
            return snapshot.nearest(database, vectors, k, selected_rows(database, self._filtered(where)))

    def vectors(self, keys: Sequence[int]) -> Vectors:
        with self._reading() as database:
            return vectors_of(database, np.asarray(keys, np.int64), self.record.dimensions)

    def matching(self, words: str, k: int, where: Where | None = None) -> WordMatches:
        with self._reading() as database:
            terms = SqliteTerms(database, self._current(database).key, self._filtered(where))
            return best_matches(terms, words, k)

    def item_texts(self, keys: Sequence[int], length: int | None = None) -> list[str]:
        if length is None:
            return super().item_texts(keys)
        # Of bytes: SQLite's substr of a text ends at its first NUL. A character has four at most.
        found = self._of_items(keys, f"substr(CAST(text AS BLOB), 1, {4 * length:d})")
        return [str(start, "utf-8", "replace")[:length] for start in found]

    def snapshot(self, database: Connection) -> Snapshot:
        """Return the vectors in memory, brought up to date first. What is given is never changed."""
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

    def annotate(self, name: str, values: Mapping[str, Scalar]) -> int:
        with self._database.writing() as database:
            return annotate_documents(database, self._current(database), name, values)

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        with self._database.writing() as database:
            result = put_documents(database, self._current(database), documents)
            chunks = self._current(database).chunks
        if chunks >= 2 * self._segments.rows and (result.added or result.updated):
            with suppress(StorageError), self._database.reading() as database:  # what was put is stored
                self._segments.extended(database, self.record.key)
        return result
