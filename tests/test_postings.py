"""Passages with frequent words: found and scored as FTS5 does it, to the last bit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.store.matching import MAX_POSTINGS, Unit
from mcp_server_embeddings.store.records import NewChunk, NewDocument
from mcp_server_embeddings.store.sqlite.collection import SqliteCollection
from mcp_server_embeddings.store.sqlite.fulltext import SqliteTerms
from mcp_server_embeddings.store.sqlite.postings import FREQUENT, Known, Lengths, Statistics, best_of
from mcp_server_embeddings.store.sqlite.store import SqliteStore

TERMS = ("oak", "elm", "fir", "yew", "=en", "none")


def passages(count: int, seed: int) -> list[str]:
    """Texts of one to 300 words; some words are in nearly all of them, some in few, and many more than once."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 300, count) // generator.integers(1, 100, count) + 1
    return [" ".join(generator.choice(["oak", "elm", "fir", "yew"], n, p=[0.9, 0.07, 0.02, 0.01])) for n in lengths]


def document(name: str, texts: Sequence[str]) -> NewDocument:
    """Texts as the passages of one document."""
    ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
    starts = [0, *ends[:-1]]
    chunks = [NewChunk(a, b, "", np.ones(4, np.float32)) for a, b in zip(starts, ends, strict=True)]
    return NewDocument(name, "\n".join(texts) + "\n", {}, tuple(chunks))


@pytest.fixture
def collection(tmp_path: Path) -> SqliteCollection:
    store = SqliteStore(tmp_path)
    other = store.open_or_create("other", "x", "x", 4)
    collection = store.open_or_create("trees", "x", "x", 4)
    assert isinstance(collection, SqliteCollection)
    for part in range(4):
        other.put([document(f"{part}", passages(20, part))])
        collection.put([document(f"{part}", passages(100, part))])
    return collection


def assert_as_fts5(collection: SqliteCollection, lengths: Lengths, terms: Sequence[str] = TERMS) -> None:
    key = collection.record.key
    with collection._reading() as database:
        for asked in [[term] for term in terms] + [list(terms), list(terms[::-1])]:
            expected = SqliteTerms(database, key, None).best([Unit((term,)) for term in asked], 50)
            assert best_of(database, key, asked, 50, lengths) == expected


def test_passages_with_frequent_words_are_scored_as_fts5_scores_them(collection: SqliteCollection) -> None:
    assert_as_fts5(collection, Lengths())


def test_scores_follow_what_is_added_and_removed(collection: SqliteCollection) -> None:
    lengths = Lengths()
    assert_as_fts5(collection, lengths)
    collection.put([document("new", passages(60, 9)), document("1", passages(70, 10))])
    assert_as_fts5(collection, lengths)
    collection.remove(["0", "new"])
    assert_as_fts5(collection, lengths)
    assert_as_fts5(collection, Lengths())


def test_a_passage_that_was_removed_before_its_length_was_read_is_left_to_fts5(collection: SqliteCollection) -> None:
    key, lengths = collection.record.key, Lengths()
    with collection._reading() as before:
        assert before.execute("SELECT count(*) FROM chunks").fetchone() == (480,)
        collection.remove(["1"])
        with collection._reading() as after:
            assert best_of(after, key, ["oak"], 5, lengths)
        assert best_of(before, key, ["oak"], 5, lengths) is None


def test_searches_of_frequent_words_give_what_fts5_gives(collection: SqliteCollection) -> None:
    collection.put([document("many", passages(2 * FREQUENT, 11))])
    oak, elm = Unit(("oak",)), Unit(("elm",))
    known = Known()
    with collection._reading() as database:
        expected = SqliteTerms(database, collection.record.key, None).best([elm, oak], 20)
        terms = SqliteTerms(database, collection.record.key, None, known)
        counts = terms.counts([oak, elm])
        assert terms.best([elm, oak], 20) == expected
    assert known.lengths.nbytes > 0
    assert known.counts == {(oak, MAX_POSTINGS + 1): counts[oak]}
    found = collection.matching("oak elm", 20)
    assert list(zip(found.keys, found.scores.tolist(), strict=True)) == expected


def test_counts_are_known_of_one_state_and_lengths_of_one_file() -> None:
    statistics = Statistics()
    known = statistics.at(1, 1)
    known.counts[Unit(("oak",)), 9] = 5
    assert statistics.at(1, 1) is known
    assert not statistics.at(1, 2).counts
    assert statistics.at(1, 2).lengths is known.lengths
    assert statistics.at(2, 2).lengths is not known.lengths
    assert not statistics.at(1, 1).counts
