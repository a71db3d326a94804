"""Progress and cancellation of one call."""

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from mcp_server_embeddings.errors import CallCancelledError


class Call:
    """Progress and cancellation of one call, shared between threads.

    Attributes:
        stage: Description of the current activity for the user.
        done: Number of inputs encoded so far.
        total: Number of inputs requested so far.

    Args:
        session: The session of the call; calls of different sessions take turns.
    """

    def __init__(self, session: Hashable = None) -> None:
        self.session = session
        self.stage = ""
        self.done = 0
        self.total = 0
        self._lock = threading.Lock()
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the caller cancelled."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancel the call: threads that wait for it wake up and raise ``CallCancelledError``."""
        with self._lock:
            self._cancelled = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def raise_if_cancelled(self) -> None:
        """Raise ``CallCancelledError`` if the call was cancelled."""
        if self._cancelled:
            raise CallCancelledError("the caller cancelled this call")

    def expect(self, inputs: int) -> None:
        """Add to ``total``. Thread-safe, because several threads may encode for one call."""
        with self._lock:
            self.total += inputs

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback`` on cancellation while the block runs."""
        with self._lock:
            self._callbacks.append(callback)
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)
