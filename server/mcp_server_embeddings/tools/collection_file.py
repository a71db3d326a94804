"""Read and write a collection as one file: a header, then one record per document, as JSON lines or a Parquet table.

Both formats hold the same records and differ in two fields. In JSON lines, metadata is an object and a vector is
base64 of little-endian float32; in Parquet, metadata is JSON text and a vector is a list of float32.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mcp_server_embeddings.errors import ConfigurationError, InputError
from mcp_server_embeddings.store.records import NewDocument, Scalar, Vector, as_json
from mcp_server_embeddings.tools.coercion import MAX_ID

VERSION = 1
"""Version of the format; a reader rejects a higher one."""

DOCUMENTS_PER_BATCH = 256
"""Documents held in memory together, per transaction, and per row group of a Parquet file."""

_FORMAT = "mcp-server-embeddings collection"
_HEADER_KEY = b"mcp-server-embeddings"
"""Key of the header in the metadata of a Parquet file."""

_SUFFIXES = (".jsonl", ".parquet")


class Header(BaseModel):
    """The header before the documents: format version, model and sizes."""

    model_config = ConfigDict(frozen=True)

    format: Literal["mcp-server-embeddings collection"] = "mcp-server-embeddings collection"
    version: int = VERSION
    collection: str
    model: str
    identity: str
    dimensions: int
    documents: int


def _not_blank(value: str) -> str:
    if not value.strip(" \0\t\r\n\f\v"):
        raise ValueError("is blank; every document needs visible characters here")
    return value


def _without_nul(value: str) -> str:
    return value.replace("\0", " ")  # as in collection_add; preserves character offsets


def _vector_bytes(value: object) -> bytes:
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else np.array(value, "<f4").tobytes()
    except TypeError:
        raise ValueError("is not a vector") from None


class ChunkRecord(BaseModel):
    """A chunk of a record; ``vector`` is little-endian float32."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(ge=0)
    stop: int
    heading: str
    vector: Annotated[bytes, BeforeValidator(_vector_bytes)]


class Record(BaseModel):
    """A document as a line or row. In files from other programs, only ``text`` is required."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: Annotated[str, Field(max_length=MAX_ID), AfterValidator(_not_blank)] | None = None
    text: Annotated[str, AfterValidator(_not_blank), AfterValidator(_without_nul)]
    metadata: dict[str, Scalar | list[Scalar]] | None = None
    file: str = ""
    file_digest: str = Field("", pattern="^([0-9a-f]{32})?$")
    chunks: list[ChunkRecord] = Field(default_factory=list)


Records = Iterator[tuple[str, Record]]
"""Records with their positions for error messages, counted from 1: ``line 1`` is the first line of the file."""


def check_suffix(file: Path) -> str:
    """Return the lower-case suffix of a file, which determines the format.

    Raises:
        InputError: It is neither ``.jsonl`` nor ``.parquet``.

    Example:
        >>> check_suffix(Path("notes.JSONL"))
        '.jsonl'
    """
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{str(file)!r} ends in {suffix!r}; allowed: {' or '.join(_SUFFIXES)}")
    return suffix


def pyarrow(module: str = "pyarrow") -> ModuleType:
    """Import pyarrow, an optional dependency; by name, because it has no type annotations.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ConfigurationError(
            "Parquet files need pyarrow, which is not installed: run pip install 'mcp-server-embeddings[parquet]', or "
            "use a .jsonl file"
        ) from None


def write_records(path: Path, suffix: str, header: Header, batches: Iterable[Sequence[NewDocument]]) -> None:
    """Write a file in the format that belongs to a suffix.

    Raises:
        ConfigurationError: The format is Parquet and pyarrow is missing.
        OSError: The file cannot be written.
    """
    (_write_table if suffix == ".parquet" else _write_lines)(path, header, batches)


def read_records(file: Path) -> tuple[Header | None, Records]:
    """Read the header of a file, if it has one, and iterate over its records.

    Raises:
        InputError: The file has another format or a newer version; during iteration: a record is invalid.
        OSError: The file cannot be read.
    """
    return (_read_table if check_suffix(file) == ".parquet" else _read_lines)(file)


def _to_record(document: NewDocument) -> dict[str, object]:
    chunks = [
        {"start": chunk.start, "stop": chunk.stop, "heading": chunk.heading, "vector": chunk.vector.astype("<f4")}
        for chunk in document.chunks
    ]
    return {
        "id": document.id,
        "text": document.text,
        "metadata": document.metadata,
        "file": document.file,
        "file_digest": document.file_digest.hex(),
        "chunks": chunks,
    }


def _write_lines(path: Path, header: Header, batches: Iterable[Sequence[NewDocument]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(header.model_dump_json() + "\n")
        for document in chain.from_iterable(batches):
            file.write(json.dumps(_to_record(document), ensure_ascii=False, default=_encode_vector) + "\n")


def _encode_vector(vector: Vector) -> str:
    return b64encode(vector.tobytes()).decode("ascii")


def _write_table(path: Path, header: Header, batches: Iterable[Sequence[NewDocument]]) -> None:
    arrow = pyarrow()
    vector = arrow.list_(arrow.float32(), header.dimensions)
    chunk = [("start", arrow.int64()), ("stop", arrow.int64()), ("heading", arrow.string()), ("vector", vector)]
    texts = [(name, arrow.string()) for name in ("id", "text", "metadata", "file", "file_digest")]
    metadata = {_HEADER_KEY: header.model_dump_json().encode()}
    schema = arrow.schema([*texts, ("chunks", arrow.list_(arrow.struct(chunk)))], metadata=metadata)
    with pyarrow("pyarrow.parquet").ParquetWriter(path, schema, compression="zstd") as writer:
        for documents in batches:
            rows = [_to_record(document) | {"metadata": as_json(document.metadata or {})} for document in documents]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))


def _read_lines(file: Path) -> tuple[Header | None, Records]:
    lines = _numbered_lines(file)
    first = next(lines, None)
    if first is None:
        raise InputError(f'{str(file)!r} is empty; give a file that export wrote, or lines such as {{"text": "…"}}')
    header = _parse_header(first[1])
    rest = lines if header else chain([first], lines)
    return header, ((f"line {number}", _parse_record(f"line {number}", line)) for number, line in rest)


def _numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            visible = line.removeprefix(b"\xef\xbb\xbf").strip()
            if visible:
                yield number, visible


def _read_table(file: Path) -> tuple[Header | None, Records]:
    try:
        table = pyarrow("pyarrow.parquet").ParquetFile(file)
    except (ValueError, pyarrow().ArrowException):  # ArrowInvalid is a ValueError
        raise _corrupt(file) from None
    header = _parse_header((table.schema_arrow.metadata or {}).get(_HEADER_KEY, b""))
    rows = enumerate(_rows(table, file), 1)
    return header, ((f"row {number}", _parse_record(f"row {number}", row)) for number, row in rows)


def _rows(table: Any, file: Path) -> Iterator[dict[str, object]]:  # noqa: ANN401 - pyarrow has no types
    try:
        for batch in table.iter_batches(DOCUMENTS_PER_BATCH):
            yield from batch.to_pylist()
    except (ValueError, pyarrow().ArrowException):
        raise _corrupt(file) from None


def _corrupt(file: Path) -> InputError:
    return InputError(f"{str(file)!r} is not a Parquet file or is corrupt; export it again")


def _parse_header(raw: bytes) -> Header | None:
    """Parse a header; return None if the bytes are not one.

    Raises:
        InputError: The header has a newer version or is incomplete.
    """
    try:
        parsed = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(parsed, dict) or parsed.get("format") != _FORMAT:
        return None
    try:
        header = Header.model_validate(parsed)
    except ValidationError as error:
        raise InputError(f"invalid header: {_first_error(error)}; export the file again") from None
    if header.version > VERSION:
        raise InputError(
            f"the file has version {header.version} of the format, this program knows {VERSION}; upgrade this program"
        )
    return header


def _parse_record(place: str, raw: bytes | dict[str, object]) -> Record:
    try:
        if isinstance(raw, bytes):
            return Record.model_validate_json(raw)
        metadata = raw.get("metadata")
        if isinstance(metadata, str):
            raw["metadata"] = json.loads(metadata)
        return Record.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{place}: {_first_error(error)}") from None
    except ValueError:
        raise InputError(f"{place}: metadata is not a JSON object") from None


def _first_error(error: ValidationError) -> str:
    """Describe the first error without the invalid value, because messages must not contain texts."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    if path[:1] == ["metadata"] and len(path) > 1:
        return f"metadata.{path[1]} is nested; allowed: text, number, boolean, null, or a list of those"
    return f"{'.'.join(path)} {first['msg'].removeprefix('Value error, ')}".strip()
