"""Read vectors of a collection from the file, some or all of them, in blocks."""

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.sql.connection import select_in
from mcp_server_embeddings.store.sqlite.connection import Connection
from mcp_server_embeddings.vectors.scores import Vectors, unit_rows

ROWS_PER_READ = 10_000
"""Rows of a block: 15 MB of vectors of 384 numbers."""

_DENSE = 4
"""If at least one in so many rows of a range is wanted, the whole range is read."""


def vectors_of(database: Connection, keys: NDArray[np.int64], dimensions: int) -> Vectors:
    """Return the vectors of chunks as the model produced them, shape ``(n, d)``, in the order of the keys.

    Raises:
        CollectionError: A chunk does not exist.
    """
    found = np.empty((len(keys), dimensions), np.float32)
    order = np.argsort(keys, kind="stable")
    for start in range(0, len(keys), ROWS_PER_READ):
        places = order[start : start + ROWS_PER_READ]
        found[places] = _block(database, keys[places], dimensions)
    return found


def _block(database: Connection, keys: NDArray[np.int64], dimensions: int) -> Vectors:
    """Return the vectors of ascending keys."""
    first, last = int(keys[0]), int(keys[-1])
    if last - first < _DENSE * len(keys):
        query = "SELECT chunk, vector FROM vectors WHERE chunk BETWEEN ? AND ? ORDER BY chunk"
        found = database.execute(query, (first, last)).fetchall()
    else:
        query = "SELECT chunk, vector FROM vectors WHERE chunk IN (...) ORDER BY chunk"
        found = list(select_in(database, query, keys.tolist()))
    rows = np.array([row for row, _ in found], np.int64)
    places = np.searchsorted(rows, keys)
    if not len(rows) or (rows[np.minimum(places, len(rows) - 1)] != keys).any():
        raise CollectionError("chunks of the collection were removed meanwhile; send the call again")
    return _decode([vector for _, vector in found], dimensions)[places]


def unit_blocks(
    database: sqlite3.Connection, collection: int, first: int, last: int | None = None, limit: int = -1
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Yield the rows of a collection's chunks and their unit vectors, ascending, ``ROWS_PER_READ`` at a time.

    Args:
        database: A connection.
        collection: Its key.
        first: The first row.
        last: The last row; None for no limit.
        limit: Maximum number of chunks; -1 for all.
    """
    until = "" if last is None else f"AND chunks.row <= {last:d}"
    found = database.execute(
        "SELECT chunks.row, vector FROM chunks JOIN vectors ON chunk = chunks.row "
        f"WHERE collection = ? AND chunks.row >= ? {until} ORDER BY chunks.row LIMIT ?",
        (collection, first, limit),
    )
    while part := found.fetchmany(ROWS_PER_READ):
        rows = np.array([row for row, _ in part], np.int64)
        yield rows, unit_rows(_decode([vector for _, vector in part], -1))


def _decode(vectors: Sequence[bytes], dimensions: int) -> Vectors:
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), dimensions)
