"""All collections of a data folder."""

import threading
from collections import OrderedDict
from pathlib import Path

from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import CollectionRecord
from mcp_server_embeddings.store.sql.store import SqlStore
from mcp_server_embeddings.store.sqlite.collection import SqliteCollection
from mcp_server_embeddings.store.sqlite.connection import Connection
from mcp_server_embeddings.store.sqlite.database import Database
from mcp_server_embeddings.store.sqlite.fulltext import create_words
from mcp_server_embeddings.store.sqlite.matrix import Matrix
from mcp_server_embeddings.store.sqlite.segments import ROWS, SegmentFiles
from mcp_server_embeddings.store.sqlite.writing import remove_collection

_FILE = "collections.sqlite"

_SEGMENTS = "segments"
"""The folder of the segment files of large collections, which are derived from the database."""

_MEMORY_BYTES = 2_000_000_000
"""Maximum memory of all matrices but the last used one; the least recently used ones are discarded."""


class SqliteStore(SqlStore[Connection]):
    """Collections in one file of a folder, which is created on the first write.

    Args:
        data_dir: The folder.
        segment_rows: Chunks of a segment; a collection with fewer than twice as many has no segments.
    """

    _database: Database

    def __init__(self, data_dir: Path, segment_rows: int = ROWS) -> None:
        super().__init__(Database(data_dir / _FILE))
        self._segments = SegmentFiles(self._database, data_dir / _SEGMENTS, segment_rows)
        self._lock = threading.Lock()
        self._matrices: OrderedDict[int, Matrix] = OrderedDict()

    def close(self) -> None:
        with self._lock:
            self._matrices.clear()
        super().close()

    def _open_record(self, record: CollectionRecord) -> Collection:
        return SqliteCollection(self._database, record, self._matrix, self._segments)

    def _create_tables(self, database: Connection, collection: int, dimensions: int) -> None:
        create_words(database, collection)

    def _remove_collection(self, database: Connection, collection: int) -> None:
        remove_collection(database, collection)
        self._segments.sweep(database)

    def _forget(self, collection: int) -> None:
        with self._lock:
            self._matrices.pop(collection, None)

    def _matrix(self, record: CollectionRecord) -> Matrix:
        """Return the matrix of a collection; discard others if together they take too much memory."""
        with self._lock:
            matrix = self._matrices.setdefault(record.key, Matrix(record.dimensions, self._segments))
            self._matrices.move_to_end(record.key)
            others = sum(other.nbytes for key, other in self._matrices.items() if key != record.key)
            while others > _MEMORY_BYTES:
                _, oldest = self._matrices.popitem(last=False)
                others -= oldest.nbytes
        return matrix
