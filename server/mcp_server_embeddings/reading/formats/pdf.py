"""PDF: the text of the pages, one section per page."""

import io

from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.reading.document import Document, Parsing, UnreadableError, whole_document
from mcp_server_embeddings.reading.outline import Outline

_HEADER_WITHIN = 1_024
"""PDF readers tolerate other bytes before the header if it is within this number of bytes."""


def pdf_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a file into one document.

    Raises:
        UnreadableError: It is encrypted, without text or too long.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, LimitReachedError

    if b"%PDF-" not in content[:_HEADER_WITHIN]:
        raise UnreadableError("not a PDF despite its name")
    pages: list[str] = []
    length = 0
    outline = Outline(parsing)
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableError("encrypted; save a copy without password")
        for number, page in enumerate(reader.pages, start=1):
            outline.heading(length, 1, f"page {number}")
            pages.append(clean(page.extract_text()))
            length += len(pages[-1]) + 2
            parsing.check_characters(length)
        title = reader.metadata.title if reader.metadata else None
    except DependencyError:
        raise UnreadableError("encrypted in a way that is not supported; save a copy without password") from None
    except LimitReachedError:
        where = f" at page {len(pages) + 1:,}"
        raise UnreadableError(f"unpacks or repeats without end{where}, as a bomb does; save it again") from None
    text = "\n\n".join(pages)
    if not text.strip():
        raise UnreadableError(f"no text in its {len(pages):,} pages; scanned pages need text recognition (OCR) first")
    return whole_document(text, outline.sections(text), clean(title) if isinstance(title, str) else "")
