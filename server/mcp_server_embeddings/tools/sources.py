"""Open a source: a collection, or files, a folder or a table below a folder that the user allowed to be read.

Texts read from files are stored in a hidden collection for each source. These collections, and named collections made
from files, are brought up to date at each call (``freshness``).
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.parsing import LINES_SUFFIX
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.reading.tables import Table, TableTexts, is_table, split_source
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import StoredFile
from mcp_server_embeddings.tools.freshness import SEARCH_PATIENCE, Freshness, Update, skipped_note, update_from_files
from mcp_server_embeddings.tools.ingest import Ingester
from mcp_server_embeddings.tools.ingest_files import is_unchanged
from mcp_server_embeddings.tools.table_items import parse_texts, read_content, select_table, store_table

_LOOKS_LIKE_PATH = re.compile(r"[/\\*?~#]|\.\w{1,8}$")

_FOREIGN_PATH = re.compile(r"^(?!file:///)" + (r"\w+://" if os.name == "nt" else r"(\w:[\\/]|\\\\|\w+://)"))
"""URLs other than ``file:`` URLs, and Windows paths on other systems."""

_MAX_PATH = 300
"""Length from which a text is not checked for being a path passed by mistake."""

_STATE_FILE = ":state"
"""File name under which the hidden collection of a table stores the table's state, as JSON in place of the digest."""


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """An opened source.

    Attributes:
        label: Its name in errors.
        collection: The collection that holds its items.
        numbered: Whether the ids of its items are row numbers of a table.
        path: Path of the table; empty for other sources.
        folder: The folder, with its separator, that the ids are paths below; empty for a table; None for a collection.
        order: Returns the positions of ids in the order of the files or rows; None to keep the stored order.
        notes: Sentences about skipped files and omitted rows.
        fresh: Whether it is known to match the current state of its files.
    """

    label: str
    collection: Collection
    numbered: bool = False
    path: str = ""
    folder: str | None = None
    order: Callable[[Sequence[str]], list[int]] | None = None
    notes: list[str] = field(default_factory=list)
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Sources:
    """Resolves ``source`` arguments: names of collections and paths.

    Attributes:
        store: The collections.
        reader: Reads files in the folders that the user allowed.
        freshness: Remembers the state of files between calls.
        search_patience: Seconds that a search waits for changed files; None to wait for all of them.

    Example:
        >>> sources = Sources(open_store(settings), Reader([Path.cwd()]))
        >>> len(cluster(embedder, source="tickets.csv#message", clusters=4, sources=sources).clusters)
        4
    """

    store: CollectionStore
    reader: Reader
    freshness: Freshness = field(default_factory=Freshness)
    search_patience: float | None = SEARCH_PATIENCE

    def open(
        self,
        embedder: Embedder,
        source: str,
        id_field: str | None = None,
        *,
        needs_model: bool = True,
        patience: float | None = None,
    ) -> OpenedSource:
        """Open a source and bring it up to date.

        Args:
            embedder: The engine; encodes new texts.
            source: The name of a collection; or a path below an allowed folder: a file, a folder, a pattern, a
                column of a table as ``tickets.csv#message``, or the lines of a text as ``notes.txt#lines``.
            id_field: The column whose values are the ids of a table's rows.
            needs_model: False to open a collection of any model, without loading one.
            patience: Seconds to wait for changes in files that were indexed before; None to wait for all of them. The
                rest is indexed in the background.

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
            return self._open_collection(embedder, source, needs_model=needs_model, patience=patience)
        self._check_path(source, names)
        path, column = split_source(source, self._is_file)
        if column is not None or is_table(path):
            return self._open_table(embedder, path, column, id_field)
        if id_field is not None:
            raise InputError(f"id_field is for tables; {path!r} is not one: leave id_field out")
        return self._open_files(embedder, path, patience)

    def _open_collection(
        self, embedder: Embedder, name: str, *, needs_model: bool, patience: float | None
    ) -> OpenedSource:
        identity = embedder.identity() if needs_model else None
        collection = self.store.open_for(name, identity.digest, identity.short) if identity else self.store.open(name)
        label, sources = f"collection {name!r}", collection.sources()
        if not any(map(self.reader.may_check, sources)):
            return OpenedSource(label, collection, fresh=False)
        updated = self._update(embedder, collection, sources, patience)
        return OpenedSource(label, collection, notes=list(updated.notes), fresh=updated.fresh)

    def reread(self, path: str, source: str, id_field: str | None) -> tuple[Table, TableTexts]:
        """Read a table again.

        Args:
            path: ``OpenedSource.path``.
            source: The source that was opened.
            id_field: The id column that it was opened with.

        Raises:
            InputError: The table cannot be read.
        """
        _, column = split_source(source.strip(), self._is_file)
        _, entry = select_table(self.reader, path)
        return parse_texts(entry, read_content(entry)[0], column, id_field)

    def rows(self, source: str, written: Path | None = None) -> tuple[Table, TableTexts]:
        """Read the rows of a table without storing them.

        Args:
            source: Path of the table, with its text column as ``known.csv#message``; or ``list.txt#lines``.
            written: The output folder, whose files are also found by their bare names.

        Raises:
            InputError: There is no such table, it cannot be read, or its column must be named.
        """
        source = source.strip()
        path, column = split_source(source, self._is_file)
        name, reader = os.path.basename(path), self.reader  # noqa: PTH119 - the source need not be a path
        if written is not None and path in (name, str(written / name)) and (written / name).is_file():
            if not self._is_file(path):
                path, reader = str(written / name), Reader([written])
        else:
            self._check_path(source, [])
        entry = select_table(reader, path)[1]
        return parse_texts(entry, read_content(entry)[0], column, None)

    def is_table(self, text: str) -> bool:
        """Return whether a text names a readable table, or a readable text file, whose lines are its rows."""
        path, column = split_source(text.strip())
        return (column is not None or is_table(path) or path.lower().endswith(LINES_SUFFIX)) and self.is_path(text)

    def reference_kind(self, text: str) -> str | None:
        """Describe what a single text probably names: a collection or a path; None for an ordinary text."""
        if text.strip() in [record.name for record in self.store.list()]:
            return "the name of a collection"
        return "a path that can be read" if self.is_path(text) else None

    def is_path(self, text: str) -> bool:
        """Return whether a text looks like a path and names something that can be read."""
        text = text.strip()
        looks_like_path = len(text) < _MAX_PATH and " " not in text and _LOOKS_LIKE_PATH.search(text)
        return bool(looks_like_path) and self._is_file(split_source(text)[0])

    def _check_path(self, source: str, names: Sequence[str]) -> None:
        """Reject a source that is not a collection and cannot be a path.

        Raises:
            InputError: The source is invalid or does not exist.
        """
        folders = ", ".join(map(repr, self.reader.folders)) or "none; ask the user to start the server with --allow-dir"
        if _FOREIGN_PATH.search(source) or not source:
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

    def _open_table(self, embedder: Embedder, path: str, column: str | None, id_field: str | None) -> OpenedSource:
        _, entry = select_table(self.reader, path)
        collection = self._hidden_collection(embedder, [entry.path, column, id_field])
        label = f"{path}#{column}" if column else path
        files = collection.files()
        known = files.get(entry.path)
        state = _TableState.from_json(files[_STATE_FILE].digest if _STATE_FILE in files else b"")
        if known is None or not is_unchanged(known, entry):
            content, now = read_content(entry)
            if known is None or known.digest != now.digest:
                table, texts = parse_texts(entry, content, column, id_field)
                store_table(Ingester(embedder, collection), collection, entry.path, table, texts)
                reordered = not texts.numbered and collection.items().ids != texts.ids
                state = _TableState(texts.numbered, _table_notes(table, texts, column), texts.ids if reordered else [])
            collection.keep_files({entry.path: now, _STATE_FILE: StoredFile(state.to_json())})
        return OpenedSource(
            label, collection, state.numbered, entry.path, folder="", order=state.in_order, notes=state.notes
        )

    def _open_files(self, embedder: Embedder, path: str, patience: float | None) -> OpenedSource:
        selection = self.reader.select([path])
        (root,), (named,) = selection.roots, selection.paths
        collection = self._hidden_collection(embedder, [root, path])
        sources, complete = {named: "{}"}, bool(collection.sources())
        # Wait for a source that was never completely indexed; otherwise search its last state meanwhile.
        updated = self._update(embedder, collection, sources, patience if complete else None, may_fail=not complete)
        if not complete:
            collection.keep_sources(sources)
        (folder,) = selection.folders
        folder = folder if folder.endswith(("/", "\\")) else folder + ("\\" if "\\" in folder else "/")
        notes = [*updated.notes, *skipped_note(updated.skipped, folder)]
        return OpenedSource(path, collection, folder=folder, order=_by_path, notes=notes, fresh=updated.fresh)

    def _update(
        self,
        embedder: Embedder,
        collection: Collection,
        sources: Mapping[str, str],
        patience: float | None,
        *,
        may_fail: bool = False,
    ) -> Update:
        """Bring a collection up to date with its files."""

        def work(call: Call) -> Update:
            reader = self.reader.cancelled_by(call.raise_if_cancelled)
            return update_from_files(embedder.of(call), reader, collection, sources)

        key = (self.store, collection.record.key, tuple(sources.items()), self.reader.folders)
        return self.freshness.update(key, work, embedder.call, patience, may_fail=may_fail)

    def _hidden_collection(self, embedder: Embedder, key: Sequence[object]) -> Collection:
        identity = embedder.identity()
        name = hashlib.blake2b(json.dumps(list(key)).encode(), digest_size=16).hexdigest()
        return self.store.open_source(name, identity.digest, identity.short, identity.dimensions)


@dataclass(frozen=True, slots=True)
class _TableState:
    """Stored facts about a table, known without reading it again; see ``OpenedSource``."""

    numbered: bool = False
    notes: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """Ids in the order of the rows, if the stored order differs because the file was changed."""

    def in_order(self, ids: Sequence[str]) -> list[int]:
        """Return the positions of ids in the order of the rows."""
        if self.numbered:
            return sorted(range(len(ids)), key=lambda at: int(ids[at]))
        rank = {key: at for at, key in enumerate(self.ids)}
        return sorted(range(len(ids)), key=lambda at: rank.get(ids[at], at))

    def to_json(self) -> bytes:
        return json.dumps([self.numbered, self.notes, self.ids]).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "_TableState":
        return cls(*json.loads(data)) if data else cls()


def _by_path(ids: Sequence[str]) -> list[int]:
    """Return the positions of ids in the order of their paths, rows of one file by number."""

    def key(at: int) -> tuple[str, int]:
        path, _, row = ids[at].rpartition(":")
        return (path, int(row)) if row.isdigit() and path else (ids[at], 0)

    return sorted(range(len(ids)), key=key)


def _table_notes(table: Table, texts: TableTexts, column: str | None) -> list[str]:
    notes = list(table.notes)
    if column is None and len(table.columns) > 1:
        notes.append(f"the texts are those of the column {texts.column!r}")
    if texts.blank:
        notes.append(f"{texts.blank:,} rows without text in {texts.column!r} were left out")
    others = [name for name in table.id_columns(texts.rows) if name != texts.column] if texts.numbered else []
    if others:
        notes.append(f"ids are row numbers; id_field takes a column: {', '.join(others[:10])}")
    return notes
