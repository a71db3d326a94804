"""What goes into the store and what comes out."""

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
"""One flat object; a list counts as having each of its values."""

_NAME = re.compile(r"\w[\w.-]{0,63}")
_PAGE = re.compile(r"(?:^| > )page \d+$")
_WORD = re.compile(r"\w+")

_CONTEXT = 120
"""Characters of a heading path that go before a passage at most: about 30 tokens of the 256 of a chunk."""


def check_name(name: str) -> None:
    """Refuse what no collection may be called.

    Raises:
        InputError: It is refused.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"invalid collection name {name[:80]!r}; allowed: 1 to 64 letters, digits, '_', '-' and '.', beginning "
            "with a letter or digit, such as 'notes' or 'handbook-2026'"
        )


def as_json(metadata: Metadata) -> str:
    """Metadata as it is stored: the same object always in the same characters.

    Raises:
        ValueError: A number is infinite or none; JSON has no such.
    """
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def heading_context(heading: str) -> str:
    """Return what of a heading path says what a passage is about: its last names, no page numbers.

    Example:
        >>> heading_context("Manual > Install > page 3")
        'Manual > Install'
    """
    names = _PAGE.sub("", heading).split(" > ")
    while len(names) > 1 and len(" > ".join(names)) > _CONTEXT:
        names.pop(0)
    return " > ".join(names)[:_CONTEXT]


def passage_text(heading: str, text: str) -> str:
    r"""Return what is embedded and indexed of a passage: its heading path, a line feed, and its text.

    A name that is the passage's first line is not repeated.

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
    """One collection as it is stored.

    Attributes:
        key: Its number; never used again for another one.
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
class StoredFile:
    """A file that was read.

    Attributes:
        digest: Of its content; empty while it is not stored as a whole.
        size: Bytes when it was read; -1 where that is not known.
        changed_ns: When it was changed last, nanoseconds since 1970; 0 where that cannot show a later change.
        indexed: When that was noted, seconds since 1970; set by the store.
        documents: How many documents it has; counted by the store.
    """

    digest: bytes
    size: int = -1
    changed_ns: int = 0
    indexed: float = 0.0
    documents: int = 0


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
        key: Its number; grows with every chunk ever stored.
        document: The document's id.
        part: Its position among the document's parts, from 0.
        parts: How many parts the document has.
        start: Where it begins in the document, in characters.
        stop: Where it ends.
        heading: What it stands under; empty where there is no heading.
        text: Its characters.
        metadata: The document's.
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
class Batch:
    """Some documents, and the key of the last: the next batch begins after it."""

    documents: list[NewDocument]
    last: int


@dataclass(frozen=True, slots=True)
class ItemKeys:
    """Documents, in the order in which they came: their keys, ascending, and their ids."""

    keys: list[int]
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The chunks nearest a vector, best first.

    Attributes:
        keys: The chunks.
        cosines: Shape ``(k,)``: theirs, in double precision and rounded to six decimals.
        vectors: Shape ``(k, d)``: theirs, unit rows.
        total: How many chunks were compared.
    """

    keys: list[int]
    cosines: Scores
    vectors: Vectors
    total: int


@dataclass(frozen=True, slots=True)
class WordMatches:
    """The chunks with words of a query, best first.

    Attributes:
        keys: The chunks.
        scores: Shape ``(k,)``: BM25 of each, above 0.
        words: How many different words were looked up.
        asked: How many there are in the query, with those that no chunk has.
        complete: Some chunk has all of them.
    """

    keys: list[int]
    scores: Scores
    words: int
    asked: int
    complete: bool
