"""A collection into one file, with its vectors. The format is read by ``collection_import``."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.errors import ConfigurationError, InputError, StorageError
from mcp_server_embeddings.store.records import CollectionRecord, NewDocument
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.store.writing import as_json
from mcp_server_embeddings.tools.collection_reindex import Told, untold
from mcp_server_embeddings.tools.results import Result, Usage

FORMAT = "mcp-server-embeddings collection"
VERSION = 1
"""Of the format; a reader refuses a higher one."""

HEADER_KEY = b"mcp-server-embeddings"
"""Under this a Parquet file's metadata has the header."""

SUFFIXES = (".jsonl", ".parquet")

_AT_ONCE = 256
"""Documents in memory together, and in one row group of a Parquet file."""


class Header(BaseModel):
    """What stands before the documents: which model the vectors are of."""

    model_config = ConfigDict(frozen=True)

    format: Literal["mcp-server-embeddings collection"]
    version: int
    collection: str
    model: str
    identity: str
    dimensions: int
    documents: int


class CollectionExported(Result):
    """Result of ``collection_export``; ``model`` is the collection's.

    Attributes:
        collection: Its name.
        file: Where it is now.
        size: Documents in it.
        chunks: Vectors in it.
        bytes: Size of the file.
    """

    collection: str
    file: str
    size: int
    chunks: int
    bytes: int


class _Writer(Protocol):
    def write(self, documents: Sequence[NewDocument]) -> None: ...

    def close(self) -> None: ...


def collection_export(
    store: Store,
    collection: str,
    file: Path,
    *,
    overwrite: bool = False,
    call: Call | None = None,
    told: Told = untold,
) -> CollectionExported:
    """Write a collection as it is at this moment. No model is needed.

    Args:
        store: The collections.
        collection: Its name.
        file: ``.jsonl``: a header, then one line a document. ``.parquet``: one row a document. Appears when it is
            complete.
        overwrite: Replace a file that is there.
        call: Cancels it.
        told: Hears how many documents are written.

    Raises:
        InputError: The file's name ends otherwise, or it is there.
        CollectionError: There is no such collection.
        OperatorError: The store cannot be read, or the file cannot be written, or pyarrow is missing.
        CallCancelledError: The caller cancelled; no file is left.
    """
    if check_suffix(file) == ".parquet":
        pyarrow()
    if file.exists() and not overwrite:
        raise InputError(f"{str(file)!r} exists; give another name, or --force to overwrite it")
    source = store.opened(collection)
    size = chunks = 0
    with _appearing(file) as path, closing(_writer(path, file.suffix.lower(), source.now())) as writer:
        for batch in source.batches(_AT_ONCE):
            (call or Call()).raise_if_cancelled()
            writer.write(batch.documents)
            size += len(batch.documents)
            chunks += sum(len(document.chunks) for document in batch.documents)
            told(size, source.record.documents)
    return CollectionExported(
        model=source.record.model,
        usage=Usage.counted(),
        collection=collection,
        file=str(file),
        size=size,
        chunks=chunks,
        bytes=file.stat().st_size,
    )


def check_suffix(file: Path) -> str:
    """The ending of the name, which decides the format.

    Raises:
        InputError: It is another.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{str(file)!r} ends in {suffix!r}; allowed: {' or '.join(SUFFIXES)}")
    return suffix


def pyarrow(module: str = "pyarrow") -> ModuleType:
    """pyarrow, which only those install who want Parquet. Imported by name, since it has no types.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ConfigurationError(
            "Parquet files need pyarrow, which is not installed: run pip install 'mcp-server-embeddings[parquet]', or "
            "use a .jsonl file"
        ) from None


@contextmanager
def _appearing(file: Path) -> Iterator[Path]:
    """A name beside the file; what is written there takes the file's name if all goes well, and is gone otherwise."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        beside.replace(file)
    except OSError as error:
        raise StorageError(
            f"{str(file)!r} cannot be written ({error.strerror or error}); name a file in a folder that exists, is "
            "writable and has room"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def _writer(path: Path, suffix: str, record: CollectionRecord) -> _Writer:
    header = Header(
        format="mcp-server-embeddings collection",
        version=VERSION,
        collection=record.name,
        model=record.model,
        identity=record.identity,
        dimensions=record.dimensions,
        documents=record.documents,
    )
    return _Parquet(path, header) if suffix == ".parquet" else _Lines(path, header)


class _Lines:
    """JSON lines: the header, then one document a line."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._file.write(header.model_dump_json() + "\n")

    def write(self, documents: Sequence[NewDocument]) -> None:
        self._file.writelines(json.dumps(_line(document), ensure_ascii=False) + "\n" for document in documents)

    def close(self) -> None:
        self._file.close()


def _line(document: NewDocument) -> dict[str, object]:
    return {
        "id": document.id,
        "text": document.text,
        "metadata": document.metadata,
        "file": document.file,
        "file_digest": document.file_digest.hex(),
        "chunks": [
            {
                "start": chunk.start,
                "stop": chunk.stop,
                "heading": chunk.heading,
                "vector": b64encode(chunk.vector.astype("<f4").tobytes()).decode("ascii"),
            }
            for chunk in document.chunks
        ],
    }


class _Parquet:
    """One row a document; its chunks are a list of structures, each with its vector as a list of numbers."""

    def __init__(self, path: Path, header: Header) -> None:
        self._arrow = pyarrow()
        self._schema = self._arrow.schema(
            [
                *((name, self._arrow.string()) for name in ("id", "text", "metadata", "file", "file_digest")),
                ("chunks", self._arrow.list_(self._arrow.struct(self._chunk_fields(header.dimensions)))),
            ],
            metadata={HEADER_KEY: header.model_dump_json().encode()},
        )
        self._writer = pyarrow("pyarrow.parquet").ParquetWriter(path, self._schema, compression="zstd")

    def _chunk_fields(self, dimensions: int) -> list[tuple[str, object]]:
        arrow = self._arrow
        vector = arrow.list_(arrow.float32(), dimensions)
        return [("start", arrow.int64()), ("stop", arrow.int64()), ("heading", arrow.string()), ("vector", vector)]

    def write(self, documents: Sequence[NewDocument]) -> None:
        rows = [
            {
                "id": document.id,
                "text": document.text,
                "metadata": as_json(document.metadata or {}),
                "file": document.file,
                "file_digest": document.file_digest.hex(),
                "chunks": [
                    {"start": chunk.start, "stop": chunk.stop, "heading": chunk.heading, "vector": chunk.vector}
                    for chunk in document.chunks
                ],
            }
            for document in documents
        ]
        self._writer.write_table(self._arrow.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
