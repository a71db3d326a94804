"""All collections of a data folder."""

import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore, confirmed
from mcp_server_embeddings.store.records import CollectionRecord, check_name
from mcp_server_embeddings.store.sqlite.collection import SqliteCollection, read_record, read_records
from mcp_server_embeddings.store.sqlite.database import Database
from mcp_server_embeddings.store.sqlite.fulltext import create_words
from mcp_server_embeddings.store.sqlite.matrix import Matrix
from mcp_server_embeddings.store.sqlite.writing import remove_collection

_FILE = "collections.sqlite"

_MEMORY_BYTES = 2_000_000_000
"""What matrices of other collections than the last one may hold; those not used for longest are let go."""

_SUCCESSOR = ":successor"
"""What a hidden collection is called after the one whose place it will take; no name of a user's has a colon."""

_SOURCE = ":source:"
"""What a hidden collection is called that keeps the items of files."""

_MAX_SOURCES = 100
"""Hidden collections of files; before one more is created, the one that was written first is removed."""


class SqliteStore(CollectionStore):
    """Collections in one file of a folder, which is made on the first write."""

    def __init__(self, data_dir: Path) -> None:
        self._database = Database(data_dir / _FILE)
        self._lock = threading.Lock()
        self._matrices: OrderedDict[int, Matrix] = OrderedDict()

    def version(self) -> int:
        return self._database.version()

    def open(self, name: str) -> Collection:
        return self._opened(self.record(name))

    def open_or_create(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        check_name(name)
        with self._database.writing() as database:
            if read_record(database, name) is None:
                _insert(database, name, identity, model, dimensions)
        return self.open_for(name, identity, model)

    def successor(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        return self._hidden(name + _SUCCESSOR, identity, model, dimensions)

    def open_source(self, key: str, identity: str, model: str, dimensions: int) -> Collection:
        return self._hidden(_SOURCE + key, identity, model, dimensions)

    def _hidden(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        with self._database.writing() as database:
            record = read_record(database, name)
            if record is not None and record.identity != identity:
                remove_collection(database, record.key)
                record = None
            if record is None:
                _remove_oldest_source(database)
                _insert(database, name, identity, model, dimensions)
            created = read_record(database, name)
        if created is None:
            raise CollectionError(f"collection {name!r} is being replaced by another process; send the call again")
        return self._opened(created)

    def replace(self, name: str, by: str, unless_changed_since: int) -> bool:
        with self._database.writing() as database:
            old, new = read_record(database, name), read_record(database, by)
            if old is None or new is None or old.key == new.key or old.revision != unless_changed_since:
                return False
            database.execute("UPDATE sources SET collection = ? WHERE collection = ?", (new.key, old.key))
            remove_collection(database, old.key)
            database.execute("UPDATE collections SET name = ?, revision = revision + 1 WHERE row = ?", (name, new.key))
        with self._lock:
            self._matrices.pop(old.key, None)
        return True

    def remove(self, name: str, confirm: Callable[[], None] = confirmed) -> CollectionRecord:
        self.record(name)  # names the nearest
        with self._database.writing() as database:
            record = read_record(database, name)
            if record is None:
                raise CollectionError(f"there is no collection {name!r}; another process has just removed it")
            remove_collection(database, record.key)
            successor = read_record(database, name + _SUCCESSOR)
            if successor is not None:
                remove_collection(database, successor.key)
            confirm()
        with self._lock:
            self._matrices.pop(record.key, None)
        return record

    def close(self) -> None:
        with self._lock:
            self._matrices.clear()
        self._database.close()

    def list(self) -> list[CollectionRecord]:
        if not self._database.exists():
            return []
        with self._database.reading() as database:
            return [record for record in read_records(database) if ":" not in record.name]

    def _opened(self, record: CollectionRecord) -> Collection:
        return SqliteCollection(self._database, record, self._matrix)

    def _matrix(self, record: CollectionRecord) -> Matrix:
        """Return the matrix of a collection; others give way when together they take too much memory."""
        with self._lock:
            matrix = self._matrices.setdefault(record.key, Matrix(record.dimensions))
            self._matrices.move_to_end(record.key)
            others = sum(other.nbytes for key, other in self._matrices.items() if key != record.key)
            while others > _MEMORY_BYTES:
                _, oldest = self._matrices.popitem(last=False)
                others -= oldest.nbytes
        return matrix


def _remove_oldest_source(database: sqlite3.Connection) -> None:
    sources = [record for record in read_records(database) if record.name.startswith(_SOURCE)]
    if len(sources) >= _MAX_SOURCES:
        remove_collection(database, min(sources, key=lambda record: record.updated).key)


def _insert(database: sqlite3.Connection, name: str, identity: str, model: str, dimensions: int) -> None:
    row = database.execute(
        "INSERT INTO collections (name, model, identity, dimensions, updated) VALUES (?, ?, ?, ?, ?)",
        (name, model, identity, dimensions, time.time()),
    ).lastrowid
    create_words(database, int(row or 0))
