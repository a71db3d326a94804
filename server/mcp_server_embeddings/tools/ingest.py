"""From texts to documents with vectors, encoding only what no chunk of the collection has yet."""

import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.reading.document import Document, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.snapshot import is_settled
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

_DOCUMENTS_PER_BATCH = 512
"""Encoded and committed together: enough to keep every stream busy, and little to lose."""

_CHARACTERS_PER_BATCH = 500_000


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document before it has vectors; see ``NewDocument``.

    Attributes:
        id: Unique in the collection.
        text: All of it.
        sections: Its sections; no chunk crosses from one into the next.
        metadata: None leaves a stored document's as it is.
        file: Where it was read; empty for a text that was sent.
        file_digest: Of the whole file's content.
    """

    id: str
    text: str
    sections: tuple[Section, ...]
    metadata: Metadata | None
    file: str = ""
    file_digest: bytes = b""

    def of_unfinished_file(self) -> "SourceDocument":
        """Return the same with the digest of no file: more of its file is to come."""
        return replace(self, file_digest=b"")


class Ingester:
    """Puts documents into one collection.

    Attributes:
        tokens: Tokens encoded so far.
    """

    def __init__(self, embedder: Embedder, target: Collection) -> None:
        self.tokens = 0
        self._embedder = embedder
        self._target = target
        self._limit = chunk_limit(embedder)

    def put(self, documents: Sequence[SourceDocument]) -> PutResult:
        """Cut, encode and commit; on disk when this returns.

        Raises:
            CollectionError: The collection would grow too large.
            OperatorError: The model cannot be used, or the store cannot be written.
            CallCancelledError: The caller cancelled; nothing of these was stored.
        """
        self._embedder.call.raise_if_cancelled()
        distinct = {document.id: document for document in documents}
        same = self._unchanged(list(distinct.values()))
        places = {key: () if key in same else tuple(self._places(document)) for key, document in distinct.items()}
        texts = {
            key: [passage_text(place.heading, document.text[place.start : place.end]) for place in places[key]]
            for key, document in distinct.items()
        }
        vectors = self._vectors([text for parts in texts.values() for text in parts])
        new = [
            NewDocument(
                id=document.id,
                text=document.text,
                metadata=document.metadata,
                chunks=tuple(
                    NewChunk(place.start, place.end, place.heading, vectors[digest(text)])
                    for place, text in zip(places[key], texts[key], strict=True)
                ),
                file=document.file,
                file_digest=document.file_digest,
            )
            for key, document in distinct.items()
            if key not in same or document.file
        ]
        written = self._target.put(new) if new else PutResult()
        # Neither repeats nor what is stored as it is were sent, except to say where files are.
        return replace(written, unchanged=written.unchanged + len(documents) - len(new))

    def _places(self, document: SourceDocument) -> list[Section]:
        return chunk_places(document.text, document.sections, self._counted, self._limit)

    def _counted(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; a long document is counted in many calls, and its caller may give up between."""
        self._embedder.call.raise_if_cancelled()
        return self._embedder.count_tokens(texts)

    def _unchanged(self, documents: Sequence[SourceDocument]) -> set[str]:
        """Ids of documents that are stored as they are."""
        stored = self._target.stored([document.id for document in documents])
        return {
            document.id
            for document in documents
            if document.id in stored
            and stored[document.id].digest == digest(document.text)
            and (document.metadata is None or stored[document.id].metadata == as_json(document.metadata))
        }

    def _vectors(self, texts: Sequence[str]) -> dict[bytes, Vector]:
        """One vector a different text, by its digest."""
        different = {digest(text): text for text in texts}
        vectors = dict(self._target.known_vectors(list(different)))
        missing = {key: text for key, text in different.items() if key not in vectors}
        if missing:
            embedded = self._embedder.embed(list(missing.values()), role="document")
            self.tokens += embedded.tokens
            vectors |= dict(zip(missing, embedded.vectors, strict=True))
        return vectors


class FileIngester:
    """Puts files into a collection, several small ones in one transaction.

    A file with the size and time of change that are stored is not read, one with the stored content not parsed.

    Args:
        ingester: Makes the ingester of the collection when there is something to encode.
        target: The collection.
        metadata: For every document, beside what the files have.
        known: The files of the collection, where they were read already.

    Attributes:
        written: What was done, in documents.
        removed: Documents that the files no longer have.
        skipped: Files that could not be read.
        seen: Paths of all files that were put.
        changed: How many files had another content than is stored.
    """

    def __init__(
        self,
        ingester: Callable[[], Ingester],
        target: Collection,
        metadata: Metadata | None = None,
        known: Mapping[str, StoredFile] | None = None,
    ) -> None:
        self.written = PutResult()
        self.removed = 0
        self.skipped: list[Skipped] = []
        self.seen: set[str] = set()
        self.changed = 0
        self._ingester = functools.cache(ingester)
        self._target = target
        self._metadata: Metadata = metadata or {}
        self._known = target.files() if known is None else known
        self._waiting: list[SourceDocument] = []
        self._states: dict[str, StoredFile] = {}

    def put(self, entries: Iterable[FoundFile | Skipped]) -> None:
        """Read files and commit their documents; what cannot be read is added to ``skipped``."""
        for entry in entries:
            self.seen.add(entry.path)
            if isinstance(entry, Skipped):
                self.skipped.append(entry)
                continue
            known = self._known.get(entry.path)
            if known is not None and is_unchanged(known, entry):
                self.written += PutResult(unchanged=known.documents)
                continue
            try:
                self._read(entry, known)
            except UnreadableError as error:
                self.skipped.append(Skipped(entry.path, error.reason))
        self._flush()

    def _read(self, entry: FoundFile, known: StoredFile | None) -> None:
        content, state = read_file(entry)
        if known is not None and known.digest == state.digest:
            self.written += PutResult(unchanged=known.documents)
            if (known.size, known.changed_ns) != (state.size, state.changed_ns):
                self._states[entry.path] = state
            return
        self._put_file(entry.path, state, entry.documents(content))

    def _put_file(self, path: str, state: StoredFile, documents: Sequence[Document]) -> None:
        self.changed += 1
        sources = [
            SourceDocument(
                id=path + document.suffix,
                text=document.text,
                sections=_under_title(document),
                metadata={**document.metadata, **self._metadata},
                file=path,
                file_digest=state.digest,
            )
            for document in documents
            if document.text.strip()
        ]
        kept = {source.id for source in sources}
        left = [old for old in self._target.ids_of_file(path) if old not in kept] if path in self._known else []
        self.removed += len(self._target.remove(left).ids) if left else 0
        if len(sources) > _DOCUMENTS_PER_BATCH or not sources:
            # Its digest is kept last: after a crash in the middle the file is read again.
            for part in document_batches([source.of_unfinished_file() for source in sources]):
                self.written += self._ingester().put(part)
            self._target.keep_files({path: state})
            return
        self._waiting += sources
        self._states[path] = state
        characters = sum(len(source.text) for source in self._waiting)
        if len(self._waiting) >= _DOCUMENTS_PER_BATCH or characters > _CHARACTERS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self.written += self._ingester().put(self._waiting)
            self._waiting = []
        if self._states:
            self._target.keep_files(self._states)
            self._states = {}


def is_unchanged(known: StoredFile, entry: FoundFile) -> bool:
    """Tell by size and time of change that a file is as it is stored."""
    return (known.size, known.changed_ns) == (entry.size, entry.changed_ns)


def read_file(entry: FoundFile) -> tuple[bytes, StoredFile]:
    """Read a file: its content and what is kept of its state, so that every later change is noticed.

    Raises:
        UnreadableError: It cannot be read.
    """
    now = time.time_ns()
    content = entry.read()
    changed = entry.changed_ns if is_settled(entry.changed_ns, now) else 0
    return content, StoredFile(content_digest(content), entry.size, changed)


def _under_title(document: Document) -> tuple[Section, ...]:
    """Return the sections of a whole file with its title before their headings, unless these begin with it."""
    title = document.metadata.get("title")
    if document.suffix or not isinstance(title, str):
        return document.sections
    named = title.casefold()
    return tuple(
        section
        if (first := section.heading.split(" > ")[0].casefold()) and (first in named or named in first)
        else replace(section, heading=f"{title} > {section.heading}" if section.heading else title)
        for section in document.sections
    )


def content_digest(content: bytes) -> bytes:
    """Return 16 bytes that stand for a file's content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def document_batches(documents: Sequence[SourceDocument]) -> Iterator[list[SourceDocument]]:
    """Split documents into batches that are encoded and committed together."""
    return (list(documents[i : i + _DOCUMENTS_PER_BATCH]) for i in range(0, len(documents), _DOCUMENTS_PER_BATCH))
