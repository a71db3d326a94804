"""Keep collections made from files in sync with these files, at each call and without a long wait.

The listing of each walk is remembered and compared at the next call. A path is walked again only if its listing
changed, and a file is read only if its size or modification time changed.
"""

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import (
    CallCancelledError,
    CollectionError,
    EmbeddingsError,
    InputError,
    OperatorError,
)
from mcp_server_embeddings.reading.found import Skipped
from mcp_server_embeddings.reading.globs import Glob, is_pattern
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.reading.snapshot import Snapshot
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Metadata, StoredFile
from mcp_server_embeddings.tools.ingest import Ingester
from mcp_server_embeddings.tools.ingest_files import FileIngester, is_unchanged
from mcp_server_embeddings.tools.table_items import parse_texts, read_content, select_table, store_table

_log = logging.getLogger(__name__)

SEARCH_PATIENCE = 1.0
"""Seconds that a search waits for changed files: enough to embed about twenty pages."""

_MAX_REMEMBERED = 16
"""Maximum number of collections whose file listings are remembered; each takes about 200 bytes per file."""

_MAX_SKIPPED = 5
"""Maximum number of skipped files that a note names."""

_UNFINISHED = (
    "files are still being checked or indexed in the background: this answer may lack their last changes; "
    "the same call later has them"
)


@dataclass(frozen=True, slots=True)
class Update:
    """Outcome of bringing a collection up to date.

    Attributes:
        fresh: Whether the collection matches its files as they were listed.
        notes: Sentences about checks that failed or are unfinished.
        skipped: Files that could not be read.
        snapshots: The listings; None if an equal listing would not prove that nothing changed.
        collection: The collection.
        revision: Revision of the collection after the update.
    """

    fresh: bool = True
    notes: Sequence[str] = ()
    skipped: Sequence[Skipped] = ()
    snapshots: Sequence[Snapshot] | None = None
    collection: Collection | None = None
    revision: int = 0

    def is_current(self) -> bool:
        """Return whether neither the files nor the collection changed since the update."""
        if self.snapshots is None or self.collection is None:
            return False
        if self.collection.current().revision != self.revision:
            return False
        return all(snapshot.is_current() for snapshot in self.snapshots)


class _Options(TypedDict, total=False):
    """How a path is read, as in ``source_options``."""

    table: bool
    column: str
    id_field: str
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class _Job:
    """A background update of one collection, shared by all callers that wait for it."""

    started: float = field(default_factory=time.monotonic)
    result: Future[Update] = field(default_factory=Future)
    call: Call = field(default_factory=Call)


class Freshness:
    """Remembers file listings and updates collections in the background. Thread-safe; one instance per process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._updates: OrderedDict[Hashable, Update] = OrderedDict()
        self._jobs: dict[Hashable, _Job] = {}

    def update(
        self,
        key: Hashable,
        work: Callable[[Call], Update],
        call: Call,
        patience: float | None,
        *,
        may_fail: bool = False,
    ) -> Update:
        """Bring a collection up to date, unless it is already.

        Args:
            key: Identifies the collection and its files.
            work: Performs the update.
            call: The caller's call, passed to ``work`` if it runs in this thread.
            patience: Seconds to wait, after which the update continues in the background. None runs it in this thread.
            may_fail: Raise the errors of ``work``; by default they become a note.

        Raises:
            CallCancelledError: The caller cancelled.
        """
        try:
            if patience is None:
                return self._update_unless_current(key, work, call)
            return self._update_in_background(key, work, patience)
        except CallCancelledError:
            raise
        except EmbeddingsError as error:
            if may_fail:
                raise
            return Update(fresh=False, notes=(f"files could not be checked for changes: {error}",))

    def close(self) -> None:
        """Cancel the background updates."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.call.cancel()

    def _update_unless_current(self, key: Hashable, work: Callable[[Call], Update], call: Call) -> Update:
        remembered = self._updates.get(key)
        return remembered if remembered is not None and remembered.is_current() else self._remember(key, work(call))

    def _update_in_background(self, key: Hashable, work: Callable[[Call], Update], patience: float) -> Update:
        started = time.monotonic()
        while True:
            job = self._running_job(key, work)
            try:
                updated = job.result.result(max(0.0, started + patience - time.monotonic()))
            except TimeoutError:
                return Update(fresh=False, notes=(_UNFINISHED,))
            # A job that another caller started earlier may have missed the last change.
            if job.started >= started:
                return updated

    def _running_job(self, key: Hashable, work: Callable[[Call], Update]) -> _Job:
        with self._lock:
            if key in self._jobs:
                return self._jobs[key]
            job = self._jobs[key] = _Job()
        threading.Thread(target=self._run, args=(key, work, job), name="freshness", daemon=True).start()
        return job

    def _run(self, key: Hashable, work: Callable[[Call], Update], job: _Job) -> None:
        failure: EmbeddingsError | None = None
        updated = Update()
        try:
            updated = self._update_unless_current(key, work, job.call)
        except EmbeddingsError as error:
            failure = error
        # Outermost edge of the thread: the text of a crash stays in the log.
        except BaseException:  # noqa: BLE001
            _log.exception("bringing a collection up to date crashed")
            failure = OperatorError("that failed inside the server; its log on standard error says why")
        with self._lock:
            del self._jobs[key]
        if failure is None:
            job.result.set_result(updated)
        else:
            job.result.set_exception(failure)

    def _remember(self, key: Hashable, updated: Update) -> Update:
        settled = updated.snapshots is not None and all(snapshot.is_settled() for snapshot in updated.snapshots)
        with self._lock:
            self._updates.pop(key, None)
            if settled:
                self._updates[key] = updated
            while len(self._updates) > _MAX_REMEMBERED:
                self._updates.popitem(last=False)
        return updated


def update_from_files(embedder: Embedder, reader: Reader, collection: Collection, sources: Mapping[str, str]) -> Update:
    """Bring a collection up to date with its files: index changed files, remove missing and unreadable ones.

    Args:
        embedder: The engine; used only if there are texts to encode.
        reader: Reads the files. Files at paths that it may not read keep their indexed state.
        collection: The collection.
        sources: See ``Collection.sources``.

    Raises:
        CollectionError: There are texts to encode, and the collection belongs to another model.
        OperatorError: The model or the store cannot be used.
        CallCancelledError: The call was cancelled.
    """
    excluded = frozenset(path for path, options in sources.items() if not options)
    updating = _FileUpdate(embedder, reader, collection, excluded, collection.files())
    # Longest path first: the options of the most specific path apply to a file.
    for path in sorted((path for path, options in sources.items() if options), key=len, reverse=True):
        updating.read(path, json.loads(sources[path]))
    return updating.finish()


def source_options(**options: object) -> str:
    """Return the options for reading a path in the form ``Collection.sources`` stores; empty ones are left out."""
    return json.dumps({name: value for name, value in options.items() if value}, ensure_ascii=False)


def includes(path: str, file: str) -> bool:
    """Return whether a file equals a path, is below it, or matches it as a pattern."""
    if file == path or file.startswith(path if path.endswith(os.sep) else path + os.sep):
        return True
    return is_pattern(path) and Glob(Path(path).parts).matches(Path(file).parts)


def skipped_note(skipped: Sequence[Skipped], folder: str) -> list[str]:
    """Return a list with one note that names skipped files relative to a folder, or an empty list if there are none."""
    if not skipped:
        return []
    named = "; ".join(f"{file.path.removeprefix(folder)}: {file.reason}" for file in skipped[:_MAX_SKIPPED])
    more = f"; and {len(skipped) - _MAX_SKIPPED:,} more" if len(skipped) > _MAX_SKIPPED else ""
    return [f"{len(skipped):,} files were skipped: {named}{more}"]


@dataclass(slots=True)
class _FileUpdate:
    """State of one update, which reads one path after another."""

    embedder: Embedder
    reader: Reader
    collection: Collection
    excluded: frozenset[str]
    known: Mapping[str, StoredFile]
    complete: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    skipped: list[Skipped] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    unchecked: bool = False
    missing: bool = False

    def read(self, path: str, options: _Options) -> None:
        """Index the changed files at a path."""
        if not self.reader.may_check(path):
            self.unchecked = True
            return
        try:
            if options.get("table"):
                self._read_table(path, options)
            else:
                self._read_files(path, options)
        except InputError:  # the path does not exist
            self.missing = True
            self.complete.append(path)

    def finish(self) -> Update:
        """Remove the documents of missing files and return the outcome."""
        read = self.seen - {file.path for file in self.skipped}
        gone = [file for file in self.known if file not in read and any(includes(path, file) for path in self.complete)]
        if gone:
            self.collection.forget_files(gone)
        return Update(
            fresh=not self.unchecked,
            skipped=tuple(self.skipped),
            snapshots=None if self.missing or self.unchecked else tuple(self.snapshots),
            collection=self.collection,
            revision=self.collection.current().revision,
        )

    def _read_files(self, path: str, options: _Options) -> None:
        selection = self.reader.select([path])
        files = FileIngester(self._ingester, self.collection, options.get("metadata"), self.known)
        skipped = self.seen | self.excluded
        files.put(entry for entry in selection.entries if entry.path not in skipped)
        self.seen |= files.seen
        self.skipped += files.skipped
        self.snapshots.append(selection.snapshot)
        if selection.complete:
            self.complete.append(path)

    def _read_table(self, path: str, options: _Options) -> None:
        selection, entry = select_table(self.reader, path)
        known = self.known.get(entry.path)
        if known is None or not is_unchanged(known, entry):
            content, state = read_content(entry)
            if known is None or known.digest != state.digest:
                table, texts = parse_texts(entry, content, options.get("column"), options.get("id_field"))
                store_table(self._ingester(), self.collection, entry.path, table, texts, options.get("metadata"))
            self.collection.keep_files({entry.path: state})
        self.seen.add(entry.path)
        self.snapshots.append(selection.snapshot)
        self.complete.append(path)

    def _ingester(self) -> Ingester:
        identity, record = self.embedder.identity(), self.collection.record
        if identity.digest != record.identity:
            raise CollectionError(
                f"files changed since they were indexed, and collection {record.name!r} holds vectors of the model "
                f"{record.model}, this server runs {identity.short}"
            )
        return Ingester(self.embedder, self.collection)
