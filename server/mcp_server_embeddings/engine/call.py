"""Progress and cancellation of one call."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mcp_server_embeddings.errors import CallCancelledError


class Call:
    """Shared by the thread that works and the thread that watches it.

    Attributes:
        stage: What is happening now, for a person.
        done: Texts finished so far.
        total: Texts asked for so far.
    """

    def __init__(self) -> None:
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
        """Cancel: whoever waits for this call is woken and raises ``CallCancelledError``."""
        with self._lock:
            self._cancelled = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def raise_if_cancelled(self) -> None:
        """Stop here if the caller cancelled.

        Raises:
            CallCancelledError: The call was cancelled.
        """
        if self._cancelled:
            raise CallCancelledError("the caller cancelled this call")

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
