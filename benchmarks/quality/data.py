"""Reading the user's files, whose faults are told in one sentence each."""

import csv
import io
from pathlib import Path

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import read_text

Table = list[tuple[int, list[str]]]
"""The rows of a file that are not blank, each with its line number; cells without white space around them."""


def read_csv(path: Path) -> Table:
    """A comma-separated file.

    Raises:
        InputError: It cannot be read, is empty, or has quotes in wrong places.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise InputError(
            f"{path} is no csv file at line {reader.line_num}: {error}; put cells with commas, quotes or line breaks "
            "into quotes, and double the quotes inside them"
        ) from None
