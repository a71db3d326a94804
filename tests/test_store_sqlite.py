"""What only the store in SQLite has: its matrices in memory, its search by words, its limit."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import PutResult, Vector
from mcp_server_embeddings.store.sqlite.collection import SqliteCollection
from mcp_server_embeddings.store.sqlite.filtering import filtered
from mcp_server_embeddings.store.sqlite.matrix import Snapshot
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.store.sqlite.writing import MAX_CHUNKS
from test_store import DIMENSIONS, assert_follows, by_words, collection, document


def snapshot(one: Collection) -> Snapshot:
    """The vectors in memory, which are those stored."""
    assert_follows(one)
    assert isinstance(one, SqliteCollection)
    with one._reading() as database:
        return one.snapshot(database)


def living(snapshot: Snapshot) -> dict[int, Vector]:
    pairs = zip(snapshot.rows.tolist(), snapshot.vectors, snapshot.alive, strict=True)
    return {row: one.copy() for row, one, alive in pairs if alive}


def test_without_a_filter_nothing_is_selected_by_sql() -> None:
    assert filtered(1, None) is None
    assert filtered(1, {}) is None


def test_the_vectors_in_memory_follow_the_file(tmp_path: Path) -> None:
    one, other = collection(SqliteStore(tmp_path)), collection(SqliteStore(tmp_path))
    assert snapshot(one).vectors.shape == (0, DIMENSIONS)
    one.put([document(str(i), f"text {i}") for i in range(20)])
    before = snapshot(one)
    kept = living(before)
    other.remove(["3", "4"])
    other.put([document("5", "changed"), document("new", "of another ", "process")])
    after = snapshot(one)
    assert len(after.alive) == 23
    np.testing.assert_equal(living(before), kept)
    one.remove([str(i) for i in range(12)])
    compacted = snapshot(one)
    assert compacted.alive.all()
    one.put([document(str(i), f"again {i}") for i in range(40)])
    np.testing.assert_equal(living(before), kept)
    assert_follows(one)
    assert_follows(other)
    one.remove([chunk.document for chunk in one.first(100)])
    assert len(snapshot(one).rows) == 0
    one.put([document("last", "last")])
    assert_follows(one)


def test_a_collection_at_its_limit_takes_nothing_more(tmp_path: Path) -> None:
    one = collection(SqliteStore(tmp_path))
    one.put([document("a", "one")])
    with closing(sqlite3.connect(tmp_path / "collections.sqlite")) as database, database:
        database.execute("UPDATE collections SET chunks = ?", (MAX_CHUNKS - 1,))
    with pytest.raises(CollectionError, match=r"1,000,001 chunks, at most 1,000,000 .*docs/scaling\.md"):
        one.put([document("b", "two ", "three")])
    assert [chunk.id for chunk in one.first(10)] == ["a"]
    assert by_words(one, "two") == []
    one.put([document("b", "two")])
    assert one.put([document("b", "changed")]) == PutResult(updated=1)
    one.remove(["b"])
