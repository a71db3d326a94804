"""PDF: the text of its pages, one section each."""

import io
import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.reading.document import PARSER_ERRORS, Document, Parsing, Section, UnreadableError, whole

if TYPE_CHECKING:
    from pypdf import Configuration

_HEADER_WITHIN = 1_024
"""Bytes before the header that PDF readers tolerate."""


def pdf_documents(content: bytes, parsing: Parsing) -> list[Document]:
    """Parse a file into one document.

    Raises:
        UnreadableError: It is encrypted, broken, without text, too long, or took too long.
    """
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    # Its warnings quote the file, and texts must not reach a log.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    if b"%PDF-" not in content[:_HEADER_WITHIN]:
        raise UnreadableError("not a PDF despite its name")
    page = 0
    text = _Pages(parsing)
    try:
        with _limited(parsing.limits.pdf_stream_bytes):
            reader = PdfReader(io.BytesIO(content))
            if reader.is_encrypted and not reader.decrypt(""):
                raise UnreadableError("encrypted; save a copy without password")
            for page, found in enumerate(reader.pages, start=1):
                text.add(clean(found.extract_text(visitor_operand_before=text.check)), page)
            title = reader.metadata.title if reader.metadata else None
    except DependencyError:
        raise UnreadableError("encrypted in a way that is not supported; save a copy without password") from None
    except (PyPdfError, *PARSER_ERRORS) as error:
        where = f" at page {page}" if page else ""
        raise UnreadableError(f"a broken PDF{where} ({type(error).__name__}); save it again") from None
    if not text.sections:
        raise UnreadableError(f"no text in its {page:,} pages; scanned pages need text recognition (OCR) first")
    return whole(text.text(), tuple(text.sections), clean(title) if isinstance(title, str) else "")


def _limited(stream_bytes: int) -> "AbstractContextManager[Configuration]":
    """Limit each stream of a PDF: pypdf decodes and splits it in Python, up to a microsecond a byte."""
    from pypdf import apply_configuration

    return apply_configuration(
        array_based_stream_maximum_output_length=stream_bytes,
        lzw_maximum_output_length=stream_bytes,
        run_length_maximum_output_length=stream_bytes,
        zlib_maximum_output_length=stream_bytes,
        brotli_maximum_output_length=stream_bytes,
        stream_decoding_work_maximum_length=4 * stream_bytes,
    )


class _Pages:
    """Collects the text of pages within the limits."""

    def __init__(self, parsing: Parsing) -> None:
        self.sections: list[Section] = []
        self._parsing = parsing
        self._parts: list[str] = []
        self._length = 0

    def add(self, page: str, number: int) -> None:
        """Append a page; a blank one has no section."""
        self.check()
        if page.strip():
            self.sections.append(Section(self._length, self._length + len(page), f"page {number}"))
        self._parts.append(page)
        self._length += len(page) + 2
        self._parsing.check_characters(self._length)

    def check(self, *operation: object) -> None:
        """Raise if the caller cancelled or the file takes too long; called before each operation of a page too."""
        del operation
        self._parsing.cancelled()

    def text(self) -> str:
        """Join the pages with blank lines."""
        return "\n\n".join(self._parts)
