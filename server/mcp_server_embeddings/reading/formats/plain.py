"""Plain text: everything that has no format of its own."""

from mcp_server_embeddings.reading.decoding import decoded
from mcp_server_embeddings.reading.document import Document, Parsing, whole
from mcp_server_embeddings.reading.outline import Outline


def plain_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a file into one document of one section.

    Raises:
        UnreadableError: It is binary, blank or too long.
    """
    text = decoded(content)
    parsing.check_characters(len(text))
    return whole(text, Outline(parsing).sections(text))
