"""Retry methods that a lost connection interrupted, if nothing of them was stored."""

import inspect
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from mcp_server_embeddings.errors import ConnectionLostError
from mcp_server_embeddings.store.postgres.pool import PATIENCE_SECONDS

T = TypeVar("T", bound=type)


def retrying(protocol: type) -> Callable[[T], T]:
    """Make a class retry the methods of a protocol after a lost connection, for ``PATIENCE_SECONDS``.

    Excluded are methods that are still running while their caller works (``reading``, ``batches``), and all methods
    inside ``reading``, where all reads must see one state: there ``retryable`` is false.
    """

    def decorate(store: T) -> T:
        for name in vars(protocol):
            method = getattr(store, name)
            if name.startswith("_") or not callable(method) or inspect.isgeneratorfunction(inspect.unwrap(method)):
                continue
            setattr(store, name, _retried(method))
        return store

    return decorate


def _retried(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def run(self: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - those of the method
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return method(self, *arguments, **named)
            except ConnectionLostError:
                if not self.retryable or time.monotonic() > deadline:
                    raise

    return run
