"""Re-embed a collection with another model."""

from collections.abc import Callable
from itertools import groupby

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import NewDocument
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument
from mcp_server_embeddings.tools.results import Result

ReportProgress = Callable[[int, int], None]
"""Called with the number of documents done and their total."""

_DOCUMENTS_PER_BATCH = 256
"""Documents encoded and committed together."""

_MAX_PASSES = 100
"""Maximum passes. Each copies the changes made during the previous one; if more are needed, copying cannot keep up."""


class CollectionReindexed(Result):
    """Result of ``collection_reindex``.

    Attributes:
        collection: Name of the collection.
        reindexed: False if its vectors were already of this model.
        before: The model of its previous vectors.
        documents: Number of documents encoded by this call.
        size: Number of documents in the collection.
        chunks: Number of vectors in the collection.
    """

    collection: str
    reindexed: bool
    before: str
    documents: int
    size: int
    chunks: int


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""
    del done, total


def collection_reindex(
    embedder: Embedder, store: CollectionStore, collection: str, report: ReportProgress = no_progress
) -> CollectionReindexed:
    """Embed all texts of a collection with this model, and replace the collection once that is complete.

    Until then, all processes use the collection as it was; their additions, changes and removals are copied too.
    Every 256 documents form a transaction: a cancelled or killed call leaves the collection as it was, and repeating
    the call continues from the last transaction.

    Args:
        embedder: The engine with the new model.
        store: The collections.
        collection: Name of the collection.
        report: Called with the number of documents done and their total.

    Raises:
        CollectionError: There is no such collection, it was removed during the call, or it changes faster than it can
            be encoded.
        OperatorError: The model cannot be used, or the store cannot be written.
        CallCancelledError: The caller cancelled.

    Example:
        >>> collection_reindex(embedder, store, "notes").before
        'all-MiniLM-L6-v2@6b4a9394'
    """
    source = store.open(collection)
    identity = embedder.identity()
    before = source.record
    reindexed = before.identity != identity.digest
    copied = 0
    if reindexed:
        target = store.successor(collection, identity.digest, identity.short, identity.dimensions)
        copier = _Copier(embedder, source, target, report)
        for _ in range(_MAX_PASSES):
            revision = source.current().revision
            copier.catch_up()
            if store.replace(collection, target.name, revision):
                break
        else:
            raise CollectionError(
                f"collection {collection!r} changes faster than it can be embedded; stop the programs that write to "
                "it and repeat the call, which keeps the texts embedded so far"
            )
        copied = copier.documents
    current = store.record(collection)
    return CollectionReindexed(
        model=identity.short,
        collection=collection,
        reindexed=reindexed,
        before=before.model,
        documents=copied,
        size=current.documents,
        chunks=current.chunks,
    )


class _Copier:
    """Copies a collection into a hidden one with vectors of this model.

    Attributes:
        documents: Number of documents encoded so far.
    """

    def __init__(self, embedder: Embedder, source: Collection, target: Collection, report: ReportProgress) -> None:
        self.documents = 0
        self._source = source
        self._target = target
        self._report = report
        self._ingester = Ingester(embedder, target)

    def catch_up(self) -> None:
        """Copy the current differences. The number of batches is bounded, so a pass ends despite concurrent changes."""
        surplus = self._source.surplus(self._target)
        if surplus:
            self._target.remove(surplus)
        last = 0
        for _ in range(self._source.current().documents // _DOCUMENTS_PER_BATCH + 1):
            batch = self._source.differing(self._target, last, _DOCUMENTS_PER_BATCH)
            if not batch.documents:
                break
            last = batch.last
            # Remove first, because put keeps the file and metadata of a stored document with the same text.
            self._target.remove([document.id for document in batch.documents])
            self._ingester.put([source_document(document) for document in batch.documents])
            self.documents += len(batch.documents)
            self._report(self._target.current().documents, self._source.current().documents)
        files = self._source.files()
        self._target.forget_files([path for path in self._target.files() if path not in files])
        self._target.keep_files(files)


def source_document(document: NewDocument) -> SourceDocument:
    """Convert a stored document to one to chunk and encode; consecutive chunks with the same heading form a section."""
    runs = [list(run) for _, run in groupby(document.chunks, key=lambda chunk: chunk.heading)]
    return SourceDocument(
        id=document.id,
        text=document.text,
        sections=tuple(Section(run[0].start, run[-1].stop, run[0].heading) for run in runs),
        metadata=document.metadata,
        file=document.file,
        file_digest=document.file_digest,
    )
