"""Keyword search by FTS5, with terms of our own, and queries that never become SQL or search syntax."""

import sqlite3
from collections.abc import Sequence
from typing import Self

from mcp_server_embeddings.store.analysis import STEMMERS, language_term, passage_terms
from mcp_server_embeddings.store.matching import Unit, best_matches, limited_counts, words_table
from mcp_server_embeddings.store.records import WordMatches, passage_text
from mcp_server_embeddings.store.sql.filtering import Filter
from mcp_server_embeddings.store.sqlite.postings import FREQUENT, Known, best_of
from mcp_server_embeddings.store.where import Operand


def create_words(database: sqlite3.Connection, collection: int) -> None:
    """Create the full-text table.

    It stores the indexed terms. A contentless table would need exactly these terms to remove a passage, and would be
    damaged if another version of this program, or of a library, produced other terms.
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
    """Rebuild the indexes of all collections."""
    for (collection,) in database.execute("SELECT row FROM collections").fetchall():
        database.execute(f"DROP TABLE {words_table(collection)}")
        create_words(database, collection)
        documents = database.execute("SELECT row, text FROM documents WHERE collection = ?", (collection,))
        for document, text in documents:
            query = "SELECT row, start, stop, heading FROM chunks WHERE document = ?"
            for row, start, stop, heading in database.execute(query, (document,)):
                insert_words(database, collection, row, passage_text(heading, text[start:stop]))


class SqliteTerms:
    """The terms of a collection, as ``TermIndex``.

    Args:
        database: A connection inside a read transaction.
        collection: Its key.
        condition: Only passages that fit it are found.
        known: Statistics of the collection in this transaction.
    """

    def __init__(
        self, database: sqlite3.Connection, collection: int, condition: Filter | None, known: Known | None = None
    ) -> None:
        self._database = database
        self._collection = collection
        self._known = known or Known()
        self._counts: dict[Unit, int] = {}
        self._table = words_table(collection)
        # The plus stops SQLite from running the search once for every row that fits (9 s instead of 54 ms).
        self._within = "" if condition is None else f"AND +rowid IN ({condition.chunks_sql})"
        self._parameters = () if condition is None else condition.parameters

    def languages(self) -> list[str]:
        """Return the languages of the passages."""
        return [code for code in STEMMERS if self._exists(f'"{language_term(code)}"')]

    def counts(self, units: Sequence[Unit]) -> dict[Unit, int]:
        """Return how many passages have each unit; see ``limited_counts``."""
        self._counts = limited_counts(units, lambda batch, limit: {unit: self._count(unit, limit) for unit in batch})
        return self._counts

    def best(self, units: Sequence[Unit], k: int) -> list[tuple[int, float]]:
        """Return the best passages."""
        terms = [term for unit in units for term in unit.terms]
        single = not any(unit.prefix for unit in units) and not any(" " in term for term in terms)
        if single and not self._within and sum(self._counts.get(unit, 0) for unit in units) >= FREQUENT:
            found = best_of(self._database, self._collection, terms, k, self._known.lengths)
            if found is not None:
                return found
        rows = self._database.execute(
            f"SELECT rowid, bm25({self._table}) AS score FROM {self._table} WHERE {self._table} MATCH ? "
            f"{self._within} ORDER BY score, rowid LIMIT ?",
            (" OR ".join(map(_expression, units)), *self._parameters, k),
        )
        return [(row, -score) for row, score in rows]  # FTS5's scores are negative

    def has_all(self, units: Sequence[Unit]) -> bool:
        """Tell whether a single passage has all units."""
        expression = " AND ".join(map(_expression, units))
        if not self._exists(expression):
            return False
        # The filter costs as much as the search, so it is applied only if it can change the answer.
        return not self._within or self._exists(expression, self._within, self._parameters)

    def _count(self, unit: Unit, limit: int) -> int:
        if (unit, limit) in self._known.counts:
            return self._known.counts[unit, limit]
        query = f"SELECT count(*) FROM (SELECT 1 FROM {self._table} WHERE {self._table} MATCH ? LIMIT ?)"
        count = int(self._database.execute(query, (_expression(unit), limit)).fetchone()[0])
        if count >= FREQUENT:  # there are few such words, and they are looked up often
            self._known.counts[unit, limit] = count
        return count

    def _exists(self, expression: str, within: str = "", parameters: Sequence[Operand] = ()) -> bool:
        query = f"SELECT EXISTS (SELECT 1 FROM {self._table} WHERE {self._table} MATCH ? {within})"
        return bool(self._database.execute(query, (expression, *parameters)).fetchone()[0])


def _expression(unit: Unit) -> str:
    """Return a unit as an FTS5 expression."""
    mark = "*" if unit.prefix else ""
    return "(" + " OR ".join(f'"{term}"{mark}' for term in unit.terms) + ")"


class WordIndex:
    """A keyword index of texts in memory, searched as those of a collection are. For one thread.

    Args:
        texts: The texts; the keys of matches are their positions.

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
        """Close the index."""
        self._database.close()

    def matching(self, words: str, k: int) -> WordMatches:
        """Return the texts that have words of a text; see ``Collection.matching``."""
        return best_matches(SqliteTerms(self._database, 0, None), words, k)
