"""PDF: the text of its pages, one section each."""

import io
import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.reading.document import PARSER_ERRORS, Document, Parsing, UnreadableError, whole
from mcp_server_embeddings.reading.outline import Outline

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
    number = length = 0
    pages: list[str] = []
    outline = Outline(parsing)
    try:
        with _limited(parsing.limits.pdf_stream_bytes):
            reader = PdfReader(io.BytesIO(content))
            if reader.is_encrypted and not reader.decrypt(""):
                raise UnreadableError("encrypted; save a copy without password")
            for number, page in enumerate(reader.pages, start=1):
                outline.heading(length, 1, f"page {number}")
                # The visitor is called before each operation of a page.
                pages.append(clean(page.extract_text(visitor_operand_before=lambda *_: parsing.cancelled())))
                length += len(pages[-1]) + 2
                parsing.check_characters(length)
            title = reader.metadata.title if reader.metadata else None
    except DependencyError:
        raise UnreadableError("encrypted in a way that is not supported; save a copy without password") from None
    except (PyPdfError, *PARSER_ERRORS) as error:
        where = f" at page {number}" if number else ""
        raise UnreadableError(f"a broken PDF{where} ({type(error).__name__}); save it again") from None
    text = "\n\n".join(pages)
    if not text.strip():
        raise UnreadableError(f"no text in its {number:,} pages; scanned pages need text recognition (OCR) first")
    return whole(text, outline.sections(text), clean(title) if isinstance(title, str) else "")


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
