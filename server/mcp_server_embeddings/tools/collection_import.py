"""Texts and their vectors from one file into a collection."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.private import is_database
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.collection import Collection
from mcp_server_embeddings.store.records import NewChunk, NewDocument, PutResult, Scalar, digest
from mcp_server_embeddings.store.store import Store
from mcp_server_embeddings.store.writing import as_json
from mcp_server_embeddings.tools.collection_add import MAX_ID, MAX_METADATA
from mcp_server_embeddings.tools.collection_export import FORMAT, HEADER_KEY, VERSION, Header, check_suffix, pyarrow
from mcp_server_embeddings.tools.collection_reindex import Told, draft_of, untold
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument
from mcp_server_embeddings.tools.results import Result, Usage

_AT_ONCE = 256
"""Documents encoded and committed together."""

_CHARACTERS_AT_ONCE = 500_000


class CollectionImported(Result):
    """Result of ``collection_import``.

    Attributes:
        collection: Its name.
        added: Documents that were not there.
        updated: Documents that were there otherwise.
        unchanged: Documents that were there.
        vectors: ``taken over`` from the file; or ``embedded``, because it has none or another model's.
        file_model: Whose vectors the file has; empty where it has none.
        size: Documents in the collection now.
        chunks: Vectors in it.
    """

    collection: str
    added: int
    updated: int
    unchanged: int
    vectors: str
    file_model: str
    size: int
    chunks: int


def _visible(value: str) -> str:
    if not value.strip(" \0\t\r\n\f\v"):
        raise ValueError("is blank; every document needs visible characters here")
    return value


def _without_nul(value: str) -> str:
    return value.replace("\0", " ")  # as collection_add does; no offset moves


class _Chunk(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(ge=0)
    stop: int
    heading: str
    vector: Base64Bytes


class _Entry(BaseModel):
    """One line, or one row of a table."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: Annotated[str, Field(max_length=MAX_ID), AfterValidator(_visible)] | None = None
    text: Annotated[str, AfterValidator(_visible), AfterValidator(_without_nul)]
    metadata: dict[str, Scalar | list[Scalar]] | None = None
    file: str = ""
    file_digest: str = Field("", pattern="^([0-9a-f]{32})?$")
    chunks: list[_Chunk] = Field(default_factory=list)


Entries = Iterator[tuple[str, _Entry]]
"""Each with its place as people count: ``line 1`` is the first of the file."""


def collection_import(
    embedder: Embedder, store: Store, collection: str, file: Path, told: Told = untold
) -> CollectionImported:
    """Put the documents of a file into a collection, which is made if there is none.

    Documents that are there and the file has not stay. Work is committed every 256 documents.

    Args:
        embedder: The engine.
        store: The collections.
        collection: Its name.
        file: What ``collection_export`` wrote: its vectors are taken over if they are this model's. Or JSON lines
            without a header: ``{"text": …}``, with ``id`` and ``metadata`` if wanted.
        told: Hears how many documents are stored, of how many (0: unknown).

    Raises:
        InputError: The file cannot be read, or a line is refused; those before it are stored.
        CollectionError: The collection is another model's, or would grow too large.
        OperatorError: The model or the store cannot be used, or pyarrow is missing.
        CallCancelledError: The caller cancelled.
    """
    try:
        if is_database(file.stat()):  # a link to one: closing it would drop SQLite's locks
            raise InputError(f"{str(file)!r} is a database of this program; give a file that export wrote")
        header, entries = (_table if check_suffix(file) == ".parquet" else _lines)(file)
        identity = embedder.identity()
        target = store.made(collection, identity.digest, identity.short, identity.dimensions)
        importing = _Importing(Ingester(embedder, target), target, header, told)
        importing.takes_over = header is not None and header.identity == identity.digest
        importing.run(entries, embedder.call)
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read ({error.strerror or error}); name a readable file") from None
    now, written = target.now(), importing.written
    return CollectionImported(
        model=identity.short,
        usage=Usage.counted(importing.done, importing.drafting.tokens),
        collection=collection,
        added=written.added,
        updated=written.updated,
        unchanged=written.unchanged,
        vectors="taken over" if importing.takes_over else "embedded",
        file_model=header.model if header else "",
        size=now.documents,
        chunks=now.chunks,
    )


class _Importing:
    """Puts entries into a collection, many in one transaction.

    Attributes:
        takes_over: Whether the file's vectors are this model's.
        done: Documents stored so far.
        written: The same by what became of them.
    """

    def __init__(self, drafting: Ingester, target: Collection, header: Header | None, told: Told) -> None:
        self.drafting = drafting
        self.takes_over = False
        self.done = 0
        self.written = PutResult()
        self._target = target
        self._header = header
        self._told = told
        self._ready: list[NewDocument] = []
        self._drafts: list[SourceDocument] = []
        self._characters = 0
        self._files: dict[str, bytes] = {}

    def run(self, entries: Entries, call: Call) -> None:
        try:
            for place, entry in entries:
                call.raise_if_cancelled()
                self._take(place, entry)
        except InputError as error:
            self._flush()
            raise InputError(
                f"{error}; the {self.done:,} documents before it are stored: correct it and import the file again"
            ) from None
        self._flush()
        # Last: after a crash in the middle a file of many documents is read again.
        self._target.keep_files(self._files)

    def _take(self, place: str, entry: _Entry) -> None:
        if entry.file:
            self._files[entry.file] = bytes.fromhex(entry.file_digest)
        document = NewDocument(
            id=entry.id or digest(entry.text).hex()[:16],
            text=entry.text,
            metadata=entry.metadata,
            chunks=tuple(self._chunk(place, entry, chunk) for chunk in entry.chunks),
            file=entry.file,
        )
        if self._header is None and len(as_json(entry.metadata or {})) > MAX_METADATA:
            raise InputError(f"{place}: metadata is longer than {MAX_METADATA:,} characters as JSON; shorten it")
        if not document.chunks:
            whole = (Section(0, len(entry.text), ""),)
            self._drafts.append(replace(draft_of(document), sections=whole))
        elif self.takes_over:
            self._ready.append(document)
        else:
            self._drafts.append(draft_of(document))
        self._characters += len(entry.text)
        if len(self._ready) + len(self._drafts) >= _AT_ONCE or self._characters > _CHARACTERS_AT_ONCE:
            self._flush()

    def _chunk(self, place: str, entry: _Entry, chunk: _Chunk) -> NewChunk:
        vector = np.frombuffer(chunk.vector[: len(chunk.vector) // 4 * 4], dtype="<f4")
        dimensions = self._header.dimensions if self._header else len(vector)
        if 4 * dimensions != len(chunk.vector) or not np.isfinite(vector).all():
            raise InputError(f"{place}: a vector is not {dimensions} finite float32 numbers; export the file anew")
        if not chunk.start < chunk.stop <= len(entry.text):
            raise InputError(f"{place}: a chunk goes from {chunk.start} to {chunk.stop}, outside its text")
        return NewChunk(chunk.start, chunk.stop, chunk.heading, vector)

    def _flush(self) -> None:
        if self._ready:
            self.written += self._target.put(self._ready)
        if self._drafts:
            self.written += self.drafting.put(self._drafts)
        self.done += len(self._ready) + len(self._drafts)
        self._ready, self._drafts, self._characters = [], [], 0
        self._told(self.done, self._header.documents if self._header else 0)


def _lines(file: Path) -> tuple[Header | None, Entries]:
    numbered = _numbered(file)
    first = next(numbered, None)
    if first is None:
        raise InputError(f'{str(file)!r} is empty; give a file that export wrote, or lines such as {{"text": "…"}}')
    header = _header(first[1])
    rest = numbered if header else chain([first], numbered)
    return header, ((f"line {number}", _entry(f"line {number}", raw)) for number, raw in rest)


def _numbered(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            visible = line.removeprefix(b"\xef\xbb\xbf").strip()
            if visible:
                yield number, visible


def _table(file: Path) -> tuple[Header | None, Entries]:
    parquet = pyarrow("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(file)
    except ValueError:  # pyarrow's ArrowInvalid
        raise InputError(f"{str(file)!r} is no Parquet file, or damaged; export it anew") from None
    header = _header((table.schema_arrow.metadata or {}).get(HEADER_KEY, b""))
    rows = (row for batch in table.iter_batches(_AT_ONCE) for row in batch.to_pylist())
    return header, ((f"row {number}", _row(f"row {number}", row)) for number, row in enumerate(rows, 1))


def _row(place: str, row: dict[str, object]) -> _Entry:
    """A row as the line that it would be."""
    metadata, chunks = row.get("metadata"), row.get("chunks")
    line = dict(row)
    if isinstance(metadata, str):
        try:
            line["metadata"] = json.loads(metadata)
        except ValueError:
            raise InputError(f"{place}: metadata is no JSON object") from None
    if isinstance(chunks, list):
        line["chunks"] = [
            {**chunk, "vector": b64encode(np.array(chunk["vector"], "<f4").tobytes()).decode("ascii")}
            for chunk in chunks
        ]
    return _entry(place, json.dumps(line).encode())


def _header(raw: bytes) -> Header | None:
    """The header; None where this is none.

    Raises:
        InputError: A newer program wrote it, or it is incomplete.
    """
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    try:
        header = Header.model_validate(found)
    except ValidationError as error:
        raise InputError(f"the file's header is refused: {_reason(error)}; export it anew") from None
    if header.version > VERSION:
        raise InputError(
            f"the file has version {header.version} of the format, this program knows {VERSION}; upgrade this program"
        )
    return header


def _entry(place: str, raw: bytes) -> _Entry:
    try:
        return _Entry.model_validate_json(raw)
    except ValidationError as error:
        raise InputError(f"{place}: {_reason(error)}") from None


def _reason(error: ValidationError) -> str:
    """What is wrong first, without the value: texts do not belong in messages."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = [str(part) for part in first["loc"]]
    if place[:1] == ["metadata"] and len(place) > 1:
        return f"metadata.{place[1]} is nested; allowed: text, number, boolean, null, or a list of those"
    return f"{'.'.join(place)} {first['msg'].removeprefix('Value error, ')}".strip()
