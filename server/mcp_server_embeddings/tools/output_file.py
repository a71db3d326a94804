"""Files that tools write for their caller: result tables as CSV, JSON lines or Parquet, under a bare file name."""

import codecs
import csv
import filecmp
import json
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, takewhile
from pathlib import Path
from typing import IO

from mcp_server_embeddings.errors import InputError, StorageError
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.tools.collection_file import pyarrow
from mcp_server_embeddings.tools.results import OutputFile

TABLE_SUFFIXES = (".csv", ".jsonl", ".parquet")

_MAX_NAME = 100
_MAX_NAME_BYTES = 240
"""File systems allow 255 bytes; the rest is for the number in a name such as ``labelled-2.csv``."""

_FORBIDDEN = frozenset('/\\:*?"<>|')
"""Path separators, and characters that Windows forbids in file names."""

_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")})
"""Names reserved for devices on Windows, with any extension."""


def output_path(folder: Path, name: str, suffixes: Sequence[str] = TABLE_SUFFIXES) -> Path:
    """Return the path of a file to write; if the name is taken, the next free one, such as ``labelled-2.csv``.

    Args:
        folder: The output folder; it need not exist.
        name: A bare file name of at most 100 characters that ends in one of the suffixes, in any letter case.
        suffixes: The allowed suffixes, in lower case.

    Raises:
        InputError: The name is not allowed.

    Example:
        >>> output_path(Path("/data/output"), "labelled.csv")
        PosixPath('/data/output/labelled.csv')
    """
    if problem := _problem(name, suffixes):
        raise InputError(
            f"save_as={name[:_MAX_NAME]!r} {problem}; pass a bare file name that ends in {' or '.join(suffixes)}, "
            f"such as 'result{suffixes[0]}'"
        )
    return next(path for path in _candidates(folder / name) if not os.path.lexists(path))


def renamed(asked: str, path: str) -> list[str]:
    """Return a note if a file was written under another name than requested."""
    name = Path(path).name
    return [] if name == asked else [f"{asked} existed and was kept; the result is in {name}"]


def written_once(path: Path, asked: Path) -> Path:
    """Return the file that holds a result: remove a new file if an older one has the same content.

    So a call that is repeated, for example after a crash, leaves one file.

    Args:
        path: The file just written, from ``output_path``.
        asked: The requested path.
    """
    for older in takewhile(lambda candidate: candidate != path, _candidates(asked)):
        if older.is_file() and not older.is_symlink() and filecmp.cmp(older, path, shallow=False):
            path.unlink()
            return older
    return path


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a private file that appears only after the block has succeeded and never overwrites another.

    Args:
        path: Path from ``output_path``.

    Raises:
        InputError: A file of that name appeared meanwhile.
        StorageError: The file cannot be written; nothing is left behind.
    """
    try:
        with atomic_write(path, overwrite=False) as file:
            yield file
    except OSError as error:
        if isinstance(error, FileExistsError) and path.parent.is_dir():
            raise InputError(f"save_as: {str(path)!r} appeared meanwhile; send the call again") from None
        raise StorageError(
            f"{str(path)!r} cannot be written ({error.strerror or error}): free space in that folder and make it "
            "writable, or start the server with another --output-dir"
        ) from error


def write_table(folder: Path, name: str, columns: Mapping[str, Sequence[Cell]]) -> OutputFile:
    """Write a table as a new file; see ``output_path``.

    Values are kept, except those that a format cannot express: in CSV, None becomes an empty cell and booleans
    ``true`` and ``false``; non-finite numbers become None; U+FFFD replaces NUL and unpaired surrogates; a Parquet
    column of mixed types becomes strings.

    CSV cells that begin with ``=``, ``+``, ``-`` or ``@`` are written unchanged, so that programs read the original
    values. Spreadsheet programs may show these cells as formulas; they ask before they run one that reaches outside.

    Args:
        folder: The output folder; created if missing.
        name: A bare file name ending in ``.csv``, ``.jsonl`` or ``.parquet``.
        columns: Columns of equal length, by name; the one called ``id`` becomes the first.

    Raises:
        InputError: The name is not allowed.
        ConfigurationError: Parquet was requested, and pyarrow is missing.
        StorageError: The file cannot be written.
    """
    path = output_path(folder, name)
    names = ["id", *(column for column in columns if column != "id")]
    table = {clean(column): [_writable(cell) for cell in columns[column]] for column in names}
    if len(table) < len(columns) or len({len(cells) for cells in table.values()}) > 1:
        raise ValueError("columns must have different names and one length")
    write = {".csv": _write_csv, ".jsonl": _write_lines, ".parquet": _write_parquet}[path.suffix.lower()]
    with new_file(path) as file:
        write(file, table)
    path = written_once(path, folder / name)
    return OutputFile(path=str(path.absolute()), rows=len(table["id"]), columns=list(table))


def _problem(name: str, suffixes: Sequence[str]) -> str:
    """Return what is wrong with a file name, or ``""``."""
    if len(name) > _MAX_NAME or len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
        return f"is longer than {_MAX_NAME} characters or {_MAX_NAME_BYTES} bytes"
    if not name.lower().endswith(tuple(suffixes)):
        return "has another ending"
    if found := next((char for char in name if char in _FORBIDDEN or unicodedata.category(char).startswith("C")), ""):
        return f"contains {found!r}"
    if name.startswith((".", " ", "~", "-")):
        return f"begins with {name[0]!r}"
    if name.split(".")[0].rstrip().casefold() in _DEVICES:
        return "is the name of a device on Windows"
    return ""


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _writable(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return clean(cell)
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _rows(table: Mapping[str, list[Cell]]) -> Iterator[tuple[Cell, ...]]:
    return zip(*table.values(), strict=True)


def _write_csv(file: IO[bytes], table: Mapping[str, list[Cell]]) -> None:
    text = codecs.getwriter("utf-8")(file)
    # With this line terminator the writer quotes values that contain CR or LF. All names are quoted, so that one with a
    # semicolon is not taken for several.
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(table)
    csv.writer(text, lineterminator="\r\n").writerows(map(_csv_cell, row) for row in _rows(table))


def _csv_cell(cell: Cell) -> Cell:
    return str(cell).lower() if isinstance(cell, bool) else cell


def _write_lines(file: IO[bytes], table: Mapping[str, list[Cell]]) -> None:
    for row in _rows(table):
        file.write(json.dumps(dict(zip(table, row, strict=True)), ensure_ascii=False).encode() + b"\n")


def _write_parquet(file: IO[bytes], table: Mapping[str, list[Cell]]) -> None:
    arrow = pyarrow()
    arrays = []
    for cells in table.values():
        try:
            arrays.append(arrow.array(cells))
        except (arrow.ArrowException, ValueError, TypeError, OverflowError):  # mixed types, or over 64 bits
            arrays.append(arrow.array([cell if cell is None else str(_csv_cell(cell)) for cell in cells]))
    columns = arrow.table(arrays, names=list(table))
    pyarrow("pyarrow.parquet").write_table(columns, file, compression="zstd")
