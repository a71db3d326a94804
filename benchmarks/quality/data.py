"""Read the user's files; errors are one sentence each."""

import csv
import io
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import read_text

Table = list[tuple[int, list[str]]]
"""Rows of a file that are not blank, each with its line number; cells are stripped."""


def read_csv(path: Path) -> Table:
    """Read a comma-separated file.

    Raises:
        InputError: The file cannot be read, is empty, or has misplaced quotes.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(
            f"{path} is no csv file at line {reader.line_num}: {error}; put cells with commas, quotes or line breaks "
            "into quotes, and double the quotes inside them"
        ) from None
