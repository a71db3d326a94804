"""Work with the model that a person waits for: progress on standard error, Ctrl-C stops it."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.store.store import Store

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

_LOOK_SECONDS = 0.1


class Watched:
    """How far some work is.

    Attributes:
        call: Counts encoded texts, and cancels.
        done: Documents finished; ``total`` is 0 where nobody counts documents.
        total: Documents there are.
    """

    def __init__(self) -> None:
        self.call = Call()
        self.done = 0
        self.total = 0

    def told(self, done: int, total: int) -> None:
        """Called by the work after each step."""
        self.done, self.total = done, total

    def show(self, progress: "Progress") -> None:
        """Bring a progress bar up to date."""
        call = self.call
        stage = call.stage or ("documents" if self.total else "texts encoded" if call.total else "working")
        counts = (self.done, self.total) if self.total else (call.done, call.total)
        progress.update(progress.task_ids[0], description=stage, completed=counts[0], total=counts[1] or None)


def with_model(settings: Settings, work: Callable[[Embedder, Store, Watched], T]) -> T:
    """Run some work with the engine and the collections.

    Raises:
        CallCancelledError: The person pressed Ctrl-C; what was committed before is kept.
    """
    prepare(settings)
    store, watched = Store(settings.data_dir), Watched()
    try:
        with Engine(settings) as engine:
            embedder = engine.embedder(watched.call)
            return watched_work(lambda: work(embedder, store, watched), watched)
    finally:
        store.close()


def without_model(settings: Settings, work: Callable[[Embedder, Store, Watched], T]) -> T:
    """Run some work that needs the collections alone; the engine is not started. Raises as ``with_model``."""
    prepare(settings)
    store, watched = Store(settings.data_dir), Watched()
    try:
        embedder = Engine(settings).embedder(watched.call)
        return watched_work(lambda: work(embedder, store, watched), watched)
    finally:
        store.close()


def watched_work(work: Callable[[], T], watched: Watched) -> T:
    """Run some work on a thread, so that this one can show progress and hear Ctrl-C."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(work)
        try:
            _show(result, watched)
            return result.result()
        except KeyboardInterrupt:
            watched.call.cancel()
            wait([result])
            raise CallCancelledError(
                "interrupted; what was stored before is kept, and the same command goes on from there"
            ) from None


def _show(result: "Future[T]", watched: Watched) -> None:
    """A progress bar while a terminal is there and the work goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task("loading the model", total=None)
        while wait([result], timeout=_LOOK_SECONDS).not_done:
            watched.show(progress)
