"""Read files of the user as texts with sections. Nothing outside the allowed folders is ever opened."""

from mcp_server_embeddings.reading.document import Document, Metadata, Parsing, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.isolated import read_documents
from mcp_server_embeddings.reading.limits import TABLE_LIMITS, ReadingLimits
from mcp_server_embeddings.reading.selecting import Reader, Selection
from mcp_server_embeddings.reading.tables import Table, TableTexts, is_table, read_table, split_source

__all__ = [
    "TABLE_LIMITS",
    "Document",
    "FoundFile",
    "Metadata",
    "Parsing",
    "Reader",
    "ReadingLimits",
    "Section",
    "Selection",
    "Skipped",
    "Table",
    "TableTexts",
    "UnreadableError",
    "is_table",
    "read_documents",
    "read_table",
    "split_source",
]
