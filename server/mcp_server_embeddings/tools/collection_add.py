"""Texts and files into a collection."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.document import Document, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import Metadata, PutResult, as_json, digest
from mcp_server_embeddings.tools.collection_results import CollectionAddResult, SkippedFile
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument
from mcp_server_embeddings.tools.parameters import CollectionName, MetadataObjects, Strings, Texts
from mcp_server_embeddings.tools.results import Usage
from mcp_server_embeddings.tools.texts import check_size, checked_texts

_DOCUMENTS_PER_BATCH = 512
"""Encoded and committed together: enough to keep every stream busy, and little to lose."""

_CHARACTERS_PER_BATCH = 500_000

_LISTED = 20
"""Skipped files that an answer names; the rest are counted."""

MAX_ID = 512
"""Characters of an id."""

MAX_METADATA = 1_000
"""Characters of one text's metadata as JSON: it is for filters and sources, and comes back with every hit."""


@dataclass(slots=True)
class _Tally:
    """What became of documents and files."""

    written: PutResult = dataclass_field(default_factory=PutResult)
    removed: int = 0
    skipped: list[SkippedFile] = dataclass_field(default_factory=list)


@tool(
    title="Store texts or files in a collection",
    description=(
        "Stores texts, or files read on this machine, in a named collection that stays. Use it for what is asked about "
        "more than once; again after changes. Not for a list you need once: use rank. Returns counts of documents "
        "added, updated, unchanged, removed, and files skipped with the reason. Then use collection_search."
    ),
    purpose="keep texts or files for later",
    too_large="add fewer files at a time",
    effect="destroys",
)
def collection_add(
    embedder: Embedder,
    store: CollectionStore,
    collection: CollectionName,
    texts: Annotated[Texts | None, Field(description="texts to store")] = None,
    *,
    paths: Annotated[Strings | None, Field(description="or files, folders, globs to read, instead of texts")] = None,
    ids: Annotated[Strings | None, Field(description="one per text; an id that exists is replaced")] = None,
    metadata: Annotated[
        MetadataObjects | None, Field(description="flat objects for where: one per text, or one for all")
    ] = None,
    field: Annotated[str | None, Field(description="CSV column or JSONL key that holds the text")] = None,
    reader: Reader | None = None,
) -> CollectionAddResult:
    """Put texts or files into a collection, which is made if there is none. What is unchanged is not encoded again.

    Work is committed every 512 documents: a cancelled or failed call keeps what it had committed, and the same call
    again goes on from there.

    Args:
        embedder: The engine.
        store: The collections.
        collection: Its name.
        texts: 1 to 2,000 texts with 2,000,000 characters in all; those over 256 tokens become several chunks.
        paths: Files, folders and patterns, in place of ``texts``. A file that has not changed is not read into chunks
            again; documents of files under these paths that are gone are removed.
        ids: One a text, all different; a text whose id is there already replaces it. Left out: made from the text.
        metadata: One flat object a text, or one for all; with paths, one for all files.
        field: The column of CSV files, or key of JSONL files, that contains the text.
        reader: Reads files where the user allowed it; needed with ``paths``.

    Raises:
        InputError: Both or neither of texts and paths are given, or one of them, ids or metadata are refused.
        CollectionError: The collection is another model's, or would grow too large.
        OperatorError: The model cannot be used, or the store cannot be written.
        CallCancelledError: The caller cancelled.
    """
    if (texts is None) == (paths is None):
        came = "neither" if texts is None else "both"
        raise InputError(f"{came} of texts and paths came; give one of them: texts to send, or paths to read files")
    documents = _checked_documents(texts, ids, metadata) if texts is not None else []
    if paths is not None and ids is not None:
        raise InputError("ids came with paths; the id of a file is its path: leave ids out")
    selection = (reader or Reader(())).select(paths, field=field) if paths is not None else None
    shared = _one_metadata(metadata) if paths is not None else None
    identity = embedder.identity()
    target = store.open_or_create(collection, identity.digest, identity.short, identity.dimensions)
    ingester, tally = Ingester(embedder, target), _Tally()
    if selection is None:
        for part in _batches(documents):
            tally.written += ingester.put(part)
    else:
        _Files(ingester, target, tally, shared).put(selection.entries)
        gone = [path for path in target.files() if selection.gone(path)]
        tally.removed += target.forget_files(gone) if gone else 0
    now, written = target.current(), tally.written
    return CollectionAddResult(
        model=identity.short,
        usage=Usage.counted(written.added + written.updated + written.unchanged, ingester.tokens),
        collection=collection,
        added=written.added,
        updated=written.updated,
        unchanged=written.unchanged,
        removed=tally.removed,
        skipped=tally.skipped[:_LISTED],
        skipped_count=len(tally.skipped),
        ignored=selection.ignored if selection is not None else 0,
        size=now.documents,
        chunks=now.chunks,
    )


class _Files:
    """Puts files into a collection, several small ones in one transaction."""

    def __init__(self, ingester: Ingester, target: Collection, tally: _Tally, metadata: Metadata | None) -> None:
        self._ingester = ingester
        self._target = target
        self._tally = tally
        self._metadata = metadata or {}
        self._known = target.files()
        self._waiting: list[SourceDocument] = []

    def put(self, entries: Iterator[FoundFile | Skipped]) -> None:
        for entry in entries:
            if isinstance(entry, Skipped):
                self._skip(entry.path, entry.reason)
                continue
            try:
                content = entry.read()
                key = _content_digest(content)
                if self._known.get(entry.path) == key:
                    self._tally.written += PutResult(unchanged=len(self._target.ids_of_file(entry.path)))
                    continue
                documents = entry.documents(content)
            except UnreadableError as error:
                self._skip(entry.path, error.reason)
                continue
            self._put_file(entry.path, key, documents)
        self._flush()

    def _put_file(self, path: str, key: bytes, documents: Sequence[Document]) -> None:
        sources = [
            SourceDocument(
                id=path + document.suffix,
                text=document.text,
                sections=document.sections,
                metadata={**document.metadata, **self._metadata},
                file=path,
                file_digest=key,
            )
            for document in documents
            if document.text.strip()
        ]
        kept = {source.id for source in sources}
        left = [old for old in self._target.ids_of_file(path) if old not in kept] if path in self._known else []
        self._tally.removed += len(self._target.remove(left).ids) if left else 0
        if len(sources) > _DOCUMENTS_PER_BATCH or not sources:
            # Its digest is kept last: after a crash in the middle the file is read again.
            for part in _batches([source.of_unfinished_file() for source in sources]):
                self._tally.written += self._ingester.put(part)
            self._target.keep_files({path: key})
            return
        self._waiting += sources
        characters = sum(len(source.text) for source in self._waiting)
        if len(self._waiting) >= _DOCUMENTS_PER_BATCH or characters > _CHARACTERS_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._tally.written += self._ingester.put(self._waiting)
            self._waiting = []

    def _skip(self, path: str, why: str) -> None:
        self._tally.skipped.append(SkippedFile(path=path, why=why))


def _content_digest(content: bytes) -> bytes:
    """16 bytes that stand for a file's content."""
    return hashlib.blake2b(content, digest_size=16).digest()


def _batches(documents: Sequence[SourceDocument]) -> Iterator[list[SourceDocument]]:
    return (list(documents[i : i + _DOCUMENTS_PER_BATCH]) for i in range(0, len(documents), _DOCUMENTS_PER_BATCH))


def _checked_documents(
    texts: Sequence[str],
    ids: Sequence[str] | None,
    metadata: Mapping[str, object] | Sequence[Mapping[str, object]] | None,
) -> list[SourceDocument]:
    texts = [text.replace("\0", " ") for text in checked_texts("texts", texts)]
    check_size(texts)
    given = _checked_ids(ids, len(texts)) if ids is not None else [digest(text).hex()[:16] for text in texts]
    several = _checked_metadata(metadata, len(texts))
    return [
        SourceDocument(id=key, text=text, sections=(Section(0, len(text), ""),), metadata=one)
        for key, text, one in zip(given, texts, several, strict=True)
    ]


def _checked_ids(ids: Sequence[str], number: int) -> list[str]:
    ids = [ids] if isinstance(ids, str) else list(ids)
    if len(ids) != number:
        raise InputError(f"{len(ids):,} ids came for {number:,} texts; give one a text, or leave ids out")
    seen: dict[str, int] = {}
    for position, key in enumerate(ids):
        if not key.strip() or len(key) > MAX_ID or "\0" in key:
            raise InputError(f"ids[{position}] is {key[:40]!r}; allowed: 1 to {MAX_ID} visible characters")
        if key in seen:
            raise InputError(f"ids[{position}] is {key!r} as is ids[{seen[key]}]; every text needs an id of its own")
        seen[key] = position
    return ids


def _checked_metadata(
    metadata: Mapping[str, object] | Sequence[Mapping[str, object]] | None, number: int
) -> Sequence[Metadata | None]:
    if metadata is None:
        return [None] * number
    if isinstance(metadata, Mapping):
        return [_flat(metadata, "metadata")] * number
    if len(metadata) == 1:
        return [_flat(metadata[0], "metadata[0]")] * number
    if len(metadata) != number:
        raise InputError(
            f"{len(metadata):,} metadata objects came for {number:,} texts; give one a text, or one object for all"
        )
    return [_flat(one, f"metadata[{position}]") for position, one in enumerate(metadata)]


def _one_metadata(metadata: Mapping[str, object] | Sequence[Mapping[str, object]] | None) -> Metadata | None:
    if metadata is not None and not isinstance(metadata, Mapping) and len(metadata) != 1:
        raise InputError(f"{len(metadata)} metadata objects came with paths; give one object for all files")
    return _checked_metadata(metadata, 1)[0]


def _flat(metadata: Mapping[str, object], name: str) -> Metadata:
    flat: dict[str, str | int | float | bool | list[str | int | float | bool | None] | None] = {}
    for key, value in metadata.items():
        values = value if isinstance(value, list) else [value]
        scalars: list[str | int | float | bool | None] = [
            one for one in values if one is None or isinstance(one, str | int | float | bool)
        ]
        if len(scalars) != len(values):
            raise InputError(
                f"{name}.{key} is nested; allowed: text, number, boolean, null, or a list of those, as in "
                '{"source": "wiki", "year": 2024, "tags": ["a", "b"]}'
            )
        flat[key] = scalars if isinstance(value, list) else scalars[0]
    try:
        size = len(as_json(flat).encode("utf-8", "surrogatepass").decode("utf-8"))
    except (UnicodeError, ValueError):
        raise InputError(f"{name} holds half a character or a number that is none; send it well-formed") from None
    if size > MAX_METADATA:
        raise InputError(
            f"{name} has {size:,} characters as JSON; at most {MAX_METADATA:,}: it is for filters and sources, put "
            "what is to be found into texts"
        )
    return flat
