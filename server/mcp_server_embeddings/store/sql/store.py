"""The collections of an SQL database, by name."""

import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore, confirmed
from mcp_server_embeddings.store.records import CollectionRecord, check_name
from mcp_server_embeddings.store.sql.collection import read_record, read_records
from mcp_server_embeddings.store.sql.connection import Connection, Database

_SUCCESSOR = ":successor"
"""Suffix of a hidden collection, after the name of the one that it will replace; no name of a user has a colon."""

_SOURCE = ":source:"
"""Prefix of a hidden collection that stores the items of files."""

_MAX_SOURCES = 100
"""Maximum number of hidden collections of files; a further one replaces the least recently written."""

C = TypeVar("C", bound=Connection)


class SqlStore(CollectionStore, Generic[C]):
    """Collections of a database.

    Args:
        database: The database.
    """

    def __init__(self, database: Database[C]) -> None:
        self._database = database

    def version(self) -> int:
        return self._database.version()

    def close(self) -> None:
        self._database.close()

    @abstractmethod
    def _open_record(self, record: CollectionRecord) -> Collection:
        """Return the collection of a record."""

    @abstractmethod
    def _create_tables(self, database: C, collection: int, dimensions: int) -> None:
        """Create the tables that belong to one collection alone."""

    @abstractmethod
    def _remove_collection(self, database: C, collection: int) -> None:
        """Remove a collection and everything in it."""

    def _writing_catalog(self) -> AbstractContextManager[C]:
        """Yield a connection inside a transaction that may add, rename or remove collections, one at a time."""
        return self._database.writing()

    def _forget(self, collection: int) -> None:
        """Discard cached data of a removed collection."""

    def open(self, name: str) -> Collection:
        return self._open_record(self.record(name))

    def open_or_create(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        check_name(name)
        if all(record.name != name for record in self.list()):
            with self._writing_catalog() as database:
                if read_record(database, name) is None:
                    self._insert(database, name, identity, model, dimensions)
        return self.open_for(name, identity, model)

    def successor(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        return self._open_hidden(name + _SUCCESSOR, identity, model, dimensions)

    def open_source(self, key: str, identity: str, model: str, dimensions: int) -> Collection:
        return self._open_hidden(_SOURCE + key, identity, model, dimensions)

    def _open_hidden(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        with self._writing_catalog() as database:
            record = read_record(database, name)
            if record is not None and record.identity != identity:
                self._remove_collection(database, record.key)
                record = None
            if record is None:
                self._remove_oldest_source(database)
                self._insert(database, name, identity, model, dimensions)
            created = read_record(database, name)
        if created is None:
            raise CollectionError(f"collection {name!r} is being replaced by another process; send the call again")
        return self._open_record(created)

    def replace(self, name: str, by: str, unless_changed_since: int) -> bool:
        with self._writing_catalog() as database:
            old, new = read_record(database, name), read_record(database, by)
            if old is None or new is None or old.key == new.key or old.revision != unless_changed_since:
                return False
            database.execute("UPDATE sources SET collection = ? WHERE collection = ?", (new.key, old.key))
            self._remove_collection(database, old.key)
            database.execute("UPDATE collections SET name = ?, revision = revision + 1 WHERE row = ?", (name, new.key))
        self._forget(old.key)
        return True

    def remove(self, name: str, confirm: Callable[[], None] = confirmed) -> CollectionRecord:
        self.record(name)  # its error suggests the nearest name
        with self._writing_catalog() as database:
            record = read_record(database, name)
            if record is None:
                raise CollectionError(f"there is no collection {name!r}; another process has just removed it")
            self._remove_collection(database, record.key)
            successor = read_record(database, name + _SUCCESSOR)
            if successor is not None:
                self._remove_collection(database, successor.key)
            confirm()
        self._forget(record.key)
        return record

    def list(self) -> list[CollectionRecord]:
        if not self._database.exists():
            return []
        with self._database.reading() as database:
            return [record for record in read_records(database) if ":" not in record.name]

    def _remove_oldest_source(self, database: C) -> None:
        sources = [record for record in read_records(database) if record.name.startswith(_SOURCE)]
        if len(sources) >= _MAX_SOURCES:
            self._remove_collection(database, min(sources, key=lambda record: record.updated).key)

    def _insert(self, database: C, name: str, identity: str, model: str, dimensions: int) -> None:
        query = (
            "INSERT INTO collections (name, model, identity, dimensions, updated) VALUES (?, ?, ?, ?, ?) RETURNING row"
        )
        (row,) = database.execute(query, (name, model, identity, dimensions, time.time())).fetchone()
        self._create_tables(database, row, dimensions)
