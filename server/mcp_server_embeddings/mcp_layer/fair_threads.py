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
    """Runs the work of many sessions on a thread pool, in turns if there is more work than threads.

    Args:
        threads: Maximum number of threads.
        per_session: Maximum number of threads that work for one session.
        name: Prefix of the threads' names.

    Example:
        >>> FairThreads(256, 64, "call").submit("a session", sum, [1, 2]).result()
        3
    """

    def __init__(self, threads: int, per_session: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._free = threads
        self._per_session = per_session
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, deque[_Work]] = OrderedDict()  # in the order of the sessions' turns
        self._running: dict[Hashable, int] = {}

    def submit(self, session: Hashable, function: Callable[..., T], *arguments: object) -> Future[T]:
        """Run ``function`` with the caller's context variables; a future cancelled before its start never runs."""
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
        """Start work on the free threads, one call of each session in turn. The caller holds the lock."""
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
