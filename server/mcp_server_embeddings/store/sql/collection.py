"""One collection of an SQL database: the queries that all databases share."""

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import fields
from typing import Any, Generic, TypeVar

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.protocol import Collection, confirmed
from mcp_server_embeddings.store.records import (
    Batch,
    Chunk,
    CollectionRecord,
    ItemKeys,
    NewDocument,
    PutResult,
    RemoveResult,
    Scalar,
    StoredDocument,
    StoredFile,
    Vector,
)
from mcp_server_embeddings.store.sql.batches import read_batch
from mcp_server_embeddings.store.sql.connection import Connection, Database, select_in
from mcp_server_embeddings.store.sql.filtering import Filter
from mcp_server_embeddings.store.sql.writing import DocumentWriter, record_file
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Scores, exact_cosines, unit_rows

C = TypeVar("C", bound=Connection)

_COLUMNS = ", ".join(["row", *(field.name for field in fields(CollectionRecord)[1:])])

_PART = re.compile(r"\A(.+)#([1-9][0-9]{0,8})", re.DOTALL)

_OF_FILE = (
    "FROM documents JOIN files ON file = files.row WHERE files.collection = ? AND path = ? ORDER BY documents.row"
)


def read_record(database: Connection, name: str) -> CollectionRecord | None:
    """Return the record of a collection; None if there is none."""
    row = database.execute(f"SELECT {_COLUMNS} FROM collections WHERE name = ?", (name,)).fetchone()
    return CollectionRecord(*row) if row else None


def read_records(database: Connection) -> list[CollectionRecord]:
    """Return the records of all collections, by name."""
    return [CollectionRecord(*row) for row in database.execute(f"SELECT {_COLUMNS} FROM collections ORDER BY name")]


class SqlCollection(Collection, Generic[C]):
    """A collection whose keys are rows.

    Args:
        database: The database that holds it.
        record: The record at the time of opening.
    """

    def __init__(self, database: Database[C], record: CollectionRecord) -> None:
        self.record = record
        self._database = database
        self._connection: C | None = None  # set in ``reading``; else each method opens its own

    @abstractmethod
    def _filter(self, where: Where | None) -> Filter | None:
        """Return the filter of its documents; None without conditions."""

    @abstractmethod
    def _vectors_table(self) -> str:
        """Return the name of the table of its vectors, keyed by ``chunk``."""

    @abstractmethod
    def _decode(self, vector: Any) -> Vector:  # noqa: ANN401 - the type depends on the database
        """Decode a vector that was read from that table."""

    @abstractmethod
    def _writer(self, database: C) -> DocumentWriter[C]:
        """Return a writer for this collection, inside a write transaction."""

    def current(self) -> CollectionRecord:
        with self._reading() as database:
            return self._current(database)

    @contextmanager
    def reading(self) -> Iterator[Collection]:
        view = copy(self)
        with self._reading() as view._connection:  # noqa: SLF001 - a copy of this object
            yield view

    def chunks(self, keys: Sequence[int]) -> list[Chunk]:
        with self._reading() as database:
            found = {
                chunk.key: chunk
                for condition, given in database.conditions_in(keys)
                for chunk in _read_chunks(database, f"c.row {condition}", given)
            }
        return [found[key] for key in keys if key in found]

    def chunks_of(self, document: str) -> list[Chunk]:
        with self._reading() as database:
            condition = "c.collection = ? AND d.id = ? ORDER BY c.part"
            found = _read_chunks(database, condition, (self.record.key, document))
            part = _PART.fullmatch(document)
            if not found and part:
                condition = "c.collection = ? AND d.id = ? AND c.part = ?"
                found = _read_chunks(database, condition, (self.record.key, part[1], int(part[2]) - 1))
        return found

    def text_of(self, document: str) -> str | None:
        with self._reading() as database:
            query = "SELECT text FROM documents WHERE collection = ? AND id = ?"
            found = database.execute(query, (self.record.key, document)).fetchone()
        if found:
            return str(found[0])
        parts = self.chunks_of(document)
        return parts[0].text if parts else None

    def first(self, limit: int) -> list[Chunk]:
        with self._reading() as database:
            return _read_chunks(database, "c.collection = ? ORDER BY c.row LIMIT ?", (self.record.key, limit))

    def cosines(self, keys: Sequence[int], vector: Vector) -> Scores:
        return exact_cosines(unit_rows(self.vectors(keys)), vector)

    def known_vectors(self, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        query = (
            f"SELECT digest, vector FROM chunks JOIN {self._vectors_table()} ON chunk = row "
            "WHERE collection = ? AND digest IN (...)"
        )
        with self._reading() as database:
            found = select_in(database, query, digests, self.record.key)
            return {bytes(digest): self._decode(vector) for digest, vector in found}

    def stored(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        query = (
            "SELECT id, documents.digest, metadata, coalesce(path, '') FROM documents "
            "LEFT JOIN files ON file = files.row WHERE documents.collection = ? AND id IN (...)"
        )
        with self._reading() as database:
            return {str(row[0]): StoredDocument(*row) for row in select_in(database, query, ids, self.record.key)}

    def items(self, where: Where | None = None) -> ItemKeys:
        with self._reading() as database:
            condition, parameters = self._condition(database, where)
            query = f"SELECT row, id FROM documents WHERE {condition} ORDER BY row"
            found = database.execute(query, parameters).fetchall()
        return ItemKeys([row for row, _ in found], [document for _, document in found])

    def id_range(self, where: Where | None = None) -> tuple[str, str] | None:
        with self._reading() as database:
            condition, parameters = self._condition(database, where)
            # Two queries: SQLite uses the index for min() and max() only if a query asks for just one of them.
            first, last = (
                database.execute(f"SELECT {which}(id) FROM documents WHERE {condition}", parameters).fetchone()[0]
                for which in ("min", "max")
            )
        return None if first is None else (first, last)

    def documents_of(self, keys: Sequence[int]) -> list[str]:
        query = "SELECT c.row, d.id FROM chunks AS c JOIN documents AS d ON d.row = c.document WHERE c.row IN (...)"
        return [str(document) for document in self._values(query, keys)]

    def texts_of(self, ids: Sequence[str]) -> list[str]:
        query = "SELECT id, text FROM documents WHERE collection = ? AND id IN (...)"
        return [str(text) for text in self._values(query, ids, self.record.key)]

    def item_texts(self, keys: Sequence[int], length: int | None = None) -> list[str]:
        column = "text" if length is None else f"substr(text, 1, {length:d})"
        return [str(text) for text in self._of_items(keys, column)]

    def item_metadata(self, keys: Sequence[int]) -> list[dict[str, Scalar | list[Scalar]]]:
        return [json.loads(str(metadata)) for metadata in self._of_items(keys, "metadata")]

    def _of_items(self, keys: Sequence[int], column: str) -> list[Any]:
        """Return one column of documents, in the order of the keys."""
        return self._values(f"SELECT row, {column} FROM documents WHERE row IN (...)", keys)

    def _values(self, query: str, keys: Sequence[object], *parameters: object) -> list[Any]:
        """Return the values of a query for keys and values, in the order of the keys; see ``select_in``."""
        with self._reading() as database:
            found = dict(select_in(database, query, keys, *parameters))
        self._check_items(key in found for key in keys)
        return [found[key] for key in keys]

    def _check_items(self, present: Iterable[object]) -> None:
        if not all(present):
            raise CollectionError(f"items of collection {self.name!r} were removed meanwhile; send the call again")

    def metadata_names(self) -> list[str]:
        names: list[str] = []
        with self._reading() as database:
            # One index lookup for each name; DISTINCT would read all of a million rows.
            query = "SELECT min(name) FROM attributes WHERE collection = ? AND name > ?"
            while (
                name := database.execute(query, (self.record.key, names[-1] if names else "")).fetchone()[0]
            ) is not None:
                names.append(name)
        return names

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        with self._database.writing() as database:
            return self._writer(database).put(documents)

    def annotate(self, name: str, values: Mapping[str, Scalar]) -> int:
        with self._database.writing() as database:
            return self._writer(database).annotate(name, values)

    def remove(self, ids: Sequence[str], confirm: Callable[[], None] = confirmed) -> RemoveResult:
        with self._database.writing() as database:
            record = self._current(database)
            query = "SELECT row, id FROM documents WHERE collection = ? AND id IN (...)"
            found = {row: str(key) for row, key in select_in(database, query, ids, record.key)}
            self._writer(database).remove(list(found))
            confirm()
        return RemoveResult(list(found.values()), record.documents - len(found))

    def files(self) -> dict[str, StoredFile]:
        query = (
            "SELECT path, digest, size, changed, indexed, (SELECT count(*) FROM documents WHERE file = files.row) "
            "FROM files WHERE collection = ?"
        )
        with self._reading() as database:
            return {path: StoredFile(*state) for path, *state in database.execute(query, (self.record.key,))}

    def ids_of_file(self, path: str) -> list[str]:
        with self._reading() as database:
            found = database.execute(f"SELECT id {_OF_FILE}", (self.record.key, path))
            return [str(key) for (key,) in found]

    def keep_files(self, files: Mapping[str, StoredFile]) -> None:
        with self._database.writing() as database:
            key = self._current(database).key
            for path, state in files.items():
                record_file(database, key, path, state)

    def forget_files(self, paths: Sequence[str]) -> int:
        removed = 0
        with self._database.writing() as database:
            key, writer = self._current(database).key, self._writer(database)
            for path in paths:
                rows = [row for (row,) in database.execute(f"SELECT documents.row {_OF_FILE}", (key, path))]
                writer.remove(rows)
                database.execute("DELETE FROM files WHERE collection = ? AND path = ?", (key, path))
                removed += len(rows)
        return removed

    def sources(self) -> dict[str, str]:
        with self._reading() as database:
            query = "SELECT path, options FROM sources WHERE collection = ?"
            return dict(database.execute(query, (self.record.key,)).fetchall())

    def keep_sources(self, sources: Mapping[str, str], forget: Sequence[str] = ()) -> None:
        with self._database.writing() as database:
            key = self._current(database).key
            query = "DELETE FROM sources WHERE collection = ? AND path = ?"
            database.executemany(query, [(key, path) for path in forget])
            rows = [(key, path, options) for path, options in sources.items()]
            query = (
                "INSERT INTO sources (collection, path, options) VALUES (?, ?, ?) "
                "ON CONFLICT (collection, path) DO UPDATE SET options = excluded.options"
            )
            database.executemany(query, rows)

    def batches(self, size: int) -> Iterator[Batch]:
        with self._reading() as database:
            key, last = self._current(database).key, 0
            while (batch := self._batch(database, "d.collection = ? AND d.row > ?", (key, last), size)).documents:
                yield batch
                last = batch.last

    def readable(self) -> Iterator[NewDocument]:
        for batch in self.batches(1):
            yield from batch.documents

    def differing(self, copy: Collection, after: int, size: int) -> Batch:
        with self._reading() as database:
            condition = (
                "d.collection = ? AND d.row > ? AND NOT EXISTS (SELECT 1 FROM documents AS c LEFT JOIN files AS g "
                "ON g.row = c.file WHERE c.collection = ? AND c.id = d.id AND c.digest = d.digest "
                "AND c.metadata = d.metadata AND coalesce(g.path, '') = coalesce(f.path, ''))"
            )
            return self._batch(database, condition, (self._current(database).key, after, copy.record.key), size)

    def surplus(self, copy: Collection) -> list[str]:
        with self._reading() as database:
            query = (
                "SELECT id FROM documents AS c WHERE collection = ? "
                "AND NOT EXISTS (SELECT 1 FROM documents WHERE collection = ? AND id = c.id)"
            )
            found = database.execute(query, (copy.record.key, self._current(database).key))
            return [str(key) for (key,) in found]

    def _batch(self, database: C, condition: str, parameters: Sequence[object], size: int) -> Batch:
        return read_batch(database, self._vectors_table(), self._decode, condition, parameters, size)

    def _reading(self) -> AbstractContextManager[C]:
        return self._database.reading() if self._connection is None else nullcontext(self._connection)

    def _condition(self, database: C, where: Where | None) -> tuple[str, Sequence[object]]:
        """Return the SQL condition for the documents that fit, and its parameters."""
        key = self._current(database).key
        condition = self._filter(where)
        if condition is None:
            return "collection = ?", (key,)
        return f"collection = ? AND row IN ({condition.sql})", (key, *condition.parameters)

    def _current(self, database: C) -> CollectionRecord:
        record = read_record(database, self.name)
        if record is None or (record.key, record.identity) != (self.record.key, self.record.identity):
            raise CollectionError(f"collection {self.name!r} was removed or replaced meanwhile; send the call again")
        return record


def _read_chunks(database: Connection, condition: str, parameters: Sequence[object]) -> list[Chunk]:
    found = database.execute(
        "SELECT c.row, d.id, c.part, (SELECT max(part) + 1 FROM chunks WHERE document = c.document), c.start, c.stop, "
        f"c.heading, d.row, d.metadata FROM chunks AS c JOIN documents AS d ON d.row = c.document WHERE {condition}",
        tuple(parameters),
    ).fetchall()
    # Slice in Python: SQLite would scan a long document from its beginning for every chunk.
    query = "SELECT row, text FROM documents WHERE row IN (...)"
    texts: dict[int, str] = dict(select_in(database, query, list({chunk[7] for chunk in found})))
    return [
        Chunk(row, document, part, parts, start, stop, heading, texts[document_row][start:stop], json.loads(metadata))
        for row, document, part, parts, start, stop, heading, document_row, metadata in found
    ]
