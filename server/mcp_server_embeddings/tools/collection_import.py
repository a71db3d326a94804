"""Import texts and their vectors from a file; ``collection_file`` defines the formats."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.private import is_database
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import NewChunk, NewDocument, PutResult, StoredFile, as_json, digest
from mcp_server_embeddings.tools.collection_add import MAX_METADATA
from mcp_server_embeddings.tools.collection_file import (
    DOCUMENTS_PER_BATCH,
    ChunkRecord,
    Header,
    Record,
    Records,
    read_records,
)
from mcp_server_embeddings.tools.collection_reindex import ReportProgress, no_progress, source_document
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument
from mcp_server_embeddings.tools.results import Result

_CHARACTERS_PER_BATCH = 500_000


class CollectionImported(Result):
    """Result of ``collection_import``.

    Attributes:
        collection: Name of the collection.
        added: Number of new documents.
        updated: Number of replaced documents.
        unchanged: Number of documents that were already stored.
        vectors: ``taken over`` from the file, or ``embedded`` because the file has no vectors of this model.
        file_model: The model of the file's vectors; empty if it has none.
        size: Number of documents in the collection now.
        chunks: Number of vectors in the collection now.
    """

    collection: str
    added: int
    updated: int
    unchanged: int
    vectors: Literal["taken over", "embedded"]
    file_model: str
    size: int
    chunks: int


def collection_import(
    embedder: Embedder, store: CollectionStore, collection: str, file: Path, report: ReportProgress = no_progress
) -> CollectionImported:
    """Add the documents of a file to a collection, which is created if it does not exist.

    Documents of the collection that are not in the file remain. Every 256 documents form a transaction.

    Args:
        embedder: The engine.
        store: The collections.
        collection: Name of the collection.
        file: A file from ``collection_export``, whose vectors are used if they are of this model; or records without a
            header: ``{"text": …}`` with optional ``id`` and ``metadata``.
        report: Called with the number of documents stored and their total (0: unknown).

    Raises:
        InputError: The file cannot be read, or a record is invalid; the records before it are stored.
        CollectionError: The collection has vectors of another model, or would grow too large.
        OperatorError: The model or the store cannot be used, or pyarrow is missing.
        CallCancelledError: The caller cancelled.

    Example:
        >>> collection_import(embedder, store, "notes", Path("notes.jsonl")).added
        128
    """
    try:
        if is_database(file.stat()):  # also through a link: opening and closing it would release SQLite's locks
            raise InputError(f"{str(file)!r} is a database of this program; give a file that export wrote")
        header, records = read_records(file)
        identity = embedder.identity()
        target = store.open_or_create(collection, identity.digest, identity.short, identity.dimensions)
        keep_vectors = header is not None and header.identity == identity.digest
        importer = _Importer(Ingester(embedder, target), target, header, keep_vectors, report)
        importer.run(records, embedder.call)
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read ({error.strerror or error}); name a readable file") from None
    current, written = target.current(), importer.written
    return CollectionImported(
        model=identity.short,
        collection=collection,
        added=written.added,
        updated=written.updated,
        unchanged=written.unchanged,
        vectors="taken over" if keep_vectors else "embedded",
        file_model=header.model if header else "",
        size=current.documents,
        chunks=current.chunks,
    )


class _Importer:
    """Stores records in a collection, many per transaction.

    Attributes:
        done: Number of documents stored so far.
        written: Numbers of documents added, updated and unchanged so far.
    """

    def __init__(
        self, ingester: Ingester, target: Collection, header: Header | None, keep_vectors: bool, report: ReportProgress
    ) -> None:
        self._ingester = ingester
        self.done = 0
        self.written = PutResult()
        self._target = target
        self._header = header
        self._keep_vectors = keep_vectors
        self._report = report
        self._with_vectors: list[NewDocument] = []
        self._to_embed: list[SourceDocument] = []
        self._characters = 0
        self._files: dict[str, StoredFile] = {}

    def run(self, records: Records, call: Call) -> None:
        try:
            for position, record in records:
                call.raise_if_cancelled()
                self._add(position, record)
        except InputError as error:
            self._flush()
            raise InputError(
                f"{error}; the {self.done:,} documents before it are stored: correct it and import the file again"
            ) from None
        self._flush()
        # Last, so that after a crash in the middle a file of many documents is read again.
        self._target.keep_files(self._files)

    def _add(self, position: str, record: Record) -> None:
        if record.file:
            self._files[record.file] = StoredFile(bytes.fromhex(record.file_digest))
        document = NewDocument(
            id=record.id or digest(record.text).hex()[:16],
            text=record.text,
            metadata=record.metadata,
            chunks=tuple(self._chunk(position, record, chunk) for chunk in record.chunks),
            file=record.file,
        )
        if self._header is None and len(as_json(record.metadata or {})) > MAX_METADATA:
            raise InputError(f"{position}: metadata is longer than {MAX_METADATA:,} characters as JSON; shorten it")
        if document.chunks and self._keep_vectors:
            self._with_vectors.append(document)
        else:
            source, whole = source_document(document), (Section(0, len(record.text), ""),)
            self._to_embed.append(source if source.sections else replace(source, sections=whole))
        self._characters += len(record.text)
        documents = len(self._with_vectors) + len(self._to_embed)
        if documents >= DOCUMENTS_PER_BATCH or self._characters > _CHARACTERS_PER_BATCH:
            self._flush()

    def _chunk(self, position: str, record: Record, chunk: ChunkRecord) -> NewChunk:
        vector = np.frombuffer(chunk.vector[: len(chunk.vector) // 4 * 4], dtype="<f4")
        dimensions = self._header.dimensions if self._header else len(vector)
        if 4 * dimensions != len(chunk.vector) or not np.isfinite(vector).all():
            raise InputError(f"{position}: a vector is not {dimensions} finite float32 numbers; export the file again")
        if not chunk.start < chunk.stop <= len(record.text):
            raise InputError(f"{position}: a chunk goes from {chunk.start} to {chunk.stop}, outside its text")
        return NewChunk(chunk.start, chunk.stop, chunk.heading, vector)

    def _flush(self) -> None:
        if self._with_vectors:
            self.written += self._target.put(self._with_vectors)
        if self._to_embed:
            self.written += self._ingester.put(self._to_embed)
        self.done += len(self._with_vectors) + len(self._to_embed)
        self._with_vectors, self._to_embed, self._characters = [], [], 0
        self._report(self.done, self._header.documents if self._header else 0)
