"""When the model is in memory: loaded after the handshake or on need, freed when idle."""

import ctypes
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from mcp_server_embeddings.engine.calibrate import Calibrations
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import Encoder
from mcp_server_embeddings.engine.scheduler import Scheduler
from mcp_server_embeddings.engine.tokens import TextTokenizer
from mcp_server_embeddings.errors import (
    CallCancelledError,
    EmbeddingsError,
    ModelChangedError,
    ModelLoadError,
    OperatorError,
)

_log = logging.getLogger(__name__)

State = Literal["idle", "downloading", "warming", "ready", "failed"]
Note = Callable[[State, str], None]
"""Told the state and what is happening, for a person."""

_BATCH_TOKENS = 512
"""Padded tokens of a batch. 256 to 1,024 measure alike in throughput (docs/benchmarks.md); it is also the
longest that a small call waits for a large one."""


@dataclass(slots=True)
class LoadedModel:
    """A model ready to encode; ``calibrations`` follow once they are measured."""

    encoder: Encoder
    tokenizer: TextTokenizer
    scheduler: Scheduler
    calibrations: Calibrations | None = None


class Lifecycle:
    """Loads the model on a thread of its own, and frees it after a time without use.

    A load that failed is tried again by the next use, so a model that was pulled meanwhile is found.

    Args:
        load: Makes the encoder; may take seconds.
        calibrate: Measures a loaded model.
        idle_seconds: Free the model after this long without use; 0 keeps it.
    """

    def __init__(
        self, load: Callable[[Note], Encoder], calibrate: Callable[[LoadedModel], Calibrations], idle_seconds: float
    ) -> None:
        self._load_encoder = load
        self._measure = calibrate
        self._idle_seconds = idle_seconds
        self._changed = threading.Condition()
        self._state: State = "idle"
        self._detail = ""
        self._error: OperatorError | None = None
        self._loaded: LoadedModel | None = None
        self._users = 0
        self._last_use = 0.0
        self._closed = False
        self._loaders: list[threading.Thread] = []
        self._ending: list[Scheduler] = []

    def start(self) -> None:
        """Begin loading in the background, unless that has begun. Returns at once."""
        with self._changed:
            if self._closed or self._state not in ("idle", "failed"):
                return
            self._state, self._error, self._detail = "warming", None, "loading the model"
            loader = threading.Thread(target=self._live, name="model-loader", daemon=True)
            self._loaders = [*(other for other in self._loaders if other.is_alive()), loader]
            loader.start()

    def close(self) -> None:
        """Free the model for good; whoever waits for a result, and every later use, raises ``CallCancelledError``."""
        with self._changed:
            self._closed = True
            loaded, self._loaded, self._state = self._loaded, None, "idle"
            self._changed.notify_all()
        if loaded is not None:
            loaded.scheduler.close()
            self._ending.append(loaded.scheduler)

    def join(self) -> None:
        """Wait, after ``close``, until no thread of this engine is left; not from one of them.

        A process that ends while one is still inside the model's runtime is killed by it.
        """
        with self._changed:
            loaders = list(self._loaders)
        for loader in loaders:
            loader.join()
        while self._ending:
            self._ending.pop().join()

    def snapshot(self) -> tuple[State, str, LoadedModel | None]:
        """State, what is happening, and the model if it is loaded. Never waits."""
        with self._changed:
            return self._state, self._detail, self._loaded

    @contextmanager
    def use(self, call: Call) -> Iterator[LoadedModel]:
        """The model, kept in memory while the block runs; waits until it is loaded.

        Raises:
            OperatorError: It cannot be loaded.
            CallCancelledError: The caller cancelled.
        """
        with self._changed:
            self._users += 1
        try:
            self._wait(call, lambda: self._loaded is not None)
            loaded = self._loaded
            if loaded is None:
                raise CallCancelledError("the engine was closed; make a new one")
            try:
                yield loaded
            except ModelChangedError as error:
                self._unload(loaded, error)
                raise
        finally:
            with self._changed:
                self._users -= 1
                self._last_use = time.monotonic()

    def calibrations(self, call: Call) -> Calibrations:
        """The model's calibrations, once they are measured; raises as ``use``."""
        with self.use(call) as loaded:
            self._wait(call, lambda: loaded.calibrations is not None)
            if loaded.calibrations is None:
                raise CallCancelledError("the engine was closed; make a new one")
            return loaded.calibrations

    def _wait(self, call: Call, ready: Callable[[], bool]) -> None:
        """Wait until ``ready`` holds or loading has failed; say meanwhile what is happening."""

        def wake() -> None:
            with self._changed:
                self._changed.notify_all()

        self.start()
        with call.waking(wake), self._changed:
            while not (ready() or self._error or self._closed or call.cancelled):
                call.stage = self._detail or "measuring the model on the reference set"
                self._changed.wait()
            call.raise_if_cancelled()
            if self._error is not None:
                raise self._error
            call.stage = ""

    def _live(self) -> None:
        """Load, serve until idle, unload. A separate frame, so no local keeps the model alive."""
        self._load()
        _return_memory()

    def _load(self) -> None:
        loaded = None
        try:
            loaded = _ready(self._load_encoder(self._note))
            self._serve(loaded)
        except OperatorError as error:
            self._fail(error, loaded)
        except EmbeddingsError:
            _log.debug("the engine was closed while it loaded")
        # The edge of a thread: the waiting callers get a sentence. A panic of a library in Rust is no Exception.
        except BaseException as error:  # noqa: BLE001
            _log.exception("loading the model failed")
            reason = f"the model cannot be loaded ({type(error).__name__}: {error})"
            self._fail(ModelLoadError(f"{reason}; try another --model, or see the server's log"), loaded)

    def _serve(self, loaded: LoadedModel) -> None:
        with self._changed:
            if self._closed:
                loaded.scheduler.close()
                loaded.scheduler.join()
                return
            self._loaded, self._state, self._detail = loaded, "ready", ""
            self._last_use = time.monotonic()
            self._changed.notify_all()
        calibrations = self._measure(loaded)
        with self._changed:
            loaded.calibrations = calibrations
            self._changed.notify_all()
        if self._idle_seconds:
            self._free_when_idle(loaded)

    def _unload(self, loaded: LoadedModel, error: ModelChangedError) -> None:
        """Drop a model that must not be used any more: calls in progress raise ``error``, the next loads it again."""
        with self._changed:
            if self._loaded is loaded:
                self._loaded, self._state = None, "idle"
                self._changed.notify_all()
            self._ending.append(loaded.scheduler)
        loaded.scheduler.close(error)

    def _note(self, state: State, detail: str) -> None:
        with self._changed:
            self._state, self._detail = state, detail
            self._changed.notify_all()

    def _fail(self, error: OperatorError, loaded: LoadedModel | None) -> None:
        """End what this thread began; if another thread has loaded the model again meanwhile, that one stays."""
        with self._changed:
            if (loaded is None or self._loaded is loaded) and not self._closed:
                self._loaded, self._state, self._error, self._detail = None, "failed", error, str(error)
            self._changed.notify_all()
        if loaded is not None:
            loaded.scheduler.close(error)
            loaded.scheduler.join()

    def _free_when_idle(self, loaded: LoadedModel) -> None:
        """Sleep until the model has been idle long enough; on the loader's thread, which has nothing left to do."""
        with self._changed:
            while self._loaded is loaded:
                idle = time.monotonic() - self._last_use
                if self._users == 0 and idle >= self._idle_seconds:
                    self._loaded, self._state = None, "idle"
                    break
                self._changed.wait(max(self._idle_seconds - idle, 0.01 * self._idle_seconds))
        loaded.scheduler.close()
        loaded.scheduler.join()


def _ready(encoder: Encoder) -> LoadedModel:
    identity = encoder.identity
    return LoadedModel(
        encoder,
        TextTokenizer(encoder.tokenizer_json, identity.prompts, identity.max_tokens),
        Scheduler(encoder.encode, encoder.streams, _BATCH_TOKENS, identity.dimensions),
    )


def _return_memory() -> None:
    """Give freed memory back to the system; glibc keeps it otherwise."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return
