"""A collection's texts under another model."""

from collections.abc import Callable
from itertools import groupby

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.collection import Collection
from mcp_server_embeddings.store.records import NewDocument
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument
from mcp_server_embeddings.tools.results import Result, Usage

Told = Callable[[int, int], None]
"""Told how many documents are done, of how many."""

_AT_ONCE = 256
"""Documents encoded and committed together."""

_PASSES = 100
"""Each takes over what changed during the one before; a collection that still changes then is written to all the
time, faster than it can be followed."""


class CollectionReindexed(Result):
    """Result of ``collection_reindex``.

    Attributes:
        collection: Its name.
        reindexed: False where its vectors were this model's already.
        before: The model whose vectors it had.
        documents: How many were encoded by this call.
        size: Documents in it.
        chunks: Vectors in it.
    """

    collection: str
    reindexed: bool
    before: str
    documents: int
    size: int
    chunks: int


def untold(done: int, total: int) -> None:
    """Nobody watches."""
    del done, total


def collection_reindex(embedder: Embedder, store: Store, collection: str, told: Told = untold) -> CollectionReindexed:
    """Embed all texts of a collection with this model, and put the result in its place when it is complete.

    Until then every process finds the collection as it was; what they add, change or remove meanwhile is taken over.
    Work is committed every 256 documents: a cancelled or killed call leaves the collection as it was, and the same call
    again goes on from there.

    Args:
        embedder: The engine with the new model.
        store: The collections.
        collection: Its name.
        told: Hears how far it is.

    Raises:
        CollectionError: There is none, it was removed meanwhile, or it changes faster than it is encoded.
        OperatorError: The model cannot be used, or the store cannot be written.
        CallCancelledError: The caller cancelled.
    """
    source = store.opened(collection)
    identity = embedder.identity()
    before = source.record
    copied = tokens = 0
    if before.identity != identity.digest:
        target = store.successor(collection, identity.digest, identity.short, identity.dimensions)
        copying = _Copying(embedder, source, target, told)
        for _ in range(_PASSES):
            revision = source.now().revision
            copying.catch_up()
            if store.replace(collection, target.name, revision):
                break
        else:
            raise CollectionError(
                f"collection {collection!r} changes faster than it can be embedded anew; end what writes to it and "
                "send the call again: what is embedded already is kept"
            )
        copied, tokens = copying.documents, copying.tokens
    now = store.record(collection)
    return CollectionReindexed(
        model=identity.short,
        usage=Usage.counted(copied, tokens),
        collection=collection,
        reindexed=before.identity != identity.digest,
        before=before.model,
        documents=copied,
        size=now.documents,
        chunks=now.chunks,
    )


class _Copying:
    """Makes a hidden collection what another one is, under this model.

    Attributes:
        documents: Encoded so far.
    """

    def __init__(self, embedder: Embedder, source: Collection, target: Collection, told: Told) -> None:
        self.documents = 0
        self._source = source
        self._target = target
        self._told = told
        self._drafting = Ingester(embedder, target)

    @property
    def tokens(self) -> int:
        """Tokens encoded so far."""
        return self._drafting.tokens

    def catch_up(self) -> None:
        """Take over what differs now; of what comes meanwhile only some, so that a pass ends."""
        surplus = self._source.surplus(self._target)
        if surplus:
            self._target.remove(surplus)
        last = 0
        for _ in range(self._source.now().documents // _AT_ONCE + 1):
            batch = self._source.differing(self._target, last, _AT_ONCE)
            if not batch.documents:
                break
            last = batch.last
            # RemoveResult first: of a document with the same text a put would keep what else it had before.
            self._target.remove([document.id for document in batch.documents])
            self._drafting.put([draft_of(document) for document in batch.documents])
            self.documents += len(batch.documents)
            self._told(self._target.now().documents, self._source.now().documents)
        files = self._source.files()
        self._target.forget_files([path for path in self._target.files() if path not in files])
        self._target.keep_files(files)


def draft_of(document: NewDocument) -> SourceDocument:
    """A stored document to be cut and encoded anew. Its sections are the runs of chunks under one heading."""
    runs = [list(run) for _, run in groupby(document.chunks, key=lambda chunk: chunk.heading)]
    return SourceDocument(
        id=document.id,
        text=document.text,
        sections=tuple(Section(run[0].start, run[-1].stop, run[0].heading) for run in runs),
        metadata=document.metadata,
        file=document.file,
        file_digest=document.file_digest,
    )
