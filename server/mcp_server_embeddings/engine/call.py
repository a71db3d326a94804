"""One caller's line to the engine while it waits: progress comes out, cancellation goes in."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mcp_server_embeddings.errors import CallCancelledError


class Call:
    """Shared by the thread that works and the one that watches.

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
        self._wakers: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        """Whether the caller gave up."""
        return self._cancelled

    def cancel(self) -> None:
        """Give up: whoever waits on behalf of this call is woken and raises ``CallCancelledError``."""
        with self._lock:
            self._cancelled = True
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def raise_if_cancelled(self) -> None:
        """Stop here if the caller gave up.

        Raises:
            CallCancelledError: It did.
        """
        if self._cancelled:
            raise CallCancelledError("the caller cancelled this call")

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Have ``wake`` called on cancellation while the block runs."""
        with self._lock:
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)
