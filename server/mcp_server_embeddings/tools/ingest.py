"""Turn texts into stored documents with vectors; chunk texts that the collection already has are not encoded again."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from itertools import islice

from mcp_server_embeddings.engine.embedder import Embedder, Embeddings
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import (
    Metadata,
    NewChunk,
    NewDocument,
    PutResult,
    StoredFile,
    Vector,
    as_json,
    digest,
    passage_text,
)
from mcp_server_embeddings.tools.chunking import chunk_limit, chunk_places

DOCUMENTS_PER_BATCH = 512
"""Documents committed together: enough to make transactions cheap, few enough that a crash loses little work."""

CHARACTERS_PER_BATCH = 500_000

_TOKEN_LENGTH = 4
"""Approximate number of characters in a token."""

_MIN_IN_PROGRESS, _MAX_IN_PROGRESS = 3, 32
"""Bounds of the number of batches in progress, each with a thread: at least three, so that one is committed while
another is encoded and a third is cut."""


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document before it has vectors; see ``NewDocument``.

    Attributes:
        id: Unique in the collection.
        text: The whole text.
        sections: Sections of the text; no chunk crosses a section boundary.
        metadata: Metadata to store; None keeps the stored metadata.
        file: Path of the file that it was read from; empty for a text sent by the caller.
        file_digest: Digest of the whole file's content.
    """

    id: str
    text: str
    sections: tuple[Section, ...]
    metadata: Metadata | None
    file: str = ""
    file_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents that are committed together, and the files, by path, that are complete once these are stored."""

    documents: Sequence[SourceDocument]
    files: Mapping[str, StoredFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _CutBatch:
    """The documents of a batch, cut into chunks.

    Attributes:
        sent: Number of documents in the batch, including repeated ids.
        documents: The documents by id, the last one of each id.
        unchanged: Ids of documents that are already stored in this form.
        places: Positions of the chunks of every other document, by id.
        texts: Texts of these chunks, by id.
        vectors: Vectors of the texts that the collection already has, by digest.
        missing: Texts to encode, by digest.
    """

    sent: int
    documents: Mapping[str, SourceDocument]
    unchanged: frozenset[str]
    places: Mapping[str, Sequence[Section]]
    texts: Mapping[str, Sequence[str]]
    vectors: Mapping[bytes, Vector]
    missing: Mapping[bytes, str]


@dataclass(frozen=True, slots=True)
class _PendingBatch:
    """A batch whose texts are being encoded."""

    files: Mapping[str, StoredFile]
    cut: _CutBatch
    encoded: "Future[Embeddings | None]"


def _has_enough(pending: Sequence[_PendingBatch], characters: int) -> bool:
    """Return whether the batches after the next one to commit have enough characters, within the bounds on batches."""
    if not _MIN_IN_PROGRESS <= len(pending) < _MAX_IN_PROGRESS:
        return len(pending) >= _MAX_IN_PROGRESS
    return sum(sum(map(len, batch.cut.missing.values())) for batch in islice(pending, 1, None)) >= characters


class Ingester:
    """Puts documents into one collection."""

    def __init__(self, embedder: Embedder, target: Collection) -> None:
        self._embedder = embedder
        self._target = target
        self._limit = chunk_limit(embedder)

    def put(self, documents: Sequence[SourceDocument]) -> PutResult:
        """Cut, encode and commit documents; they are on disk when this returns.

        Raises:
            CollectionError: The collection would grow too large.
            OperatorError: The model cannot be used, or the store cannot be written.
            CallCancelledError: The caller cancelled; none of the documents was stored.
        """
        cut = self._cut(documents)
        return self._commit(cut, self._encode(cut))

    def put_all(self, batches: Iterable[Batch]) -> Iterator[PutResult]:
        """Put batches in order, as a pipeline: some are encoded while others are read, cut or committed.

        Enough batches are in progress to keep the encoder busy. Batches after one that fails are not stored.

        Yields:
            The counts of each batch, once it is on disk.

        Raises:
            EmbeddingsError: See ``put``; batches whose counts were yielded stay stored.
        """
        enough = _TOKEN_LENGTH * self._embedder.tokens_at_once()
        pending = deque[_PendingBatch]()
        with ThreadPoolExecutor(_MAX_IN_PROGRESS, thread_name_prefix="ingest") as threads:
            try:
                for batch in batches:
                    ids = {document.id for document in batch.documents}
                    while _has_enough(pending, enough) or any(not ids.isdisjoint(one.cut.documents) for one in pending):
                        yield self._finish(pending.popleft())
                    cut = self._cut(batch.documents)
                    # Run in the caller's context, which determines the session that log lines go to.
                    encoded = threads.submit(copy_context().run, self._encode, cut)
                    pending.append(_PendingBatch(batch.files, cut, encoded))
                while pending:
                    yield self._finish(pending.popleft())
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def _finish(self, batch: _PendingBatch) -> PutResult:
        result = self._commit(batch.cut, batch.encoded.result())
        if batch.files:
            self._target.keep_files(batch.files)
        return result

    def _cut(self, documents: Sequence[SourceDocument]) -> _CutBatch:
        self._embedder.call.raise_if_cancelled()
        distinct = {document.id: document for document in documents}
        unchanged = self._unchanged(list(distinct.values()))
        places = {
            key: [] if key in unchanged else chunk_places(document.text, document.sections, self._count, self._limit)
            for key, document in distinct.items()
        }
        texts = {
            key: [passage_text(place.heading, document.text[place.start : place.end]) for place in places[key]]
            for key, document in distinct.items()
        }
        different = {digest(text): text for parts in texts.values() for text in parts}
        vectors = dict(self._target.known_vectors(list(different)))
        missing = {key: text for key, text in different.items() if key not in vectors}
        return _CutBatch(len(documents), distinct, frozenset(unchanged), places, texts, vectors, missing)

    def _encode(self, cut: _CutBatch) -> Embeddings | None:
        return self._embedder.embed(list(cut.missing.values()), role="document") if cut.missing else None

    def _commit(self, cut: _CutBatch, encoded: Embeddings | None) -> PutResult:
        vectors = dict(cut.vectors)
        if encoded is not None:
            vectors |= zip(cut.missing, encoded.vectors, strict=True)
        new = [
            NewDocument(
                id=document.id,
                text=document.text,
                metadata=document.metadata,
                chunks=tuple(
                    NewChunk(place.start, place.end, place.heading, vectors[digest(text)])
                    for place, text in zip(cut.places[key], cut.texts[key], strict=True)
                ),
                file=document.file,
                file_digest=document.file_digest,
            )
            for key, document in cut.documents.items()
            if key not in cut.unchanged or document.file
        ]
        result = self._target.put(new) if new else PutResult()
        # Repeats and unchanged documents were not put, except those of files, whose paths may have changed.
        return replace(result, unchanged=result.unchanged + cut.sent - len(new))

    def _count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text; between the many calls for a long document the caller may cancel."""
        self._embedder.call.raise_if_cancelled()
        return self._embedder.count_tokens(texts)

    def _unchanged(self, documents: Sequence[SourceDocument]) -> set[str]:
        """Return the ids of documents that are already stored with the same text and metadata."""
        stored = self._target.stored([document.id for document in documents])
        return {
            document.id
            for document in documents
            if document.id in stored
            and stored[document.id].digest == digest(document.text)
            and (document.metadata is None or stored[document.id].metadata == as_json(document.metadata))
        }


def document_batches(documents: Sequence[SourceDocument]) -> Iterator[Batch]:
    """Split documents into batches that are committed together."""
    return (Batch(documents[i : i + DOCUMENTS_PER_BATCH]) for i in range(0, len(documents), DOCUMENTS_PER_BATCH))
