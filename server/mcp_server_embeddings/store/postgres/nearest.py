"""Vector search: by an index in half precision, reranked by exact distances, or by a scan of all vectors that fit."""

from collections.abc import Sequence

import numpy as np

from mcp_server_embeddings.store.postgres.connection import Connection
from mcp_server_embeddings.store.records import CollectionRecord, Nearest, Vector
from mcp_server_embeddings.store.sql.filtering import Filter
from mcp_server_embeddings.vectors.ranking import best_rows
from mcp_server_embeddings.vectors.scores import exact_cosines, unit_rows

INDEXED_FROM = 20_000
"""Number of chunks from which on a collection has a vector index; fewer are scanned in some 20 ms, and adding to an
index costs a millisecond per chunk."""

_MAX_INDEXED_DIMENSIONS = 4_000
"""Maximum dimensions of half-precision vectors in an index of pgvector."""

_MAX_CANDIDATES = 1_000
"""Maximum number of candidates from an index: pgvector's limit of ``hnsw.ef_search``."""

_MIN_CANDIDATES = 200
"""Minimum number of candidates from the index, however few are wanted: it then finds 99 % of the 10 nearest of
100,000."""

_CHUNKS_PER_CANDIDATE = 50
"""At most one in so many chunks is a candidate: visiting more in the index takes longer than scanning all."""

NARROW = 10_000
"""Up to this number of chunks that fit a filter, all of them are scanned: as fast as the index, and exact."""


def vectors_table(collection: int) -> str:
    """Return the table of a collection's vectors: their number of dimensions differs between collections."""
    return f"vectors_{collection:d}"


def create_vectors(database: Connection, collection: int, dimensions: int) -> None:
    """Create the table of vectors. ``PLAIN`` stores vectors inside their row, where a scan reads them."""
    table = vectors_table(collection)
    plain = f"ALTER TABLE {table} ALTER vector SET STORAGE PLAIN"
    database.execute(f"CREATE TABLE {table} (chunk bigint PRIMARY KEY, vector vector({dimensions:d}) NOT NULL)")
    if dimensions * 4 < 8_000:
        database.execute(plain)


def index_vectors(database: Connection, record: CollectionRecord, chunks: int) -> None:
    """Create the vector index, once there are enough chunks."""
    if chunks < INDEXED_FROM or record.dimensions > _MAX_INDEXED_DIMENSIONS:
        return
    table = vectors_table(record.key)
    database.execute(
        f"CREATE INDEX IF NOT EXISTS {table}_by_nearness ON {table} "
        f"USING hnsw ((vector::halfvec({record.dimensions:d})) halfvec_cosine_ops)"
    )


class VectorSearch:
    """Vector search in one collection.

    Args:
        database: A connection inside a read transaction.
        record: The record of the collection in this transaction.
        condition: Only chunks that fit it are found.
    """

    def __init__(self, database: Connection, record: CollectionRecord, condition: Filter | None) -> None:
        self._database = database
        self._record = record
        self._table = vectors_table(record.key)
        self._filter = condition
        self._within = "" if condition is None else condition.chunks_sql
        self._parameters = () if condition is None else condition.parameters
        self._total, self._few_rows = (record.chunks, None) if condition is None else self._count_fitting()

    def nearest(self, vector: Vector, k: int) -> Nearest:
        """Return up to ``k`` chunks nearest a vector, best first, ties by key."""
        k = min(k, self._total)
        found = self._by_index(vector, k) if self._has_index() and np.any(vector) else []
        if len(found) < k:
            found = self._by_scan(vector, k)
        keys = [key for key, _ in found]
        rows = unit_rows(np.array([row for _, row in found], np.float32).reshape(len(found), self._record.dimensions))
        cosines = exact_cosines(rows, vector)
        best = best_rows(cosines, k)  # ties stay in the order of reading, by key
        return Nearest([keys[at] for at in best], cosines[best], rows[best], self._total)

    def _has_index(self) -> bool:
        return self._record.chunks >= INDEXED_FROM and self._record.dimensions <= _MAX_INDEXED_DIMENSIONS

    def _count_fitting(self) -> tuple[int, list[int] | None]:
        """Return the number of chunks that fit the filter, and their rows if few: finding them takes most time."""
        query = (
            f"SELECT count(*), CASE WHEN count(*) <= {NARROW} THEN coalesce(array_agg(row), '{{}}') END "
            f"FROM ({self._within}) AS fitting"
        )
        return self._database.execute(query, self._parameters).fetchone() or (0, [])

    def _by_index(self, vector: Vector, k: int) -> Sequence[tuple[int, Vector]]:
        """Return the nearest chunks by the index; fewer than ``k`` if too few candidates fit the filter."""
        if self._few_rows is not None:
            return []
        candidates = max(_MIN_CANDIDATES, 2 * k * self._record.chunks // max(self._total, 1))
        if candidates > min(_MAX_CANDIDATES, self._record.chunks // _CHUNKS_PER_CANDIDATE):
            return []
        self._database.execute("SELECT set_config('hnsw.ef_search', ?, true)", (str(candidates),))
        fits = f"JOIN chunks ON row = chunk WHERE {self._filter.of_document('chunks.document')}" if self._filter else ""
        half = f"halfvec({self._record.dimensions:d})"
        query = (
            f"SELECT chunk, vector FROM (SELECT chunk, vector FROM {self._table} "
            f"ORDER BY vector::{half} <=> ?::{half} LIMIT ?) AS near {fits} ORDER BY vector <=> ?, chunk LIMIT ?"
        )
        return self._read(query, (vector, candidates, *self._parameters, vector, k))

    def _by_scan(self, vector: Vector, k: int) -> Sequence[tuple[int, Vector]]:
        within, parameters = (f"WHERE chunk IN ({self._within})" if self._within else ""), self._parameters
        if self._few_rows is not None:
            within, parameters = "WHERE chunk = ANY(?::bigint[])", (self._few_rows,)
        query = f"SELECT chunk, vector FROM {self._table} {within} ORDER BY vector <=> ?, chunk LIMIT ?"
        return self._read(query, (*parameters, vector, k))

    def _read(self, query: str, parameters: Sequence[object]) -> Sequence[tuple[int, Vector]]:
        return [(key, found.to_numpy()) for key, found in self._database.execute(query, parameters)]
