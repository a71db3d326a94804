"""The interface of a store. Each implementation provides these two protocols; ``open_store`` chooses one.

Stores are thread-safe, and several processes may share one: each sees the acknowledged writes of the others, which
survive a crash. Keys are integers whose only meaning is their order: a later chunk has a higher one.
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
    """Confirm: the default for removals that cannot be cancelled."""


class Collection(Protocol):
    """A stored set of texts with their vectors.

    Every method raises ``StorageError`` if the store cannot be read or written. Methods that write do everything or
    nothing, in one transaction. Methods that write or search raise ``CollectionError`` if the collection was removed
    meanwhile.

    Attributes:
        record: The record at the time of opening; ``key``, ``name``, ``identity`` and ``dimensions`` never change.
    """

    record: CollectionRecord

    @property
    def name(self) -> str:
        """The name that callers use."""
        return self.record.name

    def current(self) -> CollectionRecord:
        """Return the current record."""

    def reading(self) -> AbstractContextManager["Collection"]:
        """Yield the same collection for reading: all reads inside the block see one state."""

    def read(self, function: Callable[["Collection"], T]) -> T:
        """Call a function inside ``reading`` and return its result; it is called again if the connection was lost."""
        with self.reading() as view:
            return function(view)

    def nearest(self, vectors: Vectors, k: int, where: Where | None = None) -> list[Nearest]:
        """Return the chunks with the highest cosines to each vector, compared in single precision, ties by key.

        Args:
            vectors: Shape ``(n, d)``.
            k: Maximum number of chunks for each vector.
            where: Only chunks of documents whose metadata fits.

        Raises:
            InputError: ``where`` is invalid.
        """

    def cosines(self, keys: Sequence[int], vector: Vector) -> Scores:
        """Return the cosines of chunks with a vector, computed as in ``Nearest``."""

    def matching(self, words: str, k: int, where: Where | None = None) -> WordMatches:
        """Return the chunks that have words of a text, by BM25 or similar, ties by key; see ``nearest``."""

    def chunks(self, keys: Sequence[int]) -> list[Chunk]:
        """Return chunks in the order of the keys; those removed meanwhile are left out."""

    def chunks_of(self, document: str) -> list[Chunk]:
        """Return all parts of a document, or the one part that an id such as ``notes.md#2`` names; empty if unknown."""

    def text_of(self, document: str) -> str | None:
        """Return the text of a document, or of one part as in ``chunks_of``; None if unknown."""

    def first(self, limit: int) -> list[Chunk]:
        """Return the first chunks, in order of insertion."""

    def vectors(self, keys: Sequence[int]) -> Vectors:
        """Return the vectors of chunks as the model produced them, shape ``(n, d)``.

        Raises:
            CollectionError: A chunk was removed meanwhile.
        """

    def known_vectors(self, digests: Sequence[bytes]) -> dict[bytes, Vector]:
        """Return the vectors of texts that some chunk already has, by digest of the text."""

    def stored(self, ids: Sequence[str]) -> dict[str, StoredDocument]:
        """Return the stored state of documents, by id."""

    def items(self, where: Where | None = None) -> ItemKeys:
        """Return the keys and ids of all documents, in order of insertion.

        Args:
            where: Only documents whose metadata fits.

        Raises:
            InputError: ``where`` is invalid.
        """

    def id_range(self, where: Where | None = None) -> tuple[str, str] | None:
        """Return the first and the last document id in the order of code points; None if there are no documents.

        Args:
            where: Only documents whose metadata fits.

        Raises:
            InputError: ``where`` is invalid.
        """

    def documents_of(self, keys: Sequence[int]) -> list[str]:
        """Return the ids of the documents that chunks belong to."""

    def texts_of(self, ids: Sequence[str]) -> list[str]:
        """Return the texts of documents by id.

        Raises:
            CollectionError: A document does not exist.
        """

    def item_texts(self, keys: Sequence[int], length: int | None = None) -> list[str]:
        """Return the texts of documents, or their first ``length`` characters.

        Args:
            keys: Keys from ``items``.
            length: Maximum characters; None for whole texts.

        Raises:
            CollectionError: A document was removed meanwhile.
        """

    def item_vectors(self, keys: Sequence[int]) -> Vectors:
        """Return one unit vector for each document: the mean of its chunks' vectors, weighted by their lengths.

        Args:
            keys: Keys from ``items``.

        Returns:
            Shape ``(n, d)``, float32, unit rows; for a document of one chunk, the vector of that chunk.

        Raises:
            CollectionError: A document was removed meanwhile.
        """

    def item_metadata(self, keys: Sequence[int]) -> list[dict[str, Scalar | list[Scalar]]]:
        """Return the metadata of documents; ``keys`` and errors as for ``item_texts``."""

    def metadata_names(self) -> list[str]:
        """Return the metadata names that occur in any document, sorted."""

    def annotate(self, name: str, values: Mapping[str, Scalar]) -> int:
        """Set or remove one metadata value of documents, and leave everything else unchanged.

        Args:
            name: The metadata name.
            values: New values by document id, None to remove the value; unknown ids are ignored.

        Returns:
            The number of these documents that exist.
        """

    def put(self, documents: Sequence[NewDocument]) -> PutResult:
        """Add documents, or replace those with the same id; durable when this returns.

        A document with the same id and text, and the same or no metadata, stays unchanged; one that the caller has
        already found to be unchanged needs no chunks.

        Raises:
            CollectionError: The collection would grow too large, or a document without chunks is not stored unchanged.
        """

    def remove(self, ids: Sequence[str], confirm: Callable[[], None] = confirmed) -> RemoveResult:
        """Remove documents; unknown ids are ignored.

        Args:
            ids: Document ids.
            confirm: Called last; if it raises, nothing is removed.
        """

    def files(self) -> dict[str, StoredFile]:
        """Return every file that was read, by path."""

    def ids_of_file(self, path: str) -> list[str]:
        """Return the ids of the documents that were read from a file."""

    def keep_files(self, files: Mapping[str, StoredFile]) -> None:
        """Record the state of files by path, so that they are read again only if they change."""

    def forget_files(self, paths: Sequence[str]) -> int:
        """Remove files with their documents, and return the number of documents removed."""

    def sources(self) -> dict[str, str]:
        """Return the sources that the collection is kept up to date from: paths and their read options."""

    def keep_sources(self, sources: Mapping[str, str], forget: Sequence[str] = ()) -> None:
        """Add or update some of ``sources``, and remove others by path."""

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield all documents with their vectors, ``size`` at a time, as of the start of the iteration."""

    def readable(self) -> Iterator[NewDocument]:
        """Yield each document of a damaged store that can still be read; without chunks if those cannot.

        A text whose digest differs from the stored one counts as unreadable.
        """

    def differing(self, copy: "Collection", after: int, size: int) -> Batch:
        """Return the first documents above the key ``after`` that are missing or different in a copy."""

    def surplus(self, copy: "Collection") -> list[str]:
        """Return the ids that a copy has and this collection no longer has."""


class CollectionStore(Protocol):
    """Collections by name. Nothing is opened before the first use.

    Every method raises ``StorageError`` if the store cannot be read or written.
    """

    def version(self) -> int:
        """Return a number that changes when any process changes any collection."""

    def open(self, name: str) -> Collection:
        """Return an existing collection of any model, for uses that need no new vectors.

        Raises:
            CollectionError: There is no collection of that name.
        """

    def open_or_create(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        """Return the collection of that name, created if there is none; arguments as for ``open_for``.

        Raises:
            InputError: The name is invalid.
            CollectionError: The collection holds the vectors of another model.
        """

    def successor(self, name: str, identity: str, model: str, dimensions: int) -> Collection:
        """Return the hidden, unlisted collection that will take the place of another by ``replace``.

        The result of an unfinished earlier attempt is continued, unless it was for another model.
        """

    def open_source(self, key: str, identity: str, model: str, dimensions: int) -> Collection:
        """Return the hidden, unlisted collection that stores the items of files; recreated if the model changed.

        Args:
            key: Identifies the files.
            identity: Digest of the model identity.
            model: Short form of the model identity.
            dimensions: Length of the model's vectors.
        """

    def replace(self, name: str, by: str, unless_changed_since: int) -> bool:
        """Replace one collection by another, in one transaction.

        Args:
            name: The collection to replace.
            by: The existing collection that takes its name and loses its own.
            unless_changed_since: The revision of ``name`` that ``by`` was made from.

        Returns:
            False, with nothing done, if ``name`` has changed since; else True.
        """

    def remove(self, name: str, confirm: Callable[[], None] = confirmed) -> CollectionRecord:
        """Remove a collection and return its last record.

        Args:
            name: Its name.
            confirm: Called last; if it raises, nothing is removed.

        Raises:
            CollectionError: There is no collection of that name.
        """

    def close(self) -> None:
        """Close connections and free memory; both are acquired again when needed."""

    def open_for(self, name: str, identity: str, model: str) -> Collection:
        """Return an existing collection that holds the vectors of a model.

        Args:
            name: Its name.
            identity: Digest of the identity of the model that will be used with it.
            model: Short form of that identity, for the error.

        Raises:
            CollectionError: There is no collection of that name, or it holds the vectors of another model.
        """
        collection = self.open(name)
        if collection.record.identity != identity:
            raise CollectionError(
                f"collection {name!r} holds vectors of the model {collection.record.model}, this server runs {model}; "
                f"their vectors cannot be compared. Run `mcp-server-embeddings reindex {name}` to embed its texts "
                "again, or start the server with the other model"
            )
        return collection

    def record(self, name: str) -> CollectionRecord:
        """Return the record of a collection of any model.

        Raises:
            CollectionError: There is no collection of that name.
        """
        records = {record.name: record for record in self.list()}
        if name not in records:
            known = nearest(name, records) if records else "there is none yet; collection_add makes one"
            raise CollectionError(f"there is no collection {name!r}; {known}")
        return records[name]

    def list(self) -> list[CollectionRecord]:
        """Return the records of all collections, by name."""
