"""Read golden queries: a table of queries with the items of a collection that answer them."""

from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import Relevance, RetrievalSet
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.reading.document import UnreadableError
from mcp_server_embeddings.reading.tables import Table, read_table

_GRADE = "relevance"


def read_golden_queries(path: Path) -> RetrievalSet:
    """Read a table with the columns ``query``, ``id`` and optionally ``relevance``, one row per relevant item.

    Returns:
        A retrieval set without documents, in which each query is its own id.

    Raises:
        InputError: The file cannot be read, is not such a table, or a row lacks a query, an id or a grade above 0.
    """
    try:
        table = read_table(str(path), path.read_bytes())
        queries, ids, grades = table.column("query"), table.column("id"), _grades(table)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; give a table of golden queries") from None
    except UnreadableError as error:
        raise InputError(
            f"{path}: {error}; give a table with the columns query and id, one row a relevant item"
        ) from None
    relevance: Relevance = {}
    for number, (query, key, grade) in enumerate(zip(queries, ids, grades, strict=True), 1):
        text, item = _text(query), _text(key)
        if not (text and item):
            raise InputError(f"row {number} of {path} has no {'id' if text else 'query'}; fill it in or take it out")
        if not isinstance(grade, int) or grade < 1:
            raise InputError(f"row {number} of {path} has the relevance {grade!r}; give a whole number from 1 on")
        relevance.setdefault(text, {})[item] = grade
    return RetrievalSet(path.name, {}, 0, {query: query for query in relevance}, relevance)


def _grades(table: Table) -> list[Cell]:
    has_grades = any(column.casefold() == _GRADE for column in table.columns)
    return table.typed(_GRADE) if has_grades else [1] * table.rows


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell).strip()
