"""Keyword search: terms of our own in a ``tsvector``, ranked by BM25 as in SQLite's FTS5."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcp_server_embeddings.store.analysis import STEMMERS, passage_terms
from mcp_server_embeddings.store.matching import Unit, limited_counts, words_table
from mcp_server_embeddings.store.postgres.connection import Connection
from mcp_server_embeddings.store.sql.filtering import Filter

_K1, _B = 1.2, 0.75
"""As in FTS5."""

_MIN_WEIGHT = 1e-6
"""As in FTS5, for a term that most passages have."""

_MAX_POSITIONS = 255
"""Maximum positions of a term in a ``tsvector``."""

_LAST_POSITION = 16_383
"""The highest position in a ``tsvector``."""

_RANKS = [float(rank) for rank in np.cumsum(1 / np.arange(1, _MAX_POSITIONS + 1) ** 2) / 1.64493406685 - 1e-6]
"""``ts_rank`` of a term that occurs 1, 2, 3 … times in a passage (with weights of 1; ``calc_rank_or`` in tsrank.c),
reduced by a margin: the fastest way to find how often a term occurs."""


def create_words(database: Connection, collection: int) -> None:
    """Create the table of terms."""
    table = words_table(collection)
    database.execute(
        f"CREATE TABLE {table} (chunk bigint PRIMARY KEY, length integer NOT NULL, language text NOT NULL, "
        "words tsvector NOT NULL)"
    )
    database.execute(f"CREATE INDEX {table}_by_word ON {table} USING gin (words) WITH (fastupdate = off)")
    database.execute(f"CREATE INDEX {table}_by_language ON {table} (language)")


def index_values(text: str) -> tuple[int, str, str]:
    """Return the number of terms of a passage, its language, and its terms in the syntax of a ``tsvector``."""
    terms = passage_terms(text)
    places: dict[str, list[int]] = {}
    for place, term in enumerate(terms[1:_LAST_POSITION], 1):
        places.setdefault(term, []).append(place)
    lexemes = (
        f"{_quoted(term)}:{','.join(map(str, found[:_MAX_POSITIONS]))}" for term, found in places.items() if term
    )
    return len(terms), terms[0].removeprefix("="), " ".join(lexemes)


class PostgresTerms:
    """The terms of a collection, as ``TermIndex``.

    Args:
        database: A connection inside a read transaction.
        collection: Its key.
        condition: Only passages that fit it are found.
    """

    def __init__(self, database: Connection, collection: int, condition: Filter | None) -> None:
        self._database = database
        self._collection = collection
        self._table = words_table(collection)
        self._known: dict[str, int] = {}
        self._within = "" if condition is None else f"AND chunk IN ({condition.chunks_sql})"
        self._parameters = () if condition is None else condition.parameters

    def languages(self) -> list[str]:
        """Return the languages of the passages."""
        query = (
            "SELECT code FROM unnest(?::text[]) WITH ORDINALITY AS known (code, place) "
            f"WHERE EXISTS (SELECT 1 FROM {self._table} WHERE language = code) ORDER BY place"
        )
        return [code for (code,) in self._database.execute(query, (list(STEMMERS),))]

    def counts(self, units: Sequence[Unit]) -> dict[Unit, int]:
        """Return how many passages have each unit; see ``limited_counts``."""
        return limited_counts(
            units,
            lambda batch, limit: dict(
                zip(batch, self._counted([_expression(unit) for unit in batch], limit), strict=True)
            ),
        )

    def best(self, units: Sequence[Unit], k: int) -> list[tuple[int, float]]:
        """Return the best passages."""
        phrases = [Unit((term,), unit.prefix) for unit in units for term in unit.terms]
        passages, mean = self._sizes()
        counts = self._counted([_expression(phrase) for phrase in phrases])
        weights = [max(float(np.log((passages - n + 0.5) / (n + 0.5))), _MIN_WEIGHT) for n in counts]
        scores, parameters = [], []
        for phrase, weight in zip(phrases, weights, strict=True):
            frequency, values = _frequency(phrase)
            # The frequency is the column of a subquery, so that it is computed once.
            scores.append(f"(SELECT ? * f * {_K1 + 1} / (f + spread) FROM (SELECT ({frequency})::float8 AS f) AS of)")
            parameters += [weight, *values]
        query = (
            f"SELECT chunk, {' + '.join(scores)} AS score FROM (SELECT chunk, words, "
            f"{_K1} * ({1 - _B} + {_B} * length / ?::float8) AS spread FROM {self._table} WHERE words @@ ?::tsquery "
            f"{self._within} OFFSET 0) AS found ORDER BY score DESC, chunk LIMIT ?"
        )
        expression = " | ".join(map(_expression, units))
        return self._database.execute(query, (*parameters, mean, expression, *self._parameters, k)).fetchall()

    def has_all(self, units: Sequence[Unit]) -> bool:
        """Tell whether a single passage has all units."""
        query = f"SELECT EXISTS (SELECT 1 FROM {self._table} WHERE words @@ ?::tsquery {self._within})"
        expression = " & ".join(map(_expression, units))
        (found,) = self._database.execute(query, (expression, *self._parameters)).fetchone() or (False,)
        return bool(found)

    def _counted(self, expressions: Sequence[str], limit: int | None = None) -> list[int]:
        """Count the passages that match each expression, up to a limit; known counts are not repeated."""
        query = (
            "SELECT (SELECT count(*) FROM "
            f"(SELECT 1 FROM {self._table} WHERE words @@ query::tsquery LIMIT ?) AS found) "
            "FROM unnest(?::text[]) WITH ORDINALITY AS given (query, place) ORDER BY place"
        )
        unknown = [one for one in dict.fromkeys(expressions) if one not in self._known]
        rows = self._database.execute(query, (limit, unknown)).fetchall() if unknown else []
        counts = {one: count for one, (count,) in zip(unknown, rows, strict=True)}
        self._known |= {one: count for one, count in counts.items() if count != limit}
        return [counts.get(one, self._known.get(one, 0)) for one in expressions]

    def _sizes(self) -> tuple[int, float]:
        """Return the number of passages, and their average number of terms."""
        query = "SELECT chunks, terms FROM collections WHERE row = ?"
        passages, terms = self._database.execute(query, (self._collection,)).fetchone() or (0, 0)
        return passages, max(terms, 1) / max(passages, 1)


def _frequency(phrase: Unit) -> tuple[str, list[Any]]:
    """Return the SQL for the frequency of a phrase in a passage, and its parameters."""
    (term,) = phrase.terms
    parts = term.split(" ")
    if len(parts) == 1 and not phrase.prefix:
        return "width_bucket(ts_rank('{1,1,1,1}', words, ?::tsquery)::float8, ?::float8[])", [_quoted(term), _RANKS]
    if phrase.prefix:
        places = "SELECT sum(cardinality(positions)) FROM unnest(words) WHERE starts_with(lexeme, ?)"
        values: list[Any] = [term]
    else:
        places = (
            "SELECT count(*) FROM (SELECT 1 FROM unnest(words) AS word JOIN unnest(?::text[]) WITH ORDINALITY AS part "
            "(lexeme, place) USING (lexeme), unnest(word.positions) AS position "
            "GROUP BY position - place HAVING count(*) = ?) AS begins"
        )
        values = [parts, len(parts)]
    return f"CASE WHEN words @@ ?::tsquery THEN ({places}) ELSE 0 END", [_expression(phrase), *values]


def _expression(unit: Unit) -> str:
    """Return a unit as a ``tsquery``."""
    mark = ":*" if unit.prefix else ""
    phrases = (" <-> ".join(_quoted(part) + mark for part in term.split(" ")) for term in unit.terms)
    return "(" + " | ".join(f"({phrase})" for phrase in phrases) + ")"


def _quoted(term: str) -> str:
    term = term or "="  # a lone accent leaves no term: "=" matches no passage
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"
