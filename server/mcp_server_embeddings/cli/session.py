"""Run work for a person at a terminal: show progress on standard error, and cancel on Ctrl-C."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, TypeVar

from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.registry import Load, load_encoder
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

_REFRESH_SECONDS = 0.1


class Task:
    """The progress of work, and the means to cancel it.

    Attributes:
        call: Counts encoded texts and cancels the work.
        done: The number of finished documents.
        total: The number of all documents; 0 if documents are not counted.
    """

    def __init__(self) -> None:
        self.call = Call()
        self.done = 0
        self.total = 0

    def report(self, done: int, total: int) -> None:
        """Record progress; called by the work."""
        self.done, self.total = done, total

    def show(self, progress: "Progress") -> None:
        """Update a progress bar."""
        call = self.call
        stage = call.stage or ("documents" if self.total else "texts encoded" if call.total else "working")
        done, total = (self.done, self.total) if self.total else (call.done, call.total)
        progress.update(progress.task_ids[0], description=stage, completed=done, total=total or None)


def encoder_loader(scheduler: str | None) -> AbstractContextManager[Load]:
    """Return a context manager for the function that loads the encoder, on this machine or in a scheduler's workers."""
    if scheduler is None:
        return nullcontext(load_encoder)
    from mcp_server_embeddings.engine.dask_encoder import dask_loader

    return dask_loader(scheduler)


def run_with_store(
    settings: Settings,
    work: Callable[[Engine, CollectionStore, Task], T],
    *,
    collection: str = "",
    load_model: bool = True,
    load: Load = load_encoder,
) -> T:
    """Run work that needs the collections, and the model unless ``load_model`` is false.

    Args:
        settings: The user's settings.
        work: The work to run.
        collection: A collection that must exist, which is checked before the model is loaded.
        load_model: Start the engine.
        load: Loads the encoder.

    Raises:
        CallCancelledError: The user pressed Ctrl-C; committed changes are kept.
        CollectionError: The collection does not exist.
    """
    prepare(settings)
    task, engine = Task(), Engine(settings, load)
    with closing(open_store(settings)) as store:
        if collection:
            store.record(collection)
        with engine if load_model else nullcontext():
            return run_watched(lambda: work(engine, store, task), task)


def run_watched(work: Callable[[], T], task: Task) -> T:
    """Run work on another thread, so that this thread can show progress and react to Ctrl-C.

    Raises:
        CallCancelledError: The user pressed Ctrl-C.
    """
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        try:
            _wait_and_show(result, task)
            return result.result()
        except KeyboardInterrupt:
            task.call.cancel()
            wait([result])
            raise CallCancelledError(
                "interrupted; what was stored before is kept, and the same command continues from there"
            ) from None


def _wait_and_show(result: "Future[T]", task: Task) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        # With a timeout: Ctrl-C on Windows, or a signal received by another thread, does not end a wait without one.
        while wait([result], timeout=_REFRESH_SECONDS).not_done:
            pass
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("loading the model", total=None)
        while wait([result], timeout=_REFRESH_SECONDS).not_done:
            task.show(progress)
