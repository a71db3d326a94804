"""The data that a store takes and returns."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.vectors.scores import Scores, Vectors

Vector = NDArray[np.float32]
"""Shape ``(d,)``."""

Scalar = str | int | float | bool | None
Metadata = Mapping[str, Scalar | Sequence[Scalar]]
"""One flat object; a list fits a condition if any of its values does."""

_NAME = re.compile(r"\w[\w.-]{0,63}")
_PAGE = re.compile(r"(?:^| > )page \d+$")
_WORD = re.compile(r"\w+")

_CONTEXT = 120
"""Maximum characters of the heading path before a passage: about 30 tokens of the 256 of a chunk."""


def check_name(name: str) -> None:
    """Refuse an invalid collection name.

    Raises:
        InputError: The name is invalid.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"invalid collection name {name[:80]!r}; allowed: 1 to 64 letters, digits, '_', '-' and '.', beginning "
            "with a letter or digit, such as 'notes' or 'handbook-2026'"
        )


def as_json(metadata: Metadata) -> str:
    """Serialise metadata for storage: equal objects always give the same characters.

    Raises:
        ValueError: A number is infinite or NaN, which JSON does not have.
    """
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def digest(text: str) -> bytes:
    """Return the 16-byte digest of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def heading_context(heading: str) -> str:
    """Return the part of a heading path that describes a passage: the last names, without page numbers.

    Example:
        >>> heading_context("Manual > Install > page 3")
        'Manual > Install'
    """
    names = _PAGE.sub("", heading).split(" > ")
    while len(names) > 1 and len(" > ".join(names)) > _CONTEXT:
        names.pop(0)
    return " > ".join(names)[:_CONTEXT]


def passage_text(heading: str, text: str) -> str:
    r"""Return the text that is embedded and indexed for a passage: its heading path, a line feed, and its own text.

    A heading that is also the first line of the passage is not repeated.

    Example:
        >>> passage_text("Install > Linux", "## Linux\n\nUse apt.")
        'Install\n## Linux\n\nUse apt.'
    """
    context = heading_context(heading)
    path, _, name = context.rpartition(" > ")
    if name and _words(name) == _words(text.lstrip().partition("\n")[0][: 2 * _CONTEXT]):
        context = path
    return f"{context}\n{text}" if context else text


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """The stored description of a collection.

    Attributes:
        key: Its number; never reused for another collection.
        name: The name that callers use.
        model: Short form of the model identity.
        identity: Digest of the model identity.
        dimensions: Length of its vectors.
        revision: Grows with every change.
        removals: Grows with every change that removes chunks.
        documents: Number of texts and files.
        chunks: Number of vectors.
        bytes: Approximate size of texts and vectors on disk.
        updated: Time of the last change, in seconds since 1970.
    """

    key: int
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
    """A part of a document to store: characters ``start`` to ``stop``, and their vector."""

    start: int
    stop: int
    heading: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to store.

    Attributes:
        id: Unique in the collection; a stored document with this id is replaced.
        text: The whole text.
        metadata: Values that ``where`` filters by; None keeps the metadata of a stored document.
        chunks: Its parts in order.
        file: The file it was read from; empty for a text that was sent.
        file_digest: Digest of that file's content.
    """

    id: str
    text: str
    metadata: Metadata | None
    chunks: tuple[NewChunk, ...]
    file: str = ""
    file_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was read.

    Attributes:
        digest: Digest of its content; empty until the whole file is stored.
        size: Bytes when it was read; -1 if unknown.
        changed_ns: Time of its last change, in nanoseconds since 1970; 0 if that time cannot reveal a later change.
        indexed: Time when this state was recorded, in seconds since 1970; set by the store.
        documents: Number of its documents; counted by the store.
    """

    digest: bytes
    size: int = -1
    changed_ns: int = 0
    indexed: float = 0.0
    documents: int = 0


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A stored document without its text: enough to see whether it changed."""

    id: str
    digest: bytes
    metadata: str
    file: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored part of a document.

    Attributes:
        key: Its number; higher than that of every chunk stored before.
        document: Id of the document.
        part: Its position among the document's parts, from 0.
        parts: Number of parts of the document.
        start: Where it begins in the document, in characters.
        stop: Where it ends.
        heading: The heading path above it; empty without headings.
        text: Its text.
        metadata: Metadata of the document.
    """

    key: int
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
    """Outcome of a write, in documents."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0

    def __add__(self, other: "PutResult") -> "PutResult":
        return PutResult(self.added + other.added, self.updated + other.updated, self.unchanged + other.unchanged)


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """Outcome of a removal: ids of the removed documents, and the number of documents left."""

    ids: list[str]
    left: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents, and the key of the last one: the next batch begins after it."""

    documents: list[NewDocument]
    last: int


@dataclass(frozen=True, slots=True)
class ItemKeys:
    """Documents in order of insertion: their keys, ascending, and their ids."""

    keys: list[int]
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The chunks nearest a vector, best first.

    Attributes:
        keys: Keys of the chunks.
        cosines: Shape ``(k,)``: their cosines, computed in double precision and rounded to six decimals.
        vectors: Shape ``(k, d)``: their vectors, unit rows.
        total: Number of chunks compared.
    """

    keys: list[int]
    cosines: Scores
    vectors: Vectors
    total: int


@dataclass(frozen=True, slots=True)
class WordMatches:
    """The chunks that have words of a query, best first.

    Attributes:
        keys: Keys of the chunks.
        scores: Shape ``(k,)``: their BM25 scores, above 0.
        words: Number of different query words that were looked up.
        query_words: Number of different words in the query, including those that no chunk has.
        complete: Whether some chunk has all of them.
    """

    keys: list[int]
    scores: Scores
    words: int
    query_words: int
    complete: bool
