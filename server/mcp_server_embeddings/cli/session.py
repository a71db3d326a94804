"""Run work on collections for a person: progress on standard error, Ctrl-C cancels."""

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
    """Work that can be watched and cancelled.

    Attributes:
        call: Counts encoded texts, and cancels.
        done: Documents finished.
        total: Documents in all; 0 where nobody counts documents.
    """

    def __init__(self) -> None:
        self.call = Call()
        self.done = 0
        self.total = 0

    def report(self, done: int, total: int) -> None:
        """Take note of how far the work is; called by it."""
        self.done, self.total = done, total

    def show(self, progress: "Progress") -> None:
        """Update a progress bar."""
        call = self.call
        stage = call.stage or ("documents" if self.total else "texts encoded" if call.total else "working")
        done, total = (self.done, self.total) if self.total else (call.done, call.total)
        progress.update(progress.task_ids[0], description=stage, completed=done, total=total or None)


def encoder_loader(scheduler: str | None) -> AbstractContextManager[Load]:
    """Return what loads the encoder: on this machine, or in the workers of a scheduler."""
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
        settings: The user's.
        work: What to run.
        collection: Must exist; checked before the model is loaded.
        load_model: Start the engine.
        load: Loads the encoder.

    Raises:
        CallCancelledError: The user pressed Ctrl-C; what was committed before is kept.
        CollectionError: There is no such collection.
    """
    prepare(settings)
    task, engine = Task(), Engine(settings, load)
    with closing(open_store(settings)) as store:
        if collection:
            store.record(collection)
        with engine if load_model else nullcontext():
            return run_watched(lambda: work(engine, store, task), task)


def run_watched(work: Callable[[], T], task: Task) -> T:
    """Run work on a thread, so that this one can show progress and react to Ctrl-C.

    Raises:
        CallCancelledError: The user pressed Ctrl-C.
    """
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        try:
            _show(result, task)
            return result.result()
        except KeyboardInterrupt:
            task.call.cancel()
            wait([result])
            raise CallCancelledError(
                "interrupted; what was stored before is kept, and the same command continues from there"
            ) from None


def _show(result: "Future[T]", task: Task) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        # In steps: a wait without a limit is not ended by Ctrl-C on Windows, nor by a signal that another thread got.
        while wait([result], timeout=_REFRESH_SECONDS).not_done:
            pass
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("loading the model", total=None)
        while wait([result], timeout=_REFRESH_SECONDS).not_done:
            task.show(progress)
