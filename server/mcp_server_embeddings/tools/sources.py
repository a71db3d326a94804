"""Open a source: a collection, or files, a folder or a table that the user allowed to be read.

What is read from files is kept in a hidden collection for each source, and brought up to date by content hash at each
call: nothing is embedded twice, and nothing is out of date.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.document import MAX_FIELDS, MAX_VALUE, Section, UnreadableError
from mcp_server_embeddings.reading.found import FoundFile, Skipped
from mcp_server_embeddings.reading.limits import TABLE_LIMITS
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.reading.tables import Table, TableTexts, is_table, split_source
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import Metadata, PutResult, StoredFile
from mcp_server_embeddings.tools.ingest import (
    FileIngester,
    Ingester,
    SourceDocument,
    document_batches,
    is_unchanged,
    read_file,
)

_LOOKS_LIKE_PATH = re.compile(r"[/\\*?~#]|\.\w{1,8}$")

_NOT_A_PATH = re.compile(r"^\w+://" if os.name == "nt" else r"^(\w:[\\/]|\\\\|\w+://)")
"""URLs, and paths of Windows on other systems."""

_MAX_PATH = 300
"""Characters of a text that may be a path by mistake."""

_STATE = ":state"
"""Stands for a file in the hidden collection of a table; its digest is the state as JSON."""

_MAX_SKIPPED = 5
"""Skipped files that a note names."""


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source, up to date.

    Attributes:
        label: What errors call it.
        collection: Its items.
        numbered: The ids of its items are the numbers of a table's rows.
        path: Of a table; empty otherwise.
        folder: The ids of its items are paths below it, with its separator; empty for a table; None for a collection.
        order: Puts positions of ids in the order of the files, whatever was written when; None where they are.
        notes: What was skipped or left out, in sentences.
    """

    label: str
    collection: Collection
    numbered: bool = False
    path: str = ""
    folder: str | None = None
    order: Callable[[Sequence[str]], list[int]] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where ``source`` is looked up.

    Attributes:
        store: Its collections.
        reader: Reads files in the folders that the user allowed.

    Example:
        >>> sources = Sources(open_store(settings), Reader([Path("/home/me/data")]))
        >>> cluster(embedder, source="tickets.csv#message", sources=sources)
    """

    store: CollectionStore
    reader: Reader

    def open(
        self, embedder: Embedder, source: str, id_field: str | None = None, *, needs_model: bool = True
    ) -> OpenedSource:
        """Open a source and bring it up to date.

        Args:
            embedder: The engine; encodes what is new.
            source: The name of a collection; or a path below an allowed folder: a file, a folder, a pattern, or a
                column of a table as ``tickets.csv#message``.
            id_field: The column whose values are the ids of a table's rows.
            needs_model: False to open a collection whatever its model, without loading one.

        Raises:
            InputError: There is no such source, a table's column must be named, or its ids are not unique.
            CollectionError: The collection has vectors of another model.
            OperatorError: The model or the store cannot be used.
        """
        source = source.strip()
        names = [record.name for record in self.store.list()]
        if source in names:
            if id_field is not None:
                raise InputError(f"id_field is for tables; {source!r} is a collection: leave id_field out")
            return OpenedSource(f"collection {source!r}", self._collection(embedder, source, needs_model=needs_model))
        self._check_path(source, names)
        path, column = split_source(source, self._is_file)
        if is_table(path):
            return self._table(embedder, path, column, id_field)
        if id_field is not None:
            raise InputError(f"id_field is for tables; {path!r} is not one: leave id_field out")
        return self._files(embedder, path)

    def _collection(self, embedder: Embedder, name: str, *, needs_model: bool) -> Collection:
        if not needs_model:
            return self.store.open(name)
        identity = embedder.identity()
        return self.store.open_for(name, identity.digest, identity.short)

    def reread(self, path: str, source: str, id_field: str | None) -> tuple[Table, TableTexts]:
        """Read a table again.

        Args:
            path: ``OpenedSource.path``.
            source: What was opened.
            id_field: Likewise.

        Raises:
            InputError: It cannot be read.
        """
        _, column = split_source(source.strip(), self._is_file)
        _, _, table, texts = self.read_table(path, column, id_field)
        return table, texts

    def mistaken(self, text: str) -> str | None:
        """Say what a lone text probably is: a collection's name or a path; None for a text."""
        text = text.strip()
        if text in [record.name for record in self.store.list()]:
            return "the name of a collection"
        looks_like_path = len(text) < _MAX_PATH and " " not in text and _LOOKS_LIKE_PATH.search(text)
        if looks_like_path and self._is_file(split_source(text)[0]):
            return "a path that can be read"
        return None

    def _check_path(self, source: str, names: Sequence[str]) -> None:
        """Refuse what is neither a collection nor could be a path.

        Raises:
            InputError: It is not.
        """
        folders = ", ".join(map(repr, self.reader.folders)) or "none; ask the user to start the server with --allow-dir"
        if _NOT_A_PATH.search(source) or not source:
            raise InputError(
                f"invalid source {source[:200]!r}; give the name of a collection, or a path such as 'docs/notes.md' or "
                f"'tickets.csv#message', absolute or relative to a folder that may be read: {folders}"
            )
        if not _LOOKS_LIKE_PATH.search(source) and not self._is_file(source):
            known = nearest(source, names) if names else "there are no collections yet"
            raise InputError(
                f"there is no collection or file {source[:200]!r} (folders that may be read: {folders}); {known}"
            )

    def _is_file(self, path: str) -> bool:
        try:
            self.reader.select([path])
        except InputError:
            return False
        return True

    def read_table(
        self, path: str, column: str | None, id_field: str | None
    ) -> tuple[str, StoredFile, Table, TableTexts]:
        """Read the texts of a table: its absolute path, its state, the table, and its texts.

        Raises:
            InputError: It cannot be read, a column must be named, or its ids are not unique.
        """
        entry = self._file(path)
        content, state = self._read(entry)
        table = self._parse(entry, content)
        return entry.path, state, table, _texts(table, column, id_field)

    def _file(self, path: str) -> FoundFile:
        """Find the one file at a path.

        Raises:
            InputError: It is not exactly one file, or cannot be read.
        """
        entries = list(self.reader.select([path], limits=TABLE_LIMITS).entries)
        if len(entries) != 1:
            raise InputError(f"{path!r} matches {len(entries)} files; name one table with its column")
        (entry,) = entries
        if isinstance(entry, Skipped):
            raise InputError(f"{path!r} cannot be read: {entry.reason}")
        return entry

    def _read(self, entry: FoundFile) -> tuple[bytes, StoredFile]:
        try:
            return read_file(entry)
        except UnreadableError as error:
            raise InputError(f"{entry.path!r} cannot be read: {error.reason}") from None

    def _parse(self, entry: FoundFile, content: bytes) -> Table:
        try:
            return entry.table(content)
        except UnreadableError as error:
            raise InputError(f"{entry.path!r} cannot be read: {error.reason}") from None

    def _table(self, embedder: Embedder, path: str, column: str | None, id_field: str | None) -> OpenedSource:
        entry = self._file(path)
        collection = self._hidden(embedder, [entry.path, column, id_field])
        label = f"{path}#{column}" if column else path
        files = collection.files()
        known, state = files.get(entry.path), _TableState.from_json(files[_STATE].digest if _STATE in files else b"")
        if known is None or not is_unchanged(known, entry):
            content, now = self._read(entry)
            if known is None or known.digest != now.digest:
                table = self._parse(entry, content)
                texts = _texts(table, column, id_field)
                state = self._update_table(embedder, collection, entry.path, table, texts)
            collection.keep_files({entry.path: now, _STATE: StoredFile(state.to_json())})
        return OpenedSource(
            label, collection, state.numbered, entry.path, folder="", order=state.in_order, notes=state.notes
        )

    def _update_table(
        self, embedder: Embedder, collection: Collection, path: str, table: Table, texts: TableTexts
    ) -> "_TableState":
        store_table(Ingester(embedder, collection), collection, path, table, texts)
        moved = not texts.numbered and collection.items().ids != texts.ids
        return _TableState(texts.numbered, _table_notes(table, texts), texts.ids if moved else [])

    def _files(self, embedder: Embedder, path: str) -> OpenedSource:
        selection = self.reader.select([path])
        (root,) = selection.roots
        collection = self._hidden(embedder, [root, path])
        files = FileIngester(lambda: Ingester(embedder, collection), collection)
        files.put(selection.entries)
        # What cannot be read any more is as gone as what is not there: nothing out of date is answered from.
        read = files.seen - {file.path for file in files.skipped}
        gone = [file for file in collection.files() if file not in read] if selection.complete else []
        if gone:
            collection.forget_files(gone)
        folder = str(PurePath(root).parent if root in files.seen else root)
        folder = folder if folder.endswith(("/", "\\")) else folder + ("\\" if "\\" in folder else "/")
        notes = []
        if files.skipped:
            notes.append(f"{len(files.skipped):,} files were skipped: {_some(files.skipped, folder)}")
        return OpenedSource(path, collection, folder=folder, order=_by_path, notes=notes)

    def _hidden(self, embedder: Embedder, key: Sequence[object]) -> Collection:
        identity = embedder.identity()
        name = hashlib.blake2b(json.dumps(list(key)).encode(), digest_size=16).hexdigest()
        return self.store.open_source(name, identity.digest, identity.short, identity.dimensions)


@dataclass(frozen=True, slots=True)
class _TableState:
    """What is known of a table without reading it again; see ``OpenedSource``."""

    numbered: bool = False
    notes: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """In the order of the rows, where the collection has another since the file was changed."""

    def in_order(self, ids: Sequence[str]) -> list[int]:
        """Return the positions of ids in the order of the rows."""
        if self.numbered:
            return sorted(range(len(ids)), key=lambda at: int(ids[at]))
        rank = {key: at for at, key in enumerate(self.ids)}
        return sorted(range(len(ids)), key=lambda at: rank.get(ids[at], at))

    def to_json(self) -> bytes:
        return json.dumps([self.numbered, self.notes, self.ids]).encode()

    @classmethod
    def from_json(cls, written: bytes) -> "_TableState":
        return cls(*json.loads(written)) if written else cls()


def _by_path(ids: Sequence[str]) -> list[int]:
    """Return the positions of ids in the order of their paths, rows of one file by number."""

    def key(at: int) -> tuple[str, int]:
        path, _, row = ids[at].rpartition(":")
        return (path, int(row)) if row.isdigit() and path else (ids[at], 0)

    return sorted(range(len(ids)), key=key)


def _some(skipped: Sequence[Skipped], folder: str) -> str:
    named = "; ".join(f"{file.path.removeprefix(folder)}: {file.reason}" for file in skipped[:_MAX_SKIPPED])
    return named + (f"; and {len(skipped) - _MAX_SKIPPED:,} more" if len(skipped) > _MAX_SKIPPED else "")


def _texts(table: Table, column: str | None, id_field: str | None) -> TableTexts:
    try:
        return table.texts(column, id_field)
    except UnreadableError as error:
        raise InputError(f"{table.name!r} cannot be read: {error.reason}") from None


def _table_notes(table: Table, texts: TableTexts) -> list[str]:
    blank = [f"{texts.blank:,} rows without text in {texts.column!r} were left out"] if texts.blank else []
    others = [name for name in table.columns if name != texts.column]
    numbers = (
        [f"ids are row numbers; id_field takes a column: {', '.join(others[:10])}"] if texts.numbered and others else []
    )
    return [*table.notes, *blank, *numbers]


def store_table(
    ingester: Ingester,
    collection: Collection,
    path: str,
    table: Table,
    texts: TableTexts,
    shared: Metadata | None = None,
) -> tuple[PutResult, int]:
    """Bring the items of a table up to date: one for each row, the other columns as metadata.

    Args:
        ingester: Of the collection.
        collection: Where they are stored.
        path: Of the table; rows that it had before and no longer has are removed.
        table: The table.
        texts: Its texts and ids.
        shared: Metadata for every row, beside its columns.

    Returns:
        What was written, and how many items were removed.
    """
    columns = {name: table.typed(name) for name in table.columns[: MAX_FIELDS + 1] if name != texts.column}

    def metadata(row: int) -> Metadata:
        values = {name: cells[row] for name, cells in columns.items()}
        return {
            name: value
            for name, value in [*values.items(), *(shared or {}).items()]
            if value is not None and not (isinstance(value, str) and not 0 < len(value) <= MAX_VALUE)
        }

    documents = [
        SourceDocument(id=str(key), text=text, sections=(Section(0, len(text), ""),), metadata=metadata(row), file=path)
        for key, text, row in zip(texts.ids, texts.texts, texts.rows, strict=True)
    ]
    left = set(collection.ids_of_file(path)) - {document.id for document in documents}
    written = PutResult()
    for batch in document_batches(documents):
        written += ingester.put(batch)
    return written, len(collection.remove(sorted(left)).ids) if left else 0
