"""Store texts or files in a collection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.reading.found import Skipped
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.reading.tables import Table, TableTexts, is_table, split_source
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import Metadata, PutResult, Scalar, StoredFile, as_json, digest
from mcp_server_embeddings.tools.answer_budget import AnswerBudget
from mcp_server_embeddings.tools.coercion import MAX_ID, TextsOrMap
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.freshness import includes, source_options
from mcp_server_embeddings.tools.ingest import Ingester, SourceDocument, document_batches
from mcp_server_embeddings.tools.ingest_files import FileIngester
from mcp_server_embeddings.tools.parameters import CollectionName, IdField, MetadataObjects, Strings, Texts
from mcp_server_embeddings.tools.results import CollectionAddResult, SkippedFile
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.table_items import parse_texts, read_content, select_table, store_table
from mcp_server_embeddings.tools.texts import check_size, checked_texts

MAX_METADATA = 1_000
"""Maximum characters of an item's metadata as JSON: it serves filters and attribution, and every hit repeats it."""


@dataclass(slots=True)
class _Tally:
    """Running counts of documents and files."""

    written: PutResult = field(default_factory=PutResult)
    removed: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    ignored: int = 0


@tool(
    title="Store texts or files in a collection",
    description=(
        "Stores texts, files, folders or a table's column in a named collection, which follows its files. Use it "
        "for what is asked about often, or by metadata. Not for one question: pass a path as source. Returns counts "
        "of items added, updated, unchanged, removed, and files skipped."
    ),
    purpose="keep texts or files for later",
    too_large="add fewer files at a time",
    effect="destroys",
)
def collection_add(
    embedder: Embedder,
    store: CollectionStore,
    collection: CollectionName,
    texts: Annotated[Texts, Field(description="texts, or an object from id to text")] = None,
    *,
    source: Annotated[
        Strings,
        Field(description="or paths"),
    ] = None,
    id_field: IdField = None,
    metadata: Annotated[MetadataObjects, Field(description="flat objects: one per text, or one for all")] = None,
    sources: Sources | None = None,
) -> CollectionAddResult:
    """Add texts or files to a collection, which is created if it does not exist. Unchanged texts are not re-encoded.

    Work is committed every 512 documents: a cancelled or failed call keeps the committed documents, and repeating the
    call continues from there.

    Args:
        embedder: The engine.
        store: The collections.
        collection: Name of the collection.
        texts: 1 to 2,000 texts with 2,000,000 characters in total, or a map from id to text. A text replaces the stored
            one with the same id. If no ids are given, they are derived from the texts.
        source: Files, folders, patterns and table columns; replaces ``texts``. From then on, every call that uses the
            collection and may read these paths brings it up to date with them.
        id_field: The column whose values are the ids of a table's rows.
        metadata: One flat object per text, or one for all; with ``source``, one for all.
        sources: Reads files that the user allowed; required with ``source``.

    Raises:
        InputError: Both or neither of ``texts`` and ``source`` are given, or an argument is invalid.
        CollectionError: The collection has vectors of another model, or would grow too large.
        OperatorError: The model cannot be used, or the store cannot be written.
        CallCancelledError: The caller cancelled.

    Example:
        >>> collection_add(embedder, store, "notes", {"monday": "Call the plumber."}).added
        1
    """
    if (texts is None) == (source is None):
        raise InputError("pass either texts or source" + (", not both" if texts is not None else ""))
    documents = [] if texts is None else _checked_documents(texts, metadata)
    if source is not None and sources is None:
        raise InputError(f"source={list(source)!r} needs sources=Sources(store, reader)")
    if source is not None and isinstance(metadata, Sequence) and len(metadata) != 1:
        raise InputError(f"{len(metadata)} metadata objects came with source; give one object for all files")
    shared = _checked_metadata(metadata, 1)[0] if source is not None else None
    tables, paths = _split_sources(source or [], id_field)
    loaded_tables = [_read_table(sources.reader, path, column, id_field) for path, column in tables] if sources else []
    selection = sources.reader.select(paths) if sources is not None and paths else None
    identity = embedder.identity()
    target = store.open_or_create(collection, identity.digest, identity.short, identity.dimensions)
    ingester, tally = Ingester(embedder, target), _Tally()
    for result in ingester.put_all(document_batches(documents)):
        tally.written += result
    known_files, followed = target.files(), dict[str, str]()
    for path, state, table, rows in loaded_tables:
        followed[path] = source_options(table=True, column=rows.column, id_field=id_field, metadata=shared)
        if path in known_files and known_files[path].digest == state.digest:
            tally.written += PutResult(unchanged=len(rows.ids))
            continue
        result, removed = store_table(ingester, target, path, table, rows, shared)
        target.keep_files({path: state})
        tally.written += result
        tally.removed += removed
    if selection is not None:
        files = FileIngester(lambda: ingester, target, shared)
        files.put(selection.entries)
        removed_paths = [path for path in target.files() if selection.gone(path)]
        tally.written += files.written
        tally.removed += files.removed + (target.forget_files(removed_paths) if removed_paths else 0)
        tally.skipped += files.skipped
        tally.ignored = selection.ignored
        followed |= dict.fromkeys(selection.paths, source_options(metadata=shared))
    _record_sources(target, followed)
    return _build_result(identity.short, target, tally)


def _read_table(
    reader: Reader, path: str, column: str | None, id_field: str | None
) -> tuple[str, StoredFile, Table, TableTexts]:
    _, entry = select_table(reader, path)
    content, state = read_content(entry)
    return entry.path, state, *parse_texts(entry, content, column, id_field)


def _record_sources(target: Collection, sources: Mapping[str, str]) -> None:
    """Record the sources that the collection follows. Files below them that were removed by id are included again."""
    if sources:
        excluded = [path for path, options in target.sources().items() if not options]
        reincluded = [path for path in excluded if any(includes(source, path) for source in sources)]
        target.keep_sources(sources, forget=reincluded)


def _build_result(model: str, target: Collection, tally: _Tally) -> CollectionAddResult:
    skipped = [SkippedFile(path=file.path, reason=file.reason) for file in tally.skipped]
    listed = AnswerBudget().take(skipped, share=0.5)
    notes = []
    if listed < len(skipped):
        notes.append(f"{len(skipped) - listed:,} more files were skipped")
    if tally.ignored:
        notes.append(f"{tally.ignored:,} files and folders are hidden or ignored by .gitignore and were left out")
    return CollectionAddResult(
        model=model,
        notes=notes,
        added=tally.written.added,
        updated=tally.written.updated,
        unchanged=tally.written.unchanged,
        removed=tally.removed,
        skipped=skipped[:listed],
        size=target.current().documents,
    )


def _split_sources(source: Sequence[str], id_field: str | None) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Split sources into tables with their columns and other paths.

    Raises:
        InputError: ``id_field`` is given, but no source is a table.
    """
    tables: list[tuple[str, str | None]] = []
    paths: list[str] = []
    for path_or_column in [source] if isinstance(source, str) else source:
        path, column = split_source(path_or_column)
        if (column is not None or is_table(path)) and not any(mark in path for mark in "*?["):
            tables.append((path, column))
        else:
            paths.append(path_or_column)
    if id_field is not None and not tables:
        raise InputError("id_field is for tables, and no source is one; leave it out")
    return tables, paths


def _checked_documents(texts: TextsOrMap, metadata: MetadataObjects) -> list[SourceDocument]:
    if isinstance(texts, Mapping):
        ids, checked = [str(key) for key in texts], checked_texts("texts", list(texts.values()))
    else:
        checked = checked_texts("texts", texts)
        ids = [digest(text).hex()[:16] for text in checked]
    check_size(checked)
    for key in ids:
        if not key.strip() or len(key) > MAX_ID or "\0" in key:
            raise InputError(f"invalid id {key[:40]!r}; allowed: 1 to {MAX_ID} visible characters")
    without_nul = [text.replace("\0", " ") for text in checked]
    return [
        SourceDocument(id=key, text=text, sections=(Section(0, len(text), ""),), metadata=one)
        for key, text, one in zip(ids, without_nul, _checked_metadata(metadata, len(checked)), strict=True)
    ]


def _checked_metadata(metadata: MetadataObjects, number: int) -> Sequence[Metadata | None]:
    if metadata is None:
        return [None] * number
    if isinstance(metadata, Mapping):
        return [_flat_metadata(metadata, "metadata")] * number
    if len(metadata) == 1:
        return [_flat_metadata(metadata[0], "metadata[0]")] * number
    if len(metadata) != number:
        raise InputError(
            f"{len(metadata):,} metadata objects came for {number:,} texts; give one a text, or one object for all"
        )
    return [_flat_metadata(one, f"metadata[{position}]") for position, one in enumerate(metadata)]


def _flat_metadata(metadata: Mapping[str, object], name: str) -> Metadata:
    flat: dict[str, Scalar | list[Scalar]] = {}
    for key, value in metadata.items():
        values = value if isinstance(value, list) else [value]
        scalars: list[Scalar] = [one for one in values if one is None or isinstance(one, str | int | float)]
        if len(scalars) != len(values):
            raise InputError(
                f"{name}.{key} is nested; allowed: text, number, boolean, null, or a list of those, as in "
                '{"source": "wiki", "year": 2024, "tags": ["a", "b"]}'
            )
        flat[key] = scalars if isinstance(value, list) else scalars[0]
    try:
        size = len(as_json(flat).encode("utf-8", "surrogatepass").decode("utf-8"))
    except (UnicodeError, ValueError):
        raise InputError(f"{name} has an unpaired surrogate or a non-finite number; send valid JSON") from None
    if size > MAX_METADATA:
        raise InputError(
            f"{name} has {size:,} characters as JSON; at most {MAX_METADATA:,}: it is for filters and sources, put "
            "what is to be found into texts"
        )
    return flat
