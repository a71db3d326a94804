"""Read files of the user as texts with sections. Nothing outside the allowed folders is ever opened.

Names are loaded on first use: a process that parses files starts twice as fast without most of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_MODULES = {
    "document": ("Document", "Metadata", "Parsing", "Section", "UnreadableError"),
    "found": ("FoundFile", "Skipped"),
    "isolated": ("read_documents",),
    "limits": ("TABLE_LIMITS", "ReadingLimits"),
    "selecting": ("Reader", "Selection"),
    "tables": ("Table", "TableTexts", "is_table", "read_table", "split_source"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
