"""``mcp-server-embeddings index NAME PATH...``: index files into a collection."""

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mcp_server_embeddings.cli.output import say, say_result
from mcp_server_embeddings.cli.paths import locate_path
from mcp_server_embeddings.cli.session import Task, encoder_loader, run_with_store
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import CallCancelledError, ConfigurationError, InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.store.records import check_name
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.results import CollectionAddResult
from mcp_server_embeddings.tools.sources import Sources

_QUIET_MS = 300
"""Time without changes after which changed files are indexed."""

_MAX_DELAY_MS = 3_000
"""Interval at which files are indexed that change without a pause."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Index files and print a summary; with ``--watch`` again after each change, until Ctrl-C.

    Raises:
        CallerError: The name or a path is refused, or the collection has another model's vectors.
        OperatorError: The model cannot be used, the collections cannot be written, or watchfiles is missing.
    """
    check_name(options.name)
    if options.watch:
        _import_watchfiles()
    indexer = _Indexer(settings, options, *_locate_all(options.paths))
    # Ctrl-C is the normal end of a watch.
    with encoder_loader(options.scheduler) as load, suppress(CallCancelledError) if options.watch else nullcontext():
        run_with_store(settings, indexer.run, load=load)
    return 0


@dataclass(frozen=True, slots=True)
class _Indexer:
    """Indexes the given paths, once or again after each change."""

    settings: Settings
    options: argparse.Namespace
    paths: Sequence[str]
    folders: Sequence[Path]

    def run(self, engine: Engine, store: CollectionStore, task: Task) -> None:
        _print_result(self._add(engine, store, task), as_json=self.options.json)
        for _ in self._changes(task) if self.options.watch else ():
            try:
                result = self._add(engine, store, task)
            except InputError as error:  # for example, a path does not exist at the moment
                say(str(error))
                continue
            if result.added or result.updated or result.removed:
                _print_result(result, as_json=self.options.json)

    def _add(self, engine: Engine, store: CollectionStore, task: Task) -> CollectionAddResult:
        return collection_add(
            engine.embedder(task.call),
            store,
            self.options.name,
            source=list(self.paths),
            id_field=self.options.id_field,
            sources=Sources(store, Reader(self.folders, cancelled=task.call.raise_if_cancelled)),
        )

    def _changes(self, task: Task) -> Iterator[object]:
        """Yield once when the watch has started, so that no earlier change is missed, and then after each change.

        Ends when the task is cancelled.
        """
        watchfiles, stop = _import_watchfiles(), threading.Event()
        task.call.stage = "watching"
        with task.call.on_cancel(stop.set):
            events = watchfiles.watch(
                *self.folders,
                # Files that this program writes are ignored.
                watch_filter=watchfiles.DefaultFilter(ignore_paths=[self.settings.data_dir, self.settings.cache_dir]),
                debounce=_MAX_DELAY_MS,
                step=_QUIET_MS,
                rust_timeout=_QUIET_MS,
                stop_event=stop,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            )
            yield from (changes for number, changes in enumerate(events) if changes or not number)


def _locate_all(names: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Return the absolute paths, and the folders to read them in; raise ``InputError`` if one does not exist."""
    paths, folders = [], []
    for name in names:
        found = locate_path(name)
        if found is None:
            raise InputError(f"{name!r} does not exist; give files, folders, or patterns such as 'docs/**/*.md'")
        paths.append(found[0])
        folders.append(found[1])
    return paths, folders


def _print_result(result: CollectionAddResult, *, as_json: bool) -> None:
    say_result(result, as_json, *_summary(result))
    sys.stdout.flush()


def _import_watchfiles() -> ModuleType:
    """Import watchfiles, an optional dependency; raise ``ConfigurationError`` if it is not installed."""
    try:
        return import_module("watchfiles")
    except ImportError:
        raise ConfigurationError(
            "--watch needs watchfiles, which is not installed: run pip install 'mcp-server-embeddings[watch]'"
        ) from None


def _summary(result: CollectionAddResult) -> list[str]:
    counts = {
        "added": result.added,
        "updated": result.updated,
        "unchanged": result.unchanged,
        "removed": result.removed,
        "skipped": len(result.skipped),
    }
    lines = [
        ", ".join(f"{count:,} {what}" for what, count in counts.items()),
        f"{result.size:,} items now, under {result.model}",
    ]
    return [*lines, *(f"skipped {file.path}: {file.reason}" for file in result.skipped), *result.notes]
