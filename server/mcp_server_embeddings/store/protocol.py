"""What the program knows of a store. A second one implements these two protocols; ``open_store`` chooses.

Stores are thread-safe, and several processes may share one: each sees what the others acknowledged. What was
acknowledged survives a crash. Keys are integers that mean nothing but order: a later chunk has a higher one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.records import (
    Batch,
    Chunk,
    CollectionRecord,
    ItemKeys,
    Nearest,
    NewDocument,
    PutResult,
    RemoveResult,
    Scalar,
    StoredDocument,
    StoredFile,
    Vector,
    WordMatches,
)
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.vectors.scores import Scores, Vectors

T = TypeVar("T")


def confirmed() -> None:
    """For removals that nobody can cancel."""


class Collection(Protocol):
    """A stored set of texts with their vectors.

    Every method raises ``StorageError`` where the store cannot be read or written. Those that write do all or nothing
    in one transaction; like those that search they raise ``CollectionError`` if the collection was removed meanwhile.

    Attributes:
        record: As it was when it was opened; ``key``, ``name``, ``identity`` and ``dimensions`` never change.
    """

    record: CollectionRecord

    @property
    def name(self) -> str:
        """What callers call it."""
        return self.record.name

    def current(self) -> CollectionRecord:
        """Its record at this moment."""

    def reading(self) -> AbstractContextManager["Collection"]:
        """Give the same collection for reading: all that is read from it in the block sees one state."""

    def read(self, function: Callable[["Collection"], T]) -> T:
        """Return what a function reads inside ``reading``; it is called again if the database was lost meanwhile."""
        with self.reading() as view:
            return function(view)

    def nearest(self, vectors: Vectors, k: int, where: Where | None = None) -> list[Nearest]:
        """Return the chunks with the highest cosines to each vector, compared in single precision, ties by key.

        Args:
            vectors: Shape ``(n, d)``.
            k: How many at most.
            where: Only chunks of documents whose metadata fits.

        Raises:
            InputError: ``where`` is refused.
        """

    def cosines(self, keys: Sequence[int], vector: Vector) -> Scores:
        """Return the cosines of chunks with a vector, as in ``Nearest``."""

    def matching(self, words: str, k: int, where: Where | None = None) -> WordMatches:
        """Return the chunks with words of a text, by BM25 or the like, ties by key; see ``nearest``."""

    def chunks(self, keys: Sequence[int]) -> list[Chunk]:
        """Chunks in the order asked for; those removed meanwhile are left out."""

    def chunks_of(self, document: str) -> list[Chunk]:
        """All parts of a document, or the one part that an id such as ``notes.md#2`` names; empty without such."""

    def text_of(self, document: str) -> str | None:
        """Return the text of a document, or of one part as in ``chunks_of``; None without such."""

    def first(self, limit: int) -> list[Chunk]:
        """Return the first chunks, in the order in which they came."""

    def vectors(self, keys: Sequence[int]) -> Vectors:
        """Vectors as the model gave them, shape ``(n, d)``.

        Raises:
            CollectionError: One was removed meanwhile.
        """

    def known_vectors(self, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        """Vectors of texts that some chunk already has, by the texts' digests."""

    def stored(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return what is known of documents, by id."""

    def items(self, where: Where | None = None) -> ItemKeys:
        """Return the keys and ids of all documents, in the order in which they came.

        Args:
            where: Only documents whose metadata fits.

        Raises:
            InputError: ``where`` is refused.
        """

    def id_range(self, where: Where | None = None) -> tuple[str, str] | None:
        """Return the first and the last id of documents in the order of code points; None where there are none.

        Args:
            where: Only documents whose metadata fits.

        Raises:
            InputError: ``where`` is refused.
        """

    def documents_of(self, keys: Sequence[int]) -> list[str]:
        """Return the ids of the documents of chunks."""

    def texts_of(self, ids: Sequence[str]) -> list[str]:
        """Return the texts of documents by id.

        Raises:
            CollectionError: One is not there.
        """

    def item_texts(self, keys: Sequence[int], length: int | None = None) -> list[str]:
        """Return the texts of documents, or their first ``length`` characters.

        Args:
            keys: Of ``items``.
            length: Characters at most; None for whole texts.

        Raises:
            CollectionError: One was removed meanwhile.
        """

    def item_vectors(self, keys: Sequence[int]) -> Vectors:
        """Return one unit vector for each document: the mean of its chunks', weighted by their lengths.

        Args:
            keys: Of ``items``.

        Returns:
            Shape ``(n, d)``, float32, unit rows; of a document of one chunk that chunk's.

        Raises:
            CollectionError: One was removed meanwhile.
        """

    def item_metadata(self, keys: Sequence[int]) -> list[dict[str, Scalar | list[Scalar]]]:
        """Return the metadata of documents; ``keys`` and errors as for ``item_texts``."""

    def metadata_names(self) -> list[str]:
        """Return the names that some document's metadata has, sorted."""

    def annotate(self, name: str, values: Mapping[str, Scalar]) -> int:
        """Set or remove one metadata value of documents; everything else of them stays.

        Args:
            name: Of the metadata.
            values: By document id, None to remove it; ids that are not there are passed over.

        Returns:
            How many of these documents were there.
        """

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        """Add documents, or replace those with the same id; durable when this returns.

        A document with the same id and text, and the same metadata or none given, stays as it is; one that was seen to
        be so before needs no chunks.

        Raises:
            CollectionError: It would grow too large, or a document without chunks is not there.
        """

    def remove(self, ids: Sequence[str], confirm: Callable[[], None] = confirmed) -> RemoveResult:
        """Remove documents; ids that are not there are passed over.

        Args:
            ids: Of documents.
            confirm: Called last; where it raises, nothing is removed.
        """

    def files(self) -> dict[str, StoredFile]:
        """Every file that was read, by path."""

    def ids_of_file(self, path: str) -> list[str]:
        """Return the documents that were read from a file."""

    def keep_files(self, files: Mapping[str, StoredFile]) -> None:
        """Note the state of files, by path: they are not read again unless they change."""

    def forget_files(self, paths: Sequence[str]) -> int:
        """Remove files with their documents; how many documents that were."""

    def sources(self) -> dict[str, str]:
        """Return what the collection is kept up to date from: paths, and how they are read."""

    def keep_sources(self, sources: Mapping[str, str], forget: Sequence[str] = ()) -> None:
        """Note some of ``sources``, and drop others by path."""

    def batches(self, size: int) -> Iterator[Batch]:
        """All documents with their vectors, ``size`` at a time, as they were when iteration began."""

    def readable(self) -> Iterator[NewDocument]:
        """All documents that can still be read where the store is damaged, each alone; without chunks if those cannot.

        A text that is not the one that was stored, by its digest, counts as one that cannot be read.
        """

    def differing(self, copy: "Collection", after: int, size: int) -> Batch:
        """Return the first documents above the key ``after`` that a copy of this collection lacks or has otherwise."""

    def surplus(self, copy: "Collection") -> list[str]:
        """Ids that a copy of this collection has and this one has no longer."""


class CollectionStore(Protocol):
    """Collections by name. Nothing is opened before the first use.

    Every method raises ``StorageError`` where the store cannot be read or written.
    """

    def version(self) -> int:
        """Return a number that changes when any process changed any collection."""

    def open(self, name: str) -> Collection:
        """Return an existing collection whatever its model: for what needs no new vectors.

        Raises:
            CollectionError: There is none.
        """

    def open_or_create(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        """Return the collection of that name, created now if there is none; arguments as for ``open_for``.

        Raises:
            InputError: It cannot be called so.
            CollectionError: It holds another model's vectors.
        """

    def successor(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        """Return the hidden collection that is to take the place of another by ``replace``; listed nowhere.

        What an earlier, unfinished attempt left is gone on with, unless it was for another model.
        """

    def open_source(self, key: str, identity: str, model: str, dimensions: int) -> Collection:
        """Return the hidden collection that keeps the items of files, created anew for another model; listed nowhere.

        Args:
            key: Stands for the files.
            identity: Digest of the identity of the model.
            model: That identity, short.
            dimensions: Length of its vectors.
        """

    def replace(self, name: str, by: str, unless_changed_since: int) -> bool:
        """Put one collection in the place of another, in one transaction.

        Args:
            name: What is replaced.
            by: What takes its name; exists, and is gone under its own name afterwards.
            unless_changed_since: The revision of ``name`` that ``by`` was made from.

        Returns:
            False, with nothing done, where ``name`` has changed since.
        """

    def remove(self, name: str, confirm: Callable[[], None] = confirmed) -> CollectionRecord:
        """Remove a collection; its last record.

        Args:
            name: Its name.
            confirm: Called last; where it raises, nothing is removed.

        Raises:
            CollectionError: There is none.
        """

    def close(self) -> None:
        """Let go of what is open and in memory; both come back on need."""

    def open_for(self, name: str, identity: str, model: str) -> Collection:
        """Return an existing collection with the vectors of a model.

        Args:
            name: Its name.
            identity: Digest of the identity of the model that will be used with it.
            model: That identity, short, for the error.

        Raises:
            CollectionError: There is none, or it holds another model's vectors.
        """
        collection = self.open(name)
        if collection.record.identity != identity:
            raise CollectionError(
                f"collection {name!r} holds vectors of the model {collection.record.model}, this server runs {model}; "
                f"their vectors cannot be compared. Run `mcp-server-embeddings reindex {name}` to embed its texts "
                "anew, or start the server with the other model"
            )
        return collection

    def record(self, name: str) -> CollectionRecord:
        """Return the record of a collection, whatever its model.

        Raises:
            CollectionError: There is none.
        """
        records = {record.name: record for record in self.list()}
        if name not in records:
            known = nearest(name, records) if records else "there is none yet; collection_add makes one"
            raise CollectionError(f"there is no collection {name!r}; {known}")
        return records[name]

    def list(self) -> list[CollectionRecord]:
        """Return the records of all collections, by name."""
