"""Load a model after the handshake or on first use, and free it when it is idle."""

import ctypes
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from mcp_server_embeddings.engine.calibrate import Calibrations
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import Encoder, LoadedEncoder, TokenCounter
from mcp_server_embeddings.engine.scheduler import Scheduler
from mcp_server_embeddings.errors import (
    CallCancelledError,
    EmbeddingsError,
    ModelChangedError,
    ModelLoadError,
    OperatorError,
)

_log = logging.getLogger(__name__)

State = Literal["idle", "downloading", "warming", "ready", "failed"]
ReportState = Callable[[State, str], None]
"""Called with the state and a description of the current activity for the user."""


class Loaded(Protocol):
    """A model that a lifecycle can hold."""

    def close(self, reason: EmbeddingsError | None = None) -> None:
        """Fail waiting calls with ``reason``, by default because the engine is shutting down."""
        ...

    def join(self) -> None:
        """Wait, after ``close``, until no thread uses it any more."""
        ...


L = TypeVar("L", bound=Loaded)
T = TypeVar("T")


class Lifecycle(Generic[L]):
    """Loads a model on a separate thread, and frees it after a time without use.

    The next use retries a failed load, so a model that was downloaded in the meantime is found.

    Args:
        load: Loads the model; may take seconds.
        idle_seconds: Seconds without use after which the model is freed; 0 never frees it.
        option: The command-line option that names the model.
        complete: Called after the model is in use, for slow preparation such as calibration.
    """

    def __init__(
        self,
        load: Callable[[ReportState], L],
        idle_seconds: float,
        *,
        option: str = "--model",
        complete: Callable[[L], None] | None = None,
    ) -> None:
        self._load_model = load
        self._complete = complete
        self._idle_seconds = idle_seconds
        self._option = option
        self._changed = threading.Condition()
        self._state: State = "idle"
        self._detail = ""
        self._error: OperatorError | None = None
        self._loaded: L | None = None
        self._users = 0
        self._last_use = 0.0
        self._closed = False
        self._loaders: list[threading.Thread] = []
        self._closing: list[L] = []

    def start(self) -> None:
        """Start loading in the background unless loading has already started. Returns at once."""
        with self._changed:
            if self._closed or self._state not in ("idle", "failed"):
                return
            self._state, self._error, self._detail = "warming", None, "loading the model"
            loader = threading.Thread(target=self._run, name="model-loader", daemon=True)
            self._loaders = [*(other for other in self._loaders if other.is_alive()), loader]
            loader.start()

    def close(self) -> None:
        """Free the model for good; waiting and later uses raise ``CallCancelledError``."""
        with self._changed:
            self._closed = True
            loaded, self._loaded, self._state = self._loaded, None, "idle"
            self._changed.notify_all()
        if loaded is not None:
            loaded.close()
            self._closing.append(loaded)

    def join(self) -> None:
        """Wait, after ``close``, until all threads of this lifecycle have ended. Do not call it from one of them.

        A process that ends while a thread is still inside the model's runtime may crash.
        """
        with self._changed:
            loaders = list(self._loaders)
        for loader in loaders:
            loader.join()
        while self._closing:
            self._closing.pop().join()

    def snapshot(self) -> tuple[State, str, L | None]:
        """Return the state, the current activity, and the model if it is loaded. Never waits."""
        with self._changed:
            return self._state, self._detail, self._loaded

    @contextmanager
    def use(self, call: Call) -> Iterator[L]:
        """Keep the model in memory while the block runs; waits until it is loaded.

        Raises:
            OperatorError: The model cannot be loaded.
            CallCancelledError: The caller cancelled, or the lifecycle was closed.
        """
        with self._changed:
            self._users += 1
        try:
            loaded = self._wait(call, lambda: self._loaded)
            try:
                yield loaded
            except ModelChangedError as error:
                self._unload(loaded, error)
                raise
        finally:
            with self._changed:
                self._users -= 1
                self._last_use = time.monotonic()

    def _wait(self, call: Call, get: Callable[[], T | None]) -> T:
        """Wait until ``get`` returns a result or loading has failed, and report progress while waiting."""

        def wake() -> None:
            with self._changed:
                self._changed.notify_all()

        self.start()
        with call.on_cancel(wake), self._changed:
            while (result := get()) is None and not (self._error or self._closed or call.cancelled):
                call.stage = self._detail or "measuring the model on the reference set"
                self._changed.wait()
            call.raise_if_cancelled()
            if self._error is not None:
                raise self._error
            if result is None:
                raise CallCancelledError("the engine was closed; create a new one")
            call.stage = ""
            return result

    def _run(self) -> None:
        """Load, serve until idle, unload. A separate frame, so no local keeps the model alive."""
        self._load()
        _return_memory()

    def _load(self) -> None:
        loaded = None
        try:
            loaded = self._load_model(self._report)
            self._serve(loaded)
        except OperatorError as error:
            self._fail(error, loaded)
        except EmbeddingsError:
            _log.debug("the engine was closed while it loaded")
        # Outermost frame of a thread: waiting callers get a message. A panic in a Rust library is not an Exception.
        except BaseException as error:  # noqa: BLE001
            _log.exception("loading the model failed")
            reason = f"the model cannot be loaded ({type(error).__name__}: {error})"
            self._fail(ModelLoadError(f"{reason}; try another {self._option}, or see the server's log"), loaded)

    def _serve(self, loaded: L) -> None:
        with self._changed:
            if self._closed:
                loaded.close()
                loaded.join()
                return
            self._loaded, self._state, self._detail = loaded, "ready", ""
            self._last_use = time.monotonic()
            self._changed.notify_all()
        if self._complete is not None:
            self._complete(loaded)
            with self._changed:
                self._changed.notify_all()
        if self._idle_seconds:
            self._free_when_idle(loaded)

    def _unload(self, loaded: L, error: ModelChangedError) -> None:
        """Drop a model whose files have changed: calls in progress raise ``error``, the next call loads it again."""
        with self._changed:
            if self._loaded is loaded:
                self._loaded, self._state = None, "idle"
                self._changed.notify_all()
            self._closing.append(loaded)
        loaded.close(error)

    def _report(self, state: State, detail: str) -> None:
        with self._changed:
            self._state, self._detail = state, detail
            self._changed.notify_all()

    def _fail(self, error: OperatorError, loaded: L | None) -> None:
        """Record the error and close this thread's model; a model loaded by another thread is not affected."""
        with self._changed:
            if (loaded is None or self._loaded is loaded) and not self._closed:
                self._loaded, self._state, self._error, self._detail = None, "failed", error, str(error)
            self._changed.notify_all()
        if loaded is not None:
            loaded.close(error)
            loaded.join()

    def _free_when_idle(self, loaded: L) -> None:
        """Wait on the loader's thread until the model has been idle long enough, then free it."""
        with self._changed:
            while self._loaded is loaded:
                idle = time.monotonic() - self._last_use
                if self._users == 0 and idle >= self._idle_seconds:
                    self._loaded, self._state = None, "idle"
                    break
                self._changed.wait(max(self._idle_seconds - idle, 0.01 * self._idle_seconds))
        loaded.close()
        loaded.join()


@dataclass(slots=True)
class LoadedModel:
    """A model ready to encode, with the engine's queue; ``calibrations`` follow once they are measured."""

    encoder: Encoder
    counter: TokenCounter
    scheduler: Scheduler
    calibrations: Calibrations | None = None

    @classmethod
    def start(cls, loaded: LoadedEncoder) -> "LoadedModel":
        """Start the queue of an encoder."""
        encoder = loaded.encoder
        scheduler = Scheduler(encoder.encode, encoder.streams, encoder.batch_tokens, encoder.identity.dimensions)
        return cls(encoder, loaded.counter, scheduler)

    def close(self, reason: EmbeddingsError | None = None) -> None:
        """Close the queue; see ``Loaded.close``."""
        self.scheduler.close(reason)
        self.encoder.close()

    def join(self) -> None:
        """Wait for the queue's streams and free the encoder; see ``Loaded.join``."""
        self.scheduler.join()
        self.encoder.free()


class ModelLifecycle(Lifecycle[LoadedModel]):
    """The lifecycle of the encoder."""

    def calibrations(self, call: Call) -> Calibrations:
        """Return the model's calibrations; waits until they are measured, and raises the same errors as ``use``."""
        with self.use(call) as loaded:
            return self._wait(call, lambda: loaded.calibrations)


def _return_memory() -> None:
    """Return freed memory to the operating system, which glibc does not do by itself."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # a C library other than glibc
            return
