"""One collection, as its users see it."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.batches import Batch, read_batches, read_differing, read_surplus
from mcp_server_embeddings.store.database import Database
from mcp_server_embeddings.store.fulltext import best_matches
from mcp_server_embeddings.store.matrix import Matrix
from mcp_server_embeddings.store.records import (
    Chunk,
    CollectionRecord,
    NewDocument,
    PutResult,
    RemoveResult,
    Snapshot,
    StoredDocument,
    Vector,
)
from mcp_server_embeddings.store.where import Where, chunk_rows, filtered
from mcp_server_embeddings.store.writing import confirmed, put_documents, remember_file, remove_documents
from mcp_server_embeddings.vectors.scores import Vectors

_AT_ONCE = 500
"""Values of one query; SQLite allows 32,766 parameters, old builds 999."""

_COLUMNS = ", ".join(field.name for field in fields(CollectionRecord))

_PART = re.compile(r"\A(.+)#([1-9][0-9]{0,8})", re.DOTALL)


def read_record(database: sqlite3.Connection, name: str) -> CollectionRecord | None:
    """The record of a collection; None where there is none."""
    row = database.execute(f"SELECT {_COLUMNS} FROM collections WHERE name = ?", (name,)).fetchone()
    return CollectionRecord(*row) if row else None


def read_records(database: sqlite3.Connection) -> list[CollectionRecord]:
    """All of them, by name."""
    return [CollectionRecord(*row) for row in database.execute(f"SELECT {_COLUMNS} FROM collections ORDER BY name")]


class Collection:
    """A stored set of texts with their vectors. Every method sees what all processes have acknowledged.

    Args:
        database: The file it is in.
        record: As it was when it was opened; ``name``, ``row``, ``identity`` and ``dimensions`` never change.
        matrix: Gives its vectors in memory.
    """

    def __init__(self, database: Database, record: CollectionRecord, matrix: Callable[[], Matrix]) -> None:
        self._database = database
        self._matrix = matrix
        self.record = record

    @property
    def name(self) -> str:
        """What callers call it."""
        return self.record.name

    def now(self) -> CollectionRecord:
        """Its record at this moment.

        Raises:
            CollectionError: It was removed meanwhile.
        """
        with self._database.reading() as database:
            return self._current(database)

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        """Add or replace documents in one transaction; on disk when this returns.

        Raises:
            CollectionError: The collection was removed meanwhile, or would grow too large.
            StorageError: The file cannot be written; nothing was stored.
        """
        with self._database.writing() as database:
            return put_documents(database, self._current(database), documents)

    def remove(self, ids: Sequence[str], confirm: Callable[[], None] = confirmed) -> RemoveResult:
        """Remove documents by id in one transaction.

        Args:
            ids: Of documents; those that are not there are passed over.
            confirm: Called last; where it raises, nothing is removed.
        """
        with self._database.writing() as database:
            record = self._current(database)
            found = {
                row: str(key)
                for part in _parts(ids)
                for row, key in database.execute(
                    f"SELECT row, id FROM documents WHERE collection = ? AND id IN ({_marks(part)})",
                    (record.row, *part),
                )
            }
            remove_documents(database, record, list(found))
            confirm()
        return RemoveResult(list(found.values()), record.documents - len(found))

    def keep_files(self, digests: Mapping[str, bytes]) -> None:
        """Note digests of files, by path, in one transaction: files are not read again unless they change."""
        with self._database.writing() as database:
            row = self._current(database).row
            for path, content in digests.items():
                remember_file(database, row, path, content)

    def files(self) -> dict[str, bytes]:
        """Path and digest of every file that was read."""
        with self._database.reading() as database:
            query = "SELECT path, digest FROM files WHERE collection = ?"
            return {str(path): bytes(digest) for path, digest in database.execute(query, (self.record.row,))}

    def ids_of_file(self, path: str) -> list[str]:
        """The documents that were read from a file."""
        query = (
            "SELECT id FROM documents JOIN files ON file = files.row "
            "WHERE files.collection = ? AND path = ? ORDER BY documents.row"
        )
        with self._database.reading() as database:
            return [str(key) for (key,) in database.execute(query, (self.record.row, path))]

    def forget_files(self, paths: Sequence[str]) -> int:
        """Remove files with their documents in one transaction; how many documents that were."""
        removed = 0
        with self._database.writing() as database:
            record = self._current(database)
            for path in paths:
                query = (
                    "SELECT documents.row FROM documents JOIN files ON file = files.row "
                    "WHERE path = ? AND files.collection = ?"
                )
                rows = [row for (row,) in database.execute(query, (path, record.row))]
                remove_documents(database, record, rows)
                database.execute("DELETE FROM files WHERE collection = ? AND path = ?", (record.row, path))
                removed += len(rows)
        return removed

    def stored(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """What is known of documents, by id."""
        with self._database.reading() as database:
            return {
                str(row[0]): StoredDocument(*row)
                for part in _parts(ids)
                for row in database.execute(
                    "SELECT id, documents.digest, metadata, coalesce(path, '') FROM documents "
                    "LEFT JOIN files ON file = files.row "
                    f"WHERE documents.collection = ? AND id IN ({_marks(part)})",
                    (self.record.row, *part),
                )
            }

    def batches(self, most: int) -> Iterator[Batch]:
        """All documents with their vectors, ``most`` at once, as they were when iteration began."""
        with self._database.reading() as database:
            yield from read_batches(database, self._current(database).row, most)

    def differing(self, copy: "Collection", after: int, most: int) -> Batch:
        """The first documents, of rows above ``after``, that a copy of this collection lacks or has otherwise."""
        with self._database.reading() as database:
            return read_differing(database, self._current(database).row, copy.record.row, after, most)

    def surplus(self, copy: "Collection") -> list[str]:
        """Ids that a copy of this collection has and this one has no longer."""
        with self._database.reading() as database:
            return read_surplus(database, self._current(database).row, copy.record.row)

    def known_vectors(self, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        """Vectors of texts that some chunk already has, by the texts' digests."""
        with self._database.reading() as database:
            return {
                bytes(digest): np.frombuffer(vector, dtype="<f4")
                for part in _parts(digests)
                for digest, vector in database.execute(
                    "SELECT digest, vector FROM chunks JOIN vectors ON chunk = row "
                    f"WHERE collection = ? AND digest IN ({_marks(part)})",
                    (self.record.row, *part),
                )
            }

    def snapshot(self) -> Snapshot:
        """The vectors in memory, brought up to date first. What is given is never changed."""
        with self._database.reading() as database:
            record = self._current(database)
            return self._matrix().snapshot(database, record)

    def matching_words(self, query: str, most: int, where: Where | None = None) -> tuple[list[int], bool]:
        """Rows of chunks with words of a query, best first; and whether one has them all (``words.best_matches``)."""
        with self._database.reading() as database:
            row = self._current(database).row
            return best_matches(database, row, query, most, filtered(row, where))

    def selected(self, where: Where | None) -> NDArray[np.int64] | None:
        """Rows of the chunks whose documents fit, ascending; None where nothing is filtered."""
        condition = filtered(self.record.row, where)
        if condition is None:
            return None
        with self._database.reading() as database:
            return np.array(chunk_rows(database, condition), np.int64)

    def chunks(self, rows: Sequence[int]) -> list[Chunk]:
        """Chunks by row, in the order asked for; those removed meanwhile are left out."""
        with self._database.reading() as database:
            found = {
                chunk.row: chunk
                for part in _parts(rows)
                for chunk in _read_chunks(database, f"c.row IN ({_marks(part)})", part)
            }
        return [found[row] for row in rows if row in found]

    def neighbours(self, rows: Sequence[int]) -> list[Chunk]:
        """The parts right before and after chunks in their documents, in no order."""
        beside = (
            "c.row IN (SELECT n.row FROM chunks AS h JOIN chunks AS n ON n.document = h.document "
            "AND n.part IN (h.part - 1, h.part + 1) WHERE h.row IN ({}))"
        )
        with self._database.reading() as database:
            return [
                chunk for part in _parts(rows) for chunk in _read_chunks(database, beside.format(_marks(part)), part)
            ]

    def chunks_of(self, document: str) -> list[Chunk]:
        """All parts of a document, or the one part that an id such as ``notes.md#2`` names; empty without such."""
        with self._database.reading() as database:
            condition = "c.collection = ? AND d.id = ? ORDER BY c.part"
            found = _read_chunks(database, condition, (self.record.row, document))
            part = _PART.fullmatch(document)
            if not found and part:
                condition = "c.collection = ? AND d.id = ? AND c.part = ?"
                found = _read_chunks(database, condition, (self.record.row, part[1], int(part[2]) - 1))
        return found

    def text_of(self, document: str) -> str | None:
        """The text of a document, or of the one part that an id such as ``notes.md#2`` names; None without such."""
        with self._database.reading() as database:
            query = "SELECT text FROM documents WHERE collection = ? AND id = ?"
            found = database.execute(query, (self.record.row, document)).fetchone()
        if found:
            return str(found[0])
        parts = self.chunks_of(document)
        return parts[0].text if parts else None

    def first(self, most: int) -> list[Chunk]:
        """The first chunks, in the order in which they came."""
        condition = "c.collection = ? ORDER BY c.row LIMIT ?"
        with self._database.reading() as database:
            return _read_chunks(database, condition, (self.record.row, most))

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """Vectors by row as the model gave them, shape ``(n, d)``.

        Raises:
            CollectionError: One was removed meanwhile.
        """
        with self._database.reading() as database:
            found = {
                row: np.frombuffer(vector, dtype="<f4")
                for part in _parts(rows)
                for row, vector in database.execute(
                    f"SELECT chunk, vector FROM vectors WHERE chunk IN ({_marks(part)})",
                    part,
                )
            }
        if any(row not in found for row in rows):
            raise CollectionError(f"chunks of collection {self.name!r} were removed meanwhile; send the call again")
        return np.array([found[row] for row in rows], np.float32).reshape(len(rows), self.record.dimensions)

    def _current(self, database: sqlite3.Connection) -> CollectionRecord:
        record = read_record(database, self.name)
        if record is None or (record.row, record.identity) != (self.record.row, self.record.identity):
            raise CollectionError(f"collection {self.name!r} was removed or replaced meanwhile; send the call again")
        return record


def _read_chunks(database: sqlite3.Connection, condition: str, parameters: Sequence[object]) -> list[Chunk]:
    found = database.execute(
        "SELECT c.row, d.id, c.part, (SELECT max(part) + 1 FROM chunks WHERE document = c.document), c.start, c.stop, "
        f"c.heading, d.row, d.metadata FROM chunks AS c JOIN documents AS d ON d.row = c.document WHERE {condition}",
        tuple(parameters),
    ).fetchall()
    # Cut here: SQLite would go through a long document from its beginning once a chunk.
    texts: dict[int, str] = {
        row: text
        for part in _parts(list({found_row[7] for found_row in found}))
        for row, text in database.execute(f"SELECT row, text FROM documents WHERE row IN ({_marks(part)})", part)
    }
    return [
        Chunk(row, document, part, parts, start, stop, heading, texts[whole][start:stop], json.loads(metadata))
        for row, document, part, parts, start, stop, heading, whole, metadata in found
    ]


def _parts(values: Sequence[object]) -> list[list[object]]:
    return [list(values[i : i + _AT_ONCE]) for i in range(0, len(values), _AT_ONCE)]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
