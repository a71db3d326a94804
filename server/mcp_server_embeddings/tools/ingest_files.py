"""Turn files into documents of a collection, reading only changed files."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from mcp_server_embeddings.reading.document import Document, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.snapshot import is_settled
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Metadata, PutResult, StoredFile
from mcp_server_embeddings.tools.ingest import (
    CHARACTERS_PER_BATCH,
    DOCUMENTS_PER_BATCH,
    Batch,
    Ingester,
    SourceDocument,
    document_batches,
)


class FileIngester:
    """Puts files into a collection, several small ones in one transaction.

    A file whose size and modification time equal the stored ones is not read, and one whose content equals the stored
    content is not parsed.

    Args:
        ingester: Returns an ingester for the collection; called only when there are documents to put.
        target: The collection.
        metadata: Metadata for every document, in addition to that of the files.
        known: The files of the collection, if the caller has read them already.

    Attributes:
        written: Counts of the documents written.
        removed: Number of documents removed because their file no longer contains them.
        skipped: Files that could not be read.
        seen: Paths of all files that were put.
        changed: Number of files whose content differed from the stored content.
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
        self._ingester = ingester
        self._target = target
        self._metadata: Metadata = metadata or {}
        self._known = target.files() if known is None else known
        self._waiting: list[SourceDocument] = []
        self._states: dict[str, StoredFile] = {}

    def put(self, entries: Iterable[FoundFile | Skipped]) -> None:
        """Read files and commit their documents; files that cannot be read are added to ``skipped``."""
        batches = self._batches(entries)
        first = next(batches, None)
        if first is not None:
            for written in self._ingester().put_all(chain([first], batches)):
                self.written += written
        if self._states:
            self._target.keep_files(self._states)
            self._states = {}

    def _batches(self, entries: Iterable[FoundFile | Skipped]) -> Iterator[Batch]:
        """Read files one after another and yield their documents in batches, small files together."""
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
                yield from self._read(entry, known)
            except UnreadableError as error:
                self.skipped.append(Skipped(entry.path, error.reason))
        if self._waiting:
            yield self._take_waiting()

    def _read(self, entry: FoundFile, known: StoredFile | None) -> Iterator[Batch]:
        content, state = read_file(entry)
        if known is not None and known.digest == state.digest:
            self.written += PutResult(unchanged=known.documents)
            if (known.size, known.changed_ns) != (state.size, state.changed_ns):
                self._states[entry.path] = state
            return
        yield from self._put_file(entry.path, state, entry.documents(content))

    def _put_file(self, path: str, state: StoredFile, documents: Sequence[Document]) -> Iterator[Batch]:
        self.changed += 1
        sources = [
            SourceDocument(
                id=path + document.suffix,
                text=document.text,
                sections=_with_title(document),
                metadata={**document.metadata, **self._metadata},
                file=path,
                file_digest=state.digest,
            )
            for document in documents
            if document.text.strip()
        ]
        ids = {source.id for source in sources}
        removed = [old for old in self._target.ids_of_file(path) if old not in ids] if path in self._known else []
        self.removed += len(self._target.remove(removed).ids) if removed else 0
        if len(sources) > DOCUMENTS_PER_BATCH:
            # The digest is stored last, so that after a crash in the middle the file is read again.
            *parts, last = document_batches([replace(source, file_digest=b"") for source in sources])
            yield from parts
            yield replace(last, files={path: state})
            return
        self._waiting += sources
        self._states[path] = state
        characters = sum(len(source.text) for source in self._waiting)
        if len(self._waiting) >= DOCUMENTS_PER_BATCH or characters > CHARACTERS_PER_BATCH:
            yield self._take_waiting()

    def _take_waiting(self) -> Batch:
        batch = Batch(self._waiting, self._states)
        self._waiting, self._states = [], {}
        return batch


def is_unchanged(known: StoredFile, entry: FoundFile) -> bool:
    """Return whether the size and modification time of a file equal the stored ones."""
    return (known.size, known.changed_ns) == (entry.size, entry.changed_ns)


def read_file(entry: FoundFile) -> tuple[bytes, StoredFile]:
    """Read a file: its content, and the state to store so that every later change is noticed.

    Raises:
        UnreadableError: The file cannot be read.
    """
    now = time.time_ns()
    content = entry.read()
    changed = entry.changed_ns if is_settled(entry.changed_ns, now) else 0
    return content, StoredFile(content_digest(content), entry.size, changed)


def _with_title(document: Document) -> tuple[Section, ...]:
    """Return the sections of a whole file, with its title before headings that do not already begin with it."""
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
    """Return a digest of a file's content, 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()
