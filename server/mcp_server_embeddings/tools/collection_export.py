"""Export a collection with its vectors; ``collection_file`` defines the formats."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.errors import InputError, StorageError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import NewDocument
from mcp_server_embeddings.tools.collection_file import (
    DOCUMENTS_PER_BATCH,
    Header,
    check_suffix,
    pyarrow,
    write_records,
)
from mcp_server_embeddings.tools.collection_reindex import ReportProgress, no_progress
from mcp_server_embeddings.tools.results import Result


class CollectionExported(Result):
    """Result of ``collection_export``; ``model`` is the model of the collection.

    Attributes:
        collection: Name of the collection.
        file: Path of the file.
        size: Number of documents in the file.
        chunks: Number of vectors in the file.
        bytes: Size of the file.
        lost: Number of documents that could not be read.
    """

    collection: str
    file: str
    size: int
    chunks: int
    bytes: int
    lost: int = 0


def collection_export(
    store: CollectionStore,
    collection: str,
    file: Path,
    *,
    overwrite: bool = False,
    salvage: bool = False,
    call: Call | None = None,
    report: ReportProgress = no_progress,
) -> CollectionExported:
    """Write the current state of a collection to a file. No model is needed.

    Args:
        store: The collections.
        collection: Name of the collection.
        file: ``.jsonl``: a header, then one line per document. ``.parquet``: one row per document. The file appears
            only when it is complete.
        overwrite: Replace an existing file.
        salvage: Skip documents of a damaged collection that cannot be read. The import embeds the texts again.
        call: Cancels the export.
        report: Called with the number of documents written and their total.

    Raises:
        InputError: The file has another suffix, or exists already.
        CollectionError: There is no such collection.
        OperatorError: The store cannot be read, the file cannot be written, or pyarrow is missing.
        CallCancelledError: The caller cancelled; no file is left behind.

    Example:
        >>> collection_export(store, "notes", Path("notes.jsonl")).size
        128
    """
    suffix = check_suffix(file)
    if suffix == ".parquet":
        pyarrow()
    if file.exists() and not overwrite:
        raise InputError(f"{str(file)!r} exists; give another name, or --force to overwrite it")
    source = store.open(collection)
    record = source.current()
    header = Header(
        collection=record.name,
        model="" if salvage else record.model,
        identity="" if salvage else record.identity,  # a damaged vector cannot be detected, so the import re-embeds all
        dimensions=record.dimensions,
        documents=record.documents,
    )
    size = chunks = 0

    def counted_batches() -> Iterator[Sequence[NewDocument]]:
        nonlocal size, chunks
        for documents in _batches(source, salvage=salvage):
            (call or Call()).raise_if_cancelled()
            yield documents
            size += len(documents)
            chunks += sum(len(document.chunks) for document in documents)
            report(size, record.documents)

    with _atomic_file(file) as path:
        write_records(path, suffix, header, counted_batches())
    return CollectionExported(
        model=record.model,
        collection=collection,
        file=str(file),
        size=size,
        chunks=chunks,
        bytes=file.stat().st_size,
        lost=record.documents - size,
    )


def _batches(source: Collection, *, salvage: bool) -> Iterator[Sequence[NewDocument]]:
    if salvage:
        readable = source.readable()
        while documents := list(islice(readable, DOCUMENTS_PER_BATCH)):
            yield documents
    else:
        yield from (batch.documents for batch in source.batches(DOCUMENTS_PER_BATCH))


@contextmanager
def _atomic_file(file: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``file`` if the block succeeds, and is removed otherwise."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        raise StorageError(
            f"{str(file)!r} cannot be written ({error.strerror or error}); name a file in a folder that exists, is "
            "writable and has free space"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
