"""Reading the user's files, whose faults are told in one sentence each."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

Table = list[tuple[int, list[str]]]
"""The rows of a file that are not blank, each with its line number; cells without white space around them."""


class QualityError(Exception):
    """The measurement cannot be made; the message says what came, what is allowed and what to do."""


def read_text(path: Path) -> str:
    """A whole UTF-8 file, line ends as they are.

    Raises:
        QualityError: It cannot be read, or holds nothing.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise QualityError(f"{path} cannot be read: {error.strerror}; give one that can") from None
    except UnicodeDecodeError as error:
        raise QualityError(f"{path} is not UTF-8 from byte {error.start:,} on; save it as UTF-8") from None
    if not text.strip():
        raise QualityError(f"{path} is empty; give a file with rows")
    return text


def read_csv(path: Path) -> Table:
    """A comma-separated file.

    Raises:
        QualityError: It cannot be read, is empty, or has quotes in wrong places.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise QualityError(
            f"{path} is no csv file at line {reader.line_num}: {error}; put cells with commas, quotes or line breaks "
            "into quotes, and double the quotes inside them"
        ) from None


def read_tsv(path: Path) -> Table:
    """A tab-separated file without quoting.

    Raises:
        QualityError: It cannot be read or is empty.
    """
    lines = enumerate(read_text(path).split("\n"), 1)
    return [(number, [cell.strip() for cell in line.split("\t")]) for number, line in lines if line.strip()]


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Line number and object of each line that is not blank.

    Raises:
        QualityError: It cannot be read, is empty, or a line is no JSON object.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise QualityError(f"line {number} of {path} is no JSON object; put one object on each line")
        yield number, entry
