"""Search by words: what is indexed, and a query that is never SQL or search syntax."""

import re
import sqlite3
from collections.abc import Sequence
from typing import Self

import numpy as np

from mcp_server_embeddings.store.records import WordMatches, passage_text
from mcp_server_embeddings.store.sqlite.filtering import Filter
from mcp_server_embeddings.store.where import Operand

_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
"""Letters of scripts that put no spaces between words, or particles without: Thai, Lao, Burmese, Khmer, Japanese,
Chinese, Korean. The ranges are fixed, because what was indexed must be found again when it is removed."""

_WORD = re.compile("[\\w\u0300-\u036f]+")
"""With accents that stand by themselves, as in texts from macOS."""

_MAX_WORDS = 32
"""Different words of a query that are looked up."""

_MAX_POSTINGS = 40_000
"""Occurrences that one search scores, about 25 ms. Frequent words tell little (BM25 weighs them near nothing) and cost
nearly all: 'the' in 100,000 texts takes 60 ms. So the rarest words come first, and a list of stop words, which would
know one language, is not needed."""


def words_table(collection: int) -> str:
    """The full-text table of a collection. Each has its own: BM25 weighs a word by how many texts have it."""
    return f"words_{collection:d}"


def create_words(database: sqlite3.Connection, collection: int) -> None:
    """Make the full-text table.

    It keeps what was indexed. A table without content must be told exactly that on removal, and is damaged where
    another version of this program, or of a library, would index otherwise.
    """
    database.execute(
        f"CREATE VIRTUAL TABLE {words_table(collection)} "
        "USING fts5(text, tokenize='porter unicode61 remove_diacritics 2')"
    )


def insert_words(database: sqlite3.Connection, collection: int, row: int, text: str) -> None:
    """Index the text of a passage."""
    database.execute(f"INSERT INTO {words_table(collection)} (rowid, text) VALUES (?, ?)", (row, indexed(text)))


def delete_words(database: sqlite3.Connection, collection: int, row: int) -> None:
    """Remove a passage from the index."""
    database.execute(f"DELETE FROM {words_table(collection)} WHERE rowid = ?", (row,))


def rebuild_words(database: sqlite3.Connection) -> None:
    """Index all passages of all collections anew."""
    for (collection,) in database.execute("SELECT row FROM collections").fetchall():
        database.execute(f"DROP TABLE {words_table(collection)}")
        create_words(database, collection)
        documents = database.execute("SELECT row, text FROM documents WHERE collection = ?", (collection,))
        for document, text in documents:
            query = "SELECT row, start, stop, heading FROM chunks WHERE document = ?"
            for row, start, stop, heading in database.execute(query, (document,)):
                insert_words(database, collection, row, passage_text(heading, text[start:stop]))


def indexed(text: str) -> str:
    """The text as it is indexed: every letter of an unspaced script is a word."""
    return _UNSPACED.sub(r" \g<0> ", text)


def query_words(query: str) -> list[str]:
    """The different words of a query as FTS5 strings, in order; a run of an unspaced script is one phrase."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query))
    return [f'"{" ".join(indexed(word).split())}"' for word in words][:_MAX_WORDS]


def best_matches(
    database: sqlite3.Connection, collection: int, query: str, k: int, condition: Filter | None
) -> WordMatches:
    """Chunks that have words of the query, best first by BM25 (Robertson and Zaragoza 2009, as in SQLite's FTS5)."""
    table = words_table(collection)
    counts = {word: _count(database, table, word) for word in query_words(query)}
    known = sorted((word for word in counts if counts[word]), key=lambda word: counts[word])
    if not known:
        return WordMatches([], np.empty(0), 0, complete=False)
    searched = _affordable(known, counts)
    within = ""
    if condition is not None:
        # The plus keeps SQLite from running the search once for every row that fits (9 s in place of 54 ms).
        within = f"AND +rowid IN (SELECT row FROM chunks WHERE document IN ({condition.sql}))"
    parameters = condition.parameters if condition is not None else ()
    rows = database.execute(
        f"SELECT rowid, bm25({table}) AS worth FROM {table} WHERE {table} MATCH ? {within} "
        "ORDER BY worth, rowid LIMIT ?",
        (" OR ".join(searched), *parameters, k),
    )
    found = [(row, -worth) for row, worth in rows]
    together = " AND ".join(known)
    complete = len(known) == len(counts) and _exists(database, table, (together,))
    if complete and within:  # costs as much as the search, so only where it can say no
        complete = _exists(database, table, (together, *parameters), within)
    return WordMatches([row for row, _ in found], np.array([worth for _, worth in found]), len(searched), complete)


class WordIndex:
    """Texts in memory, searched by words as those of a collection are. For one thread.

    Args:
        texts: Their positions are the keys of what is found.

    Example:
        >>> WordIndex(["a red fox", "a bike"]).matching("foxes", 5).keys
        [0]
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._database = sqlite3.connect(":memory:")
        create_words(self._database, 0)
        for position, text in enumerate(texts):
            insert_words(self._database, 0, position, text)

    def __enter__(self) -> Self:
        """Return the index."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it."""
        self._database.close()

    def matching(self, words: str, k: int) -> WordMatches:
        """Return the texts with words of a text; see ``Collection.matching``."""
        return best_matches(self._database, 0, words, k, None)


def _exists(database: sqlite3.Connection, table: str, parameters: Sequence[Operand], within: str = "") -> bool:
    query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {table} MATCH ? {within})"
    return bool(database.execute(query, parameters).fetchone()[0])


def _count(database: sqlite3.Connection, table: str, expression: str) -> int:
    (count,) = database.execute(f"SELECT count(*) FROM {table} WHERE {table} MATCH ?", (expression,)).fetchone()
    return int(count)


def _affordable(words: list[str], counts: dict[str, int]) -> list[str]:
    """The rarest words, one at least, as long as their occurrences stay in the budget."""
    chosen, postings = words[:1], counts[words[0]]
    for word in words[1:]:
        postings += counts[word]
        if postings > _MAX_POSTINGS:
            break
        chosen.append(word)
    return chosen
