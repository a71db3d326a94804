"""Plain text: all files without a more specific format."""

import re

from mcp_server_embeddings.reading.cells import LINES, Cells
from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, whole_document
from mcp_server_embeddings.reading.outline import Outline

_LINE_END = re.compile(r"\r\n?|\n")


def plain_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a file into one document with one section.

    Raises:
        UnreadableError: It is binary, blank or too long.
    """
    text = decoded(content)
    parsing.check_characters(len(text))
    return whole_document(text, Outline(parsing).sections(text))


def line_cells(content: bytes, parsing: Parsing) -> Cells:
    """Parse a file as a table with one row per line, so that row numbers are line numbers.

    Raises:
        UnreadableError: It is binary, or has too many lines.
    """
    lines = _LINE_END.split(decoded(content))
    parsing.check_rows(len(lines))
    return Cells([LINES], len(lines), lambda _: list(lines), typed=False)
