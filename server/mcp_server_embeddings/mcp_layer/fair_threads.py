"""Worker threads that sessions share fairly."""

import contextvars
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_Work = Callable[[], None]


class FairThreads:
    """Runs the work of many sessions, in turns where there is more than threads.

    Args:
        threads: How many run at most.
        per_session: How many of one session run at most.
        name: Begins the names of the threads.

    Example:
        >>> FairThreads(256, 64, "call").submit("a session", sum, [1, 2]).result()
        3
    """

    def __init__(self, threads: int, per_session: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = threads
        self._per_session = per_session
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, deque[_Work]] = OrderedDict()  # the session whose turn it is first
        self._running: dict[Hashable, int] = {}

    def submit(self, session: Hashable, function: Callable[..., T], *arguments: object) -> Future[T]:
        """Run ``function`` in the caller's context variables; what was cancelled before it began never runs."""
        future, context = Future[T](), contextvars.copy_context()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = context.run(function, *arguments)
            except BaseException as error:  # noqa: BLE001 - raised by the future
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            self._waiting.setdefault(session, deque()).append(work)
            self._start_next()
        return future

    def _start_next(self) -> None:
        """Start what threads are free for, one of each session in turn; the lock is held."""
        for session in list(self._waiting):
            if not self._free:
                return
            if self._running.get(session, 0) >= self._per_session:
                continue
            work = self._waiting[session].popleft()
            if self._waiting[session]:
                self._waiting.move_to_end(session)
            else:
                del self._waiting[session]
            self._free -= 1
            self._running[session] = self._running.get(session, 0) + 1
            self._pool.submit(self._run, session, work)

    def _run(self, session: Hashable, work: _Work) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._free += 1
                self._running[session] -= 1
                if not self._running[session]:
                    del self._running[session]
                self._start_next()
