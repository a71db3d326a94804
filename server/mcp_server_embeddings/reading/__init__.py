"""Read files of the user as texts with sections. Nothing outside the allowed folders is ever opened."""

from mcp_server_embeddings.reading.document import Document, Metadata, Parsing, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.limits import ReadingLimits
from mcp_server_embeddings.reading.parsing import read_documents
from mcp_server_embeddings.reading.selecting import Reader, Selection

__all__ = [
    "Document",
    "FoundFile",
    "Metadata",
    "Parsing",
    "Reader",
    "ReadingLimits",
    "Section",
    "Selection",
    "Skipped",
    "UnreadableError",
    "read_documents",
]
