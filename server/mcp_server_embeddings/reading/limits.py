"""Limits and cancellation of reading."""

from collections.abc import Callable
from dataclasses import dataclass

Cancelled = Callable[[], None]
"""Called frequently while files are listed, read and parsed; raises if the caller cancelled."""


def never_cancelled() -> None:
    """Do nothing; for callers that never cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLimits:
    """Upper bounds of one call.

    Attributes:
        file_bytes: Size of a file, excluding packed formats.
        packed_bytes: Size of a PDF, DOCX, XLSX or Parquet file.
        unpacked_bytes: Unpacked size of a DOCX or XLSX file, or of one column of a Parquet file.
        characters: Characters of one document.
        total_characters: Total characters of the texts of one table.
        rows: Rows, or documents, of one table file.
        columns: Columns of a table file.
        cells: Rows times columns of a table that is held in memory.
        files: Files of one selection.
        depth: Levels of folders below a requested folder.
        sections: Headings of one document.
        seconds: Time to parse one file.
        pdf_seconds: Time to parse one PDF, whose pages are interpreted to find their text.
        memory_bytes: Address space of a process that parses a file.
        answer_bytes: Size of the answer of such a process.
    """

    file_bytes: int = 20_000_000
    packed_bytes: int = 100_000_000
    unpacked_bytes: int = 100_000_000
    characters: int = 5_000_000
    total_characters: int = 500_000_000
    rows: int = 100_000
    columns: int = 10_000
    cells: int = 50_000_000
    files: int = 50_000
    depth: int = 64
    sections: int = 100_000
    seconds: float = 10.0
    pdf_seconds: float = 60.0
    memory_bytes: int = 2_000_000_000
    answer_bytes: int = 300_000_000


DEFAULT_LIMITS = ReadingLimits()

TABLE_LIMITS = ReadingLimits(
    file_bytes=200_000_000, unpacked_bytes=300_000_000, rows=1_000_000, seconds=60.0, memory_bytes=4_000_000_000
)
"""For a table whose rows are the texts of one call: only the cells of its rows are kept."""
