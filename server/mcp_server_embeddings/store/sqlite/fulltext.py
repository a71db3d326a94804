"""Search by words: what is indexed, and a query that is never SQL or search syntax."""

import sqlite3
from collections.abc import Sequence
from typing import Self

import numpy as np

from mcp_server_embeddings.store.analysis import STEMMERS, language_term, passage_terms, query_words
from mcp_server_embeddings.store.records import WordMatches, passage_text
from mcp_server_embeddings.store.sqlite.filtering import Filter
from mcp_server_embeddings.store.where import Operand

_MAX_POSTINGS = 30_000
"""Occurrences that one search scores, about 20 ms. Frequent words tell little (BM25 weighs them near nothing) and cost
nearly all: 'the' in 100,000 texts takes 60 ms. So the rarest words come first."""


def words_table(collection: int) -> str:
    """Return the full-text table of a collection. Each has its own: BM25 weighs a word by how many texts have it."""
    return f"words_{collection:d}"


def create_words(database: sqlite3.Connection, collection: int) -> None:
    """Make the full-text table.

    It keeps what was indexed. A table without content must be told exactly that on removal, and is damaged where
    another version of this program, or of a library, would index otherwise.
    """
    database.execute(
        f"CREATE VIRTUAL TABLE {words_table(collection)} "
        """USING fts5(text, tokenize="ascii tokenchars '='")"""
    )


def insert_words(database: sqlite3.Connection, collection: int, row: int, text: str) -> None:
    """Index the text of a passage."""
    database.execute(
        f"INSERT INTO {words_table(collection)} (rowid, text) VALUES (?, ?)", (row, " ".join(passage_terms(text)))
    )


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


def best_matches(
    database: sqlite3.Connection, collection: int, query: str, k: int, condition: Filter | None
) -> WordMatches:
    """Chunks that have words of the query, best first by BM25 (Robertson and Zaragoza 2009, as in SQLite's FTS5)."""
    table = words_table(collection)
    languages = [code for code in STEMMERS if _exists(database, table, (f'"{language_term(code)}"',))]
    words = query_words(query, languages)
    wholes = [_expression(word.terms, word.beginning) for word in words]
    units = {whole: at for at, whole in enumerate(wholes)}
    for at, word in enumerate(words):
        units |= {_expression(part): at for part in word.parts if _expression(part) not in units}
    counts = {unit: _count(database, table, unit) for unit in units}
    known = sorted((unit for unit in units if counts[unit]), key=lambda unit: counts[unit])
    if not known:
        return WordMatches([], np.empty(0), 0, len(words), complete=False)
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
    together = " AND ".join(wholes)
    complete = all(counts[whole] for whole in wholes) and _exists(database, table, (together,))
    if complete and within:  # costs as much as the search, so only where it can say no
        complete = _exists(database, table, (together, *parameters), within)
    number = len({units[unit] for unit in searched})
    scores = np.array([worth for _, worth in found])
    return WordMatches([row for row, _ in found], scores, number, len(words), complete)


def _expression(terms: Sequence[str], beginning: bool = False) -> str:
    """Return an FTS5 expression for any of some terms."""
    mark = "*" if beginning else ""
    return "(" + " OR ".join(f'"{term}"{mark}' for term in terms) + ")"


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
    """Return the rarest words, one at least, as long as their occurrences stay in the budget."""
    chosen, postings = words[:1], counts[words[0]]
    for word in words[1:]:
        postings += counts[word]
        if postings > _MAX_POSTINGS:
            break
        chosen.append(word)
    return chosen
