"""All collections of a data folder."""

import re
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.errors import CollectionError, InputError
from mcp_server_embeddings.store.collection import Collection, read_record, read_records
from mcp_server_embeddings.store.database import Database
from mcp_server_embeddings.store.matrix import Matrix
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.store.schema import create_words
from mcp_server_embeddings.store.writing import confirmed, remove_collection

_FILE = "collections.sqlite"

_MEMORY_BYTES = 2_000_000_000
"""What matrices of other collections than the last one may hold; those not used for longest are let go."""

_NAME = re.compile(r"\w[\w.-]{0,63}")

_SUCCESSOR = ":successor"
"""What a hidden collection is called after the one whose place it will take; no name of a user's has a colon."""


class Store:
    """Collections by name. Several processes may use one folder; each sees what the others acknowledged.

    Thread-safe. Nothing is opened before the first use.

    Args:
        data_dir: The folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._database = Database(data_dir / _FILE)
        self._lock = threading.Lock()
        self._matrices: OrderedDict[int, Matrix] = OrderedDict()

    def list(self) -> list[CollectionRecord]:
        """The records of all collections, by name."""
        if not self._database.exists():
            return []
        with self._database.reading() as database:
            return [record for record in read_records(database) if not record.name.endswith(_SUCCESSOR)]

    def version(self) -> int:
        """A number that changes when any process changed any collection."""
        return self._database.version()

    def collection(self, name: str, identity: str, model: str) -> Collection:
        """An existing collection.

        Args:
            name: Its name.
            identity: Digest of the identity of the model that will be used with it.
            model: That identity, short, for the error.

        Raises:
            CollectionError: There is none, or it holds another model's vectors.
        """
        record = self.record(name)
        if record.identity != identity:
            raise CollectionError(
                f"collection {name!r} holds vectors of the model {record.model}, this server runs {model}; their "
                f"vectors cannot be compared. Run `mcp-server-embeddings reindex {name}` to embed its texts anew, or "
                "start the server with the other model"
            )
        return self._opened(record)

    def record(self, name: str) -> CollectionRecord:
        """The record of a collection, whatever its model.

        Raises:
            CollectionError: There is none.
        """
        records = {record.name: record for record in self.list()}
        if name not in records:
            known = nearest(name, records) if records else "there is none yet; collection_add makes one"
            raise CollectionError(f"there is no collection {name!r}; {known}")
        return records[name]

    def opened(self, name: str) -> Collection:
        """An existing collection whatever its model: for what needs no new vectors.

        Raises:
            CollectionError: There is none.
        """
        return self._opened(self.record(name))

    def made(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        """The collection of that name, made now if there is none.

        Raises:
            InputError: It cannot be called so.
            CollectionError: It holds another model's vectors.
            StorageError: It cannot be written.
        """
        check_name(name)
        with self._database.writing() as database:
            if read_record(database, name) is None:
                self._insert(database, name, identity, model, dimensions)
        return self.collection(name, identity, model)

    def successor(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        """The hidden collection that is to take the place of another by ``replace``; listed nowhere.

        What an earlier, unfinished attempt left is gone on with, unless it was for another model.
        """
        hidden = name + _SUCCESSOR
        with self._database.writing() as database:
            record = read_record(database, hidden)
            if record is not None and record.identity != identity:
                remove_collection(database, record.row)
                record = None
            if record is None:
                self._insert(database, hidden, identity, model, dimensions)
            made = read_record(database, hidden)
        if made is None:
            raise CollectionError(f"collection {name!r} is being replaced by another process; send the call again")
        return self._opened(made)

    def remove(self, name: str, confirm: Callable[[], None] = confirmed) -> CollectionRecord:
        """Remove a collection; its last record.

        Args:
            name: Its name.
            confirm: Called last; where it raises, nothing is removed.

        Raises:
            CollectionError: There is none.
        """
        self.record(name)  # names the nearest
        with self._database.writing() as database:
            record = read_record(database, name)
            if record is None:
                raise CollectionError(f"there is no collection {name!r}; another process has just removed it")
            remove_collection(database, record.row)
            successor = read_record(database, name + _SUCCESSOR)
            if successor is not None:
                remove_collection(database, successor.row)
            confirm()
        with self._lock:
            self._matrices.pop(record.row, None)
        return record

    def replace(self, name: str, by: str, unless_changed_since: int) -> bool:
        """Put one collection in the place of another, in one transaction.

        Args:
            name: What is replaced.
            by: What takes its name; exists, and is gone under its own name afterwards.
            unless_changed_since: The revision of ``name`` that ``by`` was made from.

        Returns:
            False, with nothing done, where ``name`` has changed since.
        """
        with self._database.writing() as database:
            old, new = read_record(database, name), read_record(database, by)
            if old is None or new is None or old.row == new.row or old.revision != unless_changed_since:
                return False
            remove_collection(database, old.row)
            database.execute("UPDATE collections SET name = ?, revision = revision + 1 WHERE row = ?", (name, new.row))
        with self._lock:
            self._matrices.pop(old.row, None)
        return True

    def close(self) -> None:
        """Let go of the file and of the matrices; both come back on need."""
        with self._lock:
            self._matrices.clear()
        self._database.close()

    def _opened(self, record: CollectionRecord) -> Collection:
        return Collection(self._database, record, lambda: self._matrix(record))

    def _insert(self, database: sqlite3.Connection, name: str, identity: str, model: str, dimensions: int) -> None:
        row = database.execute(
            "INSERT INTO collections (name, model, identity, dimensions, updated) VALUES (?, ?, ?, ?, ?)",
            (name, model, identity, dimensions, time.time()),
        ).lastrowid
        create_words(database, int(row or 0))

    def _matrix(self, record: CollectionRecord) -> Matrix:
        """The matrix of a collection; others give way when together they take too much memory."""
        with self._lock:
            matrix = self._matrices.setdefault(record.row, Matrix(record.dimensions))
            self._matrices.move_to_end(record.row)
            others = sum(other.nbytes for row, other in self._matrices.items() if row != record.row)
            while others > _MEMORY_BYTES:
                _, oldest = self._matrices.popitem(last=False)
                others -= oldest.nbytes
        return matrix


def check_name(name: str) -> None:
    """Refuse what no collection may be called.

    Raises:
        InputError: It is refused.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"collection {name[:80]!r} is no name; allowed: 1 to 64 letters, digits, '_', '-' and '.', beginning with "
            "a letter or digit, such as 'notes' or 'handbook-2026'"
        )
