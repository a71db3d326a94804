"""Parquet: a table whose columns are read on request."""

import json
import math
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from mcp_server_embeddings.reading.cells import Cell, Cells
from mcp_server_embeddings.reading.decoding import clean
from mcp_server_embeddings.reading.document import Parsing, UnreadableError

if TYPE_CHECKING:
    from pyarrow import Array
    from pyarrow.parquet import ParquetFile

_BATCH = 65_536
"""Number of rows that are decoded together."""


def parquet_cells(content: bytes, parsing: Parsing) -> Cells:
    """Read the schema now and each column on request.

    Numbers, booleans and strings keep their type; decimals become floats, dates and times ISO 8601 strings, binary
    values strings (decoded as UTF-8), lists and structs JSON, non-finite numbers None.

    Raises:
        UnreadableError: It is too large, or pyarrow is missing; also raised when a column is read.
    """
    arrow, parquet = _pyarrow("pyarrow"), _pyarrow("pyarrow.parquet")
    schema = parquet.read_schema(arrow.BufferReader(content))
    # Read as dictionaries, so that a long string that many rows share is in memory only once.
    texts = [field.name for field in schema if field.type in {arrow.string(), arrow.large_string()}]
    file = parquet.ParquetFile(arrow.BufferReader(content), read_dictionary=texts)
    names = [clean(name) for name in schema.names]
    parsing.check_columns(len(names))
    parsing.check_rows(file.metadata.num_rows)

    def column(index: int) -> list[Cell]:
        return [cell for array in _arrays(file, index, parsing) for cell in _cells(array)]

    return Cells(names, file.metadata.num_rows, column)


def _pyarrow(module: str) -> ModuleType:
    """Import a module of pyarrow, an optional dependency; by name, since pyarrow has no type annotations."""
    try:
        return import_module(module)
    except ImportError:
        raise UnreadableError(
            "Parquet files need pyarrow, which is not installed: run pip install 'mcp-server-embeddings[parquet]', or "
            "save the table as CSV or JSONL"
        ) from None


def _arrays(file: "ParquetFile", index: int, parsing: Parsing) -> Iterator["Array"]:
    """Read a column in batches, after checking that their declared total size is allowed.

    Raises:
        UnreadableError: It is too large.
    """
    metadata, name = file.metadata, file.schema_arrow.names[index]
    earlier = file.schema_arrow.names[:index].count(name)  # number of earlier columns with the same name
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    chunks = [group.column(leaf) for group in groups for leaf in range(group.num_columns)]
    chunks = [chunk for chunk in chunks if chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.")]
    parsing.check_unpacked(sum(chunk.total_uncompressed_size for chunk in chunks))
    unpacked = 0
    for batch in file.iter_batches(_BATCH, columns=[name], use_threads=False):
        array = batch.column([at for at, batch_name in enumerate(batch.schema.names) if batch_name == name][earlier])
        unpacked += array.nbytes  # the declared sizes may be wrong
        parsing.check_unpacked(unpacked)
        array.validate(full=True)
        yield array


def _cells(array: "Array") -> list[Cell]:
    from pyarrow import timestamp, types

    kind = array.type
    if types.is_dictionary(kind):
        distinct = _cells(array.dictionary)
        return [None if index is None else distinct[index] for index in array.indices.to_pylist()]
    if types.is_timestamp(kind) and kind.unit == "ns":  # datetime has a resolution of microseconds
        array = array.cast(timestamp("us", kind.tz), safe=False)
    values: list[Cell] = array.to_pylist()
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_null(kind):
        return values
    return [_cell(value) for value in values]


def _cell(value: object) -> Cell:
    match value:
        case None:
            return None
        case str():
            return clean(value)
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return _cell(float(value))
        case bytes():
            return clean(value.decode("utf-8", "replace"))
        case date() | time():
            return value.isoformat()
        case list() | dict():
            return clean(json.dumps(value, ensure_ascii=False, default=str))
        case _:
            return clean(str(value))
