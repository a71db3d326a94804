"""Parse a file in the format given by its suffix."""

from collections.abc import Callable
from pathlib import PurePath

from mcp_server_embeddings.reading.cells import Cells
from mcp_server_embeddings.reading.document import Document, Parsing
from mcp_server_embeddings.reading.formats.code import CODE_SUFFIXES, code_documents
from mcp_server_embeddings.reading.limits import ReadingLimits

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".parquet")

LINES_SUFFIX = ".txt"
"""Suffix of a text file whose lines may be read as a table with one column."""

_MARKDOWN = frozenset({".md", ".markdown", ".mdx"})
_HTML = frozenset({".html", ".htm", ".xhtml"})

_KINDS = {
    **dict.fromkeys(_MARKDOWN, "Markdown"),
    **dict.fromkeys(_HTML, "HTML"),
    **dict.fromkeys(CODE_SUFFIXES, "source code"),
    ".pdf": "a PDF file",
    ".docx": "a DOCX file",
    ".xlsx": "an XLSX file",
    ".parquet": "a Parquet file",
}
"""Names of the formats whose parsers a hostile file can crash, or make take unlimited time or memory."""

_Format = Callable[[bytes, Parsing], list[Document]]


def is_isolated(path: str) -> bool:
    """Tell whether a file has to be parsed in a separate process."""
    return suffix_of(path) in _KINDS


def kind(path: str) -> str:
    """Name the format of a file that ``is_isolated``, for messages."""
    return _KINDS[suffix_of(path)]


def time_limit(path: str, limits: ReadingLimits) -> float:
    """Return the maximum time for parsing a file, in seconds."""
    return limits.pdf_seconds if suffix_of(path) == ".pdf" else limits.seconds


def parse_documents(path: str, content: bytes, parsing: Parsing) -> list[Document]:
    """Parse the content of a file in this process; see ``isolated.read_documents``.

    Raises:
        UnreadableError: It yields no text.
        Exception: Any error that a parser raises on a corrupt file, if the file ``is_isolated``.
    """
    parsing.cancelled()
    suffix = suffix_of(path)
    if suffix in CODE_SUFFIXES:
        return code_documents(path, content, parsing)
    return _format(suffix)(content, parsing)


def parse_cells(suffix: str, content: bytes, parsing: Parsing) -> Cells:
    """Parse a table in this process; see ``isolated.read_cells``.

    Raises:
        UnreadableError: It is malformed or too large.
        Exception: As ``parse_documents``.
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
    # Imported on use: importing the libraries takes longer than starting the whole server.
    match suffix:
        case _ if suffix in _MARKDOWN:
            from mcp_server_embeddings.reading.formats.markdown import markdown_documents as documents
        case _ if suffix in _HTML:
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

            return lambda content, parsing: cells_documents(parse_cells(suffix, content, parsing), parsing)
        case ".jsonl" | ".ndjson":
            from mcp_server_embeddings.reading.formats.jsonl import jsonl_documents as documents
        case _:
            from mcp_server_embeddings.reading.formats.plain import plain_documents as documents
    return documents


def suffix_of(path: str) -> str:
    """Return the suffix of a file, which determines its format, in lower case."""
    return PurePath(path).suffix.lower()
