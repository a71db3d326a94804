"""Parse files in a separate process if their format needs a complex parser, otherwise in this process.

Plain text, CSV and JSONL are parsed here: they take time and memory in proportion to their size, which is limited.
"""

import itertools
import os
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

from mcp_server_embeddings.reading.cells import Cell, Cells
from mcp_server_embeddings.reading.document import DEFAULT_PARSING, Document, Parsing, Section, until
from mcp_server_embeddings.reading.parsing import is_isolated, parse_cells, parse_documents, suffix_of, time_limit
from mcp_server_embeddings.reading.processes import Request, reader_processes

_table_numbers = itertools.count(1)


def read_documents(path: str, content: bytes, parsing: Parsing = DEFAULT_PARSING) -> list[Document]:
    """Parse the content of a file.

    Args:
        path: Its suffix determines the format; nothing is opened.
        content: All bytes of the file.
        parsing: Limits and cancellation.

    Returns:
        One document, or one per row for CSV, TSV, JSONL, XLSX and Parquet; at least one.

    Raises:
        UnreadableError: It is binary, malformed, encrypted, too large or without text, takes too long, needs too much
            memory, or crashed its parser.

    Example:
        >>> read_documents("notes.md", b"# Title")[0].sections[0].heading
        'Title'
    """
    if not is_isolated(path):
        return parse_documents(path, content, _with_time_limit(path, parsing))
    parts = _ask(Request(PurePath(path).name, content, parsing.limits), parsing)
    return [
        Document(suffix, text, tuple(Section(*section) for section in sections), metadata)
        for part in parts
        for suffix, text, sections, metadata in part
    ]


def read_cells(path: str, content: bytes, parsing: Parsing) -> Cells:
    """Parse a file in one of the formats of ``TABLE_SUFFIXES``, or the lines of a text file, as a table.

    Raises:
        UnreadableError: As ``read_documents``; also raised when a column is read.
    """
    if not is_isolated(path):
        return parse_cells(suffix_of(path), content, _with_time_limit(path, parsing))
    request = Request(PurePath(path).name, content, parsing.limits, column=-1, table=next(_table_numbers))
    ((names, rows, notes, typed),) = _ask(request, parsing)
    return Cells(names, rows, partial(_column, request, parsing), tuple(notes), typed)


def _column(request: Request, parsing: Parsing, index: int) -> list[Cell]:
    parts = _ask(replace(request, column=index), parsing)
    return [texts[cell] if isinstance(cell, int) else cell[0] for texts, cells in parts for cell in cells]


def _ask(request: Request, parsing: Parsing) -> list[Any]:
    return reader_processes(os.getpid()).ask(request, parsing.cancelled)


def _with_time_limit(path: str, parsing: Parsing) -> Parsing:
    return replace(parsing, cancelled=until(time_limit(path, parsing.limits), parsing.cancelled))
