"""Limits of reading, and cancellation."""

from collections.abc import Callable
from dataclasses import dataclass

Cancelled = Callable[[], None]
"""Called often while files are listed, read and parsed; raises if the caller cancelled."""


def never_cancelled() -> None:
    """Do nothing, for callers that do not cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """Upper bounds of one call.

    Attributes:
        file_bytes: Size of a file, PDF and DOCX excepted.
        packed_bytes: Size of a PDF or DOCX file, which contains images too.
        unpacked_bytes: Size of a DOCX file when unpacked.
        characters: Text of one document.
        rows: Documents of one CSV or JSONL file.
        columns: Columns of a CSV file.
        files: Files of one selection.
        depth: Folders below a requested folder.
        sections: Headings of one document.
        seconds: Time to parse one file.
        pdf_seconds: The same for a PDF, whose pages are interpreted to find their text.
        pdf_stream_bytes: Size of one stream of a PDF when unpacked; decoding it cannot be interrupted.
    """

    file_bytes: int = 20_000_000
    packed_bytes: int = 100_000_000
    unpacked_bytes: int = 100_000_000
    characters: int = 5_000_000
    rows: int = 100_000
    columns: int = 10_000
    files: int = 50_000
    depth: int = 64
    sections: int = 100_000
    seconds: float = 10.0
    pdf_seconds: float = 60.0
    pdf_stream_bytes: int = 10_000_000


DEFAULT_LIMITS = ReadingLimits()
