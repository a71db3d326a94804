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
        files: Files of one selection.
        depth: Folders below a folder that was asked for.
        pdf_seconds: Time for the text of one PDF.
    """

    file_bytes: int = 20_000_000
    packed_bytes: int = 100_000_000
    unpacked_bytes: int = 100_000_000
    characters: int = 5_000_000
    rows: int = 100_000
    files: int = 50_000
    depth: int = 64
    pdf_seconds: float = 60.0


DEFAULT_LIMITS = ReadingLimits()
