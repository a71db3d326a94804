"""Parse a file in the format that its suffix names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath

from mcp_server_embeddings.reading.cells import Cells
from mcp_server_embeddings.reading.document import DEFAULT_PARSING, Document, Parsing, until
from mcp_server_embeddings.reading.formats.code import CODE_SUFFIXES, code_documents

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".parquet")

LINES_SUFFIX = ".txt"
"""Of a text whose lines may be read as a table of one column."""

_Format = Callable[[bytes, Parsing], list[Document]]


def read_documents(path: str, content: bytes, parsing: Parsing = DEFAULT_PARSING) -> list[Document]:
    """Parse the content of a file.

    Args:
        path: Its suffix determines the format; nothing is opened.
        content: All its bytes.
        parsing: How to parse it.

    Returns:
        One document, or one per row for CSV, TSV, JSONL, XLSX and Parquet; at least one.

    Raises:
        UnreadableError: It is binary, malformed, encrypted, too large, without text, or takes too long.

    Example:
        >>> read_documents("notes.md", b"# Title")[0].sections[0].heading
        'Title'
    """
    suffix = PurePath(path).suffix.lower()
    seconds = parsing.limits.pdf_seconds if suffix == ".pdf" else parsing.limits.seconds
    parsing = replace(parsing, cancelled=until(seconds, parsing.cancelled))
    parsing.cancelled()
    if suffix in CODE_SUFFIXES:
        return code_documents(path, content, parsing)
    return _format(suffix)(content, parsing)


def read_cells(suffix: str, content: bytes, parsing: Parsing) -> Cells:
    """Parse a file in one of the formats of ``TABLE_SUFFIXES``, or the lines of a text, as a table.

    Raises:
        UnreadableError: It is malformed, too large, or takes too long.
    """
    match suffix:
        case ".xlsx":
            from mcp_server_embeddings.reading.formats.xlsx import xlsx_cells

            return xlsx_cells(content, parsing)
        case ".parquet":
            from mcp_server_embeddings.reading.formats.parquet import parquet_cells

            return parquet_cells(content, parsing)
        case ".jsonl" | ".ndjson":
            from mcp_server_embeddings.reading.formats.jsonl import jsonl_cells

            return jsonl_cells(content, parsing)
        case ".txt":
            from mcp_server_embeddings.reading.formats.plain import line_cells

            return line_cells(content, parsing)
        case _:
            from mcp_server_embeddings.reading.formats.table import csv_cells

            return csv_cells(content, parsing, "\t" if suffix == ".tsv" else "")


def _format(suffix: str) -> _Format:
    # Imported on use: the libraries take longer to import than the whole server to start.
    match suffix:
        case ".md" | ".markdown" | ".mdx":
            from mcp_server_embeddings.reading.formats.markdown import markdown_documents as documents
        case ".html" | ".htm" | ".xhtml":
            from mcp_server_embeddings.reading.formats.html import html_documents as documents
        case ".pdf":
            from mcp_server_embeddings.reading.formats.pdf import pdf_documents as documents
        case ".docx":
            from mcp_server_embeddings.reading.formats.docx import docx_documents as documents
        case ".csv" | ".tsv":
            from mcp_server_embeddings.reading.formats.table import csv_documents

            return lambda content, parsing: csv_documents(content, parsing, "\t" if suffix == ".tsv" else "")
        case ".xlsx" | ".parquet":
            from mcp_server_embeddings.reading.formats.table import cells_documents

            return lambda content, parsing: cells_documents(read_cells(suffix, content, parsing), parsing)
        case ".jsonl" | ".ndjson":
            from mcp_server_embeddings.reading.formats.jsonl import jsonl_documents as documents
        case _:
            from mcp_server_embeddings.reading.formats.plain import plain_documents as documents
    return documents
