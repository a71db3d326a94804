"""One collection in PostgreSQL."""

from collections.abc import Sequence

import numpy as np
from pgvector import Vector as StoredVector

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.matching import best_matches
from mcp_server_embeddings.store.postgres.connection import Connection
from mcp_server_embeddings.store.postgres.filtering import filtered
from mcp_server_embeddings.store.postgres.fulltext import PostgresTerms
from mcp_server_embeddings.store.postgres.nearest import VectorSearch, vectors_table
from mcp_server_embeddings.store.postgres.retries import retrying
from mcp_server_embeddings.store.postgres.writing import PostgresWriter
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import (
    CollectionRecord,
    Nearest,
    Vector,
    WordMatches,
)
from mcp_server_embeddings.store.sql.collection import SqlCollection
from mcp_server_embeddings.store.sql.connection import select_in
from mcp_server_embeddings.store.sql.filtering import Filter
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Vectors, unit_rows

_ITEMS_PER_READ = 5_000


@retrying(Collection)
class PostgresCollection(SqlCollection[Connection]):
    """A collection of a schema."""

    @property
    def retryable(self) -> bool:
        """Whether each method runs in a separate transaction."""
        return self._connection is None

    def nearest(self, vectors: Vectors, k: int, where: Where | None = None) -> list[Nearest]:
        with self._reading() as database:
            search = VectorSearch(database, self._current(database), self._filter(where))
            return [search.nearest(vector, k) for vector in vectors]

    def vectors(self, keys: Sequence[int]) -> Vectors:
        query = f"SELECT chunk, vector FROM {self._vectors_table()} WHERE chunk IN (...)"
        with self._reading() as database:
            found = {row: self._decode(vector) for row, vector in select_in(database, query, keys)}
        if any(key not in found for key in keys):
            raise CollectionError(f"chunks of collection {self.name!r} were removed meanwhile; send the call again")
        return np.array([found[key] for key in keys], np.float32).reshape(len(keys), self.record.dimensions)

    def matching(self, words: str, k: int, where: Where | None = None) -> WordMatches:
        with self._reading() as database:
            terms = PostgresTerms(database, self._current(database).key, self._filter(where))
            return best_matches(terms, words, k)

    def item_vectors(self, keys: Sequence[int]) -> Vectors:
        wanted = np.asarray(keys, np.int64)
        means = np.empty((len(wanted), self.record.dimensions), np.float32)
        with self._reading() as database:
            for first in range(0, len(wanted), _ITEMS_PER_READ):
                part = wanted[first : first + _ITEMS_PER_READ]
                means[first : first + len(part)] = self._means(database, part.tolist())
        return means

    def _means(self, database: Connection, keys: list[int]) -> Vectors:
        """Return the mean directions of the chunks of documents, weighted by their lengths."""
        query = (
            f"SELECT document, stop - start, vector FROM chunks JOIN {self._vectors_table()} ON chunk = row "
            "WHERE document = ANY(?) ORDER BY document, part"
        )
        found = database.execute(query, (keys,)).fetchall()
        documents, starts = np.unique([document for document, _, _ in found], return_index=True)
        places = {int(document): at for at, document in enumerate(documents)}
        self._check_items(key in places for key in keys)
        if not found:
            return np.empty((0, self.record.dimensions), np.float32)
        lengths = np.array([length for _, length, _ in found], np.float32)
        units = unit_rows(np.array([self._decode(vector) for _, _, vector in found], np.float32))
        means = unit_rows(np.add.reduceat(units * lengths[:, None], starts, axis=0))
        return means[[places[key] for key in keys]]

    def _current(self, database: Connection) -> CollectionRecord:
        if database.writing:  # one writer at a time, so that keys grow in the order of commits
            database.execute("SELECT 1 FROM collections WHERE row = ? FOR UPDATE", (self.record.key,))
        return super()._current(database)

    def _filter(self, where: Where | None) -> Filter | None:
        return filtered(self.record.key, where)

    def _vectors_table(self) -> str:
        return vectors_table(self.record.key)

    def _decode(self, vector: StoredVector) -> Vector:
        return vector.to_numpy()

    def _writer(self, database: Connection) -> PostgresWriter:
        return PostgresWriter(database, self._current(database))
