"""Parse a file in the format that its name tells."""

from collections.abc import Callable
from pathlib import PurePath

from mcp_server_embeddings.reading.document import Document, Parsing, until
from mcp_server_embeddings.reading.limits import Cancelled, ReadingLimits, never_cancelled

_Format = Callable[[bytes, Parsing], list[Document]]


def read_documents(
    path: str,
    content: bytes,
    field: str | None = None,
    *,
    limits: ReadingLimits | None = None,
    cancelled: Cancelled = never_cancelled,
) -> list[Document]:
    """Parse the content of a file.

    Args:
        path: Its suffix tells its format; nothing is opened.
        content: All its bytes.
        field: Column of a CSV or TSV file, or key of a JSONL file, that contains the text; ignored for other formats.
        limits: What is too much.
        cancelled: Called often; raises if the caller cancelled.

    Returns:
        One document, or one a row for CSV, TSV and JSONL; at least one.

    Raises:
        UnreadableError: It is binary, malformed, encrypted, too large, without text, or takes too long.

    Example:
        >>> read_documents("notes.md", b"# Title")[0].sections[0].heading
        'Title'
    """
    limits = limits or ReadingLimits()
    suffix = PurePath(path).suffix.lower()
    seconds = limits.pdf_seconds if suffix == ".pdf" else limits.seconds
    parsing = Parsing(field, limits, until(seconds, cancelled))
    parsing.cancelled()
    return _format(suffix)(content, parsing)


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
            from mcp_server_embeddings.reading.formats.table import table_documents

            return lambda content, parsing: table_documents(content, parsing, "\t" if suffix == ".tsv" else "")
        case ".jsonl" | ".ndjson":
            from mcp_server_embeddings.reading.formats.jsonl import jsonl_documents as documents
        case _:
            from mcp_server_embeddings.reading.formats.plain import plain_documents as documents
    return documents
