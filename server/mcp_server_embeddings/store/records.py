"""What goes into the store and what comes out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.vectors.scores import Vectors

Vector = NDArray[np.float32]
"""Shape ``(d,)``."""

Scalar = str | int | float | bool | None
Metadata = Mapping[str, Scalar | Sequence[Scalar]]
"""One flat object; a list counts as having each of its values."""


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """One collection as the file has it.

    Attributes:
        row: Its number in the file.
        name: What callers call it.
        model: The model identity, short.
        identity: The model identity's digest.
        dimensions: Length of its vectors.
        revision: Grows with every change.
        removals: Grows with every change that removed chunks.
        documents: Texts and files in it.
        chunks: Vectors in it.
        bytes: About how much texts and vectors take on disk.
        updated: Seconds since 1970 of the last change.
    """

    row: int
    name: str
    model: str
    identity: str
    dimensions: int
    revision: int
    removals: int
    documents: int
    chunks: int
    bytes: int
    updated: float


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A part of a document on its way into the store: characters ``start`` to ``stop``, and their vector."""

    start: int
    stop: int
    heading: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A text on its way into the store.

    Attributes:
        id: Unique in the collection; a document with this id is replaced.
        text: All of it.
        metadata: What ``where`` filters by; None leaves a stored document's as it is.
        chunks: Its parts in order.
        file: The file it was read from; empty for a text that was sent.
        file_digest: Of that file's content.
    """

    id: str
    text: str
    metadata: Metadata | None
    chunks: tuple[NewChunk, ...]
    file: str = ""
    file_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document without its text: enough to see whether it changed."""

    id: str
    digest: bytes
    metadata: str
    file: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored part of a document.

    Attributes:
        row: Its number in the file; grows with every chunk ever stored.
        document: The document's id.
        part: Its position among the document's parts, from 0.
        parts: How many parts the document has.
        start: Where it begins in the document, in characters.
        stop: Where it ends.
        heading: What it stands under; empty where there is no heading.
        text: Its characters.
        metadata: The document's.
    """

    row: int
    document: str
    part: int
    parts: int
    start: int
    stop: int
    heading: str
    text: str
    metadata: Mapping[str, Scalar | list[Scalar]]

    @property
    def id(self) -> str:
        """The document's id, with ``#2`` for the second of several parts."""
        return self.document if self.parts == 1 else f"{self.document}#{self.part + 1}"


@dataclass(frozen=True, slots=True)
class PutResult:
    """What one write did, in documents."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: "PutResult") -> "PutResult":
        return PutResult(self.added + other.added, self.updated + other.updated, self.unchanged + other.unchanged)


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """What a removal did: ids of the documents that were there, and how many documents are left."""

    ids: list[str]
    left: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The vectors of a collection at one revision.

    Attributes:
        rows: Shape ``(n,)``, int64, ascending: the chunks.
        vectors: Shape ``(n, d)``, float32, unit rows.
        alive: Shape ``(n,)``: False where the chunk was removed meanwhile.
    """

    rows: NDArray[np.int64]
    vectors: Vectors
    alive: NDArray[np.bool_]
