"""How much is read, and who may stop it."""

from collections.abc import Callable
from dataclasses import dataclass

Cancelled = Callable[[], None]
"""Called often while files are listed, read and parsed; raises if the caller gave up."""


def never_cancelled() -> None:
    """For callers who wait to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """What one call may read.

    Attributes:
        file_bytes: Size of a file that holds its text as it is.
        packed_bytes: Size of a PDF or DOCX file, which holds pictures too.
        unpacked_bytes: What a DOCX file may become when unpacked.
        characters: Text of one document.
        rows: Documents of one CSV or JSONL file.
        columns: Columns of a CSV file.
        files: Files of one selection.
        depth: Folders below a folder that was asked for.
        sections: Headings of one document.
        seconds: Time for the texts of one file.
        pdf_seconds: The same for a PDF, whose pages are drawn to find their text.
        pdf_stream_bytes: What one stream of a PDF may become when unpacked; decoding it cannot be interrupted.
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
