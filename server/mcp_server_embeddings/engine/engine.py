"""The engine: one model of a process, from its loading to the vectors of each call."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.calibrate import calibration_for
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.catalogue import full_id
from mcp_server_embeddings.engine.download import download
from mcp_server_embeddings.engine.encoder import Encoder
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.engine.locate import locate, looks_like_path
from mcp_server_embeddings.engine.reference import ReferenceEncoder
from mcp_server_embeddings.engine.scheduler import QueueFigures, Scheduler
from mcp_server_embeddings.engine.tokens import LongText, TextTokenizer, TokenizedText
from mcp_server_embeddings.errors import (
    CallCancelledError,
    EmbeddingsError,
    ModelLoadError,
    ModelMissingError,
    OperatorError,
)
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.shape import joined_windows
from mcp_server_embeddings.vectors.similarity import Vectors

_log = logging.getLogger(__name__)

State = Literal["idle", "downloading", "warming", "ready", "failed"]

_BATCH_TOKENS = 512
"""Padded tokens of a batch: near-best throughput on CPUs (256 to 1,024 measure alike), and the longest a
small call waits for a large one: about 0.2 s with the default model on one core."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one call.

    Attributes:
        vectors: Shape ``(n, d)``, float32, one row a text.
        tokens: Tokens the model reads for these texts.
        windowed: Positions of texts cut into windows.
        truncated: Positions of texts whose end was not read.
    """

    vectors: Vectors
    tokens: int
    windowed: tuple[int, ...]
    truncated: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot for ``status``.

    Attributes:
        state: ``idle`` before the first need, then ``downloading``, ``warming``, ``ready`` or ``failed``.
        detail: What is happening or what went wrong, in a sentence; empty when all is well.
        model: As configured.
        identity: Known once loaded.
        engine: The runtime; empty until loaded.
        device: Where it runs.
        calibrated: Whether percentiles and bands are ready.
        queue: Figures of the inference queue.
    """

    state: State
    detail: str
    model: str
    identity: ModelIdentity | None
    engine: str
    device: str
    calibrated: bool
    queue: QueueFigures


@dataclass(slots=True)
class LoadedModel:
    """A model ready to encode; ``calibration`` follows once it is measured."""

    encoder: Encoder
    tokenizer: TextTokenizer
    scheduler: Scheduler
    calibration: Calibration | None = None


class Engine:
    """Loads the model on a thread of its own and serves every call through one queue.

    Nothing happens until ``start`` or the first call. A load that failed is tried again by the next call, so
    a model that was pulled meanwhile is found. Usable as a context manager.

    Args:
        settings: What the user chose.
        load_encoder: Makes the encoder; by default finds the model and loads sentence-transformers.
    """

    def __init__(self, settings: Settings, load_encoder: Callable[[Settings], Encoder] | None = None) -> None:
        self.settings = settings
        self._load_encoder = load_encoder or _reference_encoder
        self._changed = threading.Condition()
        self._state: State = "idle"
        self._detail = ""
        self._error: OperatorError | None = None
        self._loaded: LoadedModel | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin loading in the background, unless that has begun. Returns at once."""
        with self._changed:
            if self._state not in ("idle", "failed"):
                return
            self._state, self._error, self._detail = "warming", None, "loading the model"
        threading.Thread(target=self._load, name="model-loader", daemon=True).start()

    def close(self) -> None:
        """Stop the queue; waiting calls raise ``CallCancelledError``."""
        with self._changed:
            loaded, self._loaded, self._state = self._loaded, None, "idle"
        if loaded is not None:
            loaded.scheduler.close()

    def embedder(self, call: Call | None = None) -> "Embedder":
        """The engine as seen by one caller, who may watch progress and cancel through ``call``."""
        return Embedder(self, call or Call())

    def status(self) -> EngineStatus:
        """A snapshot; never waits."""
        with self._changed:
            loaded = self._loaded
            return EngineStatus(
                state=self._state,
                detail=self._detail,
                model=full_id(self.settings.model),
                identity=loaded.encoder.identity if loaded else None,
                engine=loaded.encoder.engine if loaded else "",
                device=loaded.encoder.device if loaded else self.settings.device,
                calibrated=loaded is not None and loaded.calibration is not None,
                queue=loaded.scheduler.figures() if loaded else QueueFigures(0, 0, 0, 0),
            )

    def loaded(self, call: Call) -> LoadedModel:
        """The model, once it is loaded; starts the loading if nothing has.

        Raises:
            OperatorError: It cannot be loaded.
            CallCancelledError: The caller cancelled.
        """
        self._wait(call, lambda: self._loaded is not None)
        if self._loaded is None:
            raise CallCancelledError("the engine was closed")
        return self._loaded

    def calibration(self, call: Call) -> Calibration:
        """The model's calibration, once it is measured; raises as ``loaded``."""
        loaded = self.loaded(call)
        self._wait(call, lambda: loaded.calibration is not None)
        if loaded.calibration is None:
            raise CallCancelledError("the engine was closed")
        return loaded.calibration

    def _load(self) -> None:
        try:
            encoder = self._encoder()
        except OperatorError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the waiting callers get a sentence
            _log.exception("loading the model failed")
            self._fail(
                ModelLoadError(
                    f"model {self.settings.model!r} cannot be loaded ({type(error).__name__}: {error}); try "
                    "another --model, or see the server's log"
                )
            )
        else:
            loaded = LoadedModel(
                encoder,
                TextTokenizer(encoder.tokenizer_json, encoder.identity.prompts, encoder.identity.max_tokens),
                Scheduler(encoder.encode, streams=1, batch_tokens=_BATCH_TOKENS),
            )
            with self._changed:
                self._loaded, self._state, self._detail = loaded, "ready", ""
                self._changed.notify_all()
            self._calibrate(loaded)

    def _encoder(self) -> Encoder:
        try:
            return self._load_encoder(self.settings)
        except ModelMissingError:
            if not self.settings.download or looks_like_path(self.settings.model):
                raise
        self._note("downloading", f"downloading {full_id(self.settings.model)}")
        download(self.settings.model, self._downloaded)
        self._note("warming", "loading the model")
        return self._load_encoder(self.settings)

    def _downloaded(self, done: int, total: int) -> None:
        name = full_id(self.settings.model)
        self._note("downloading", f"downloading {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    def _note(self, state: State, detail: str) -> None:
        with self._changed:
            self._state, self._detail = state, detail
            self._changed.notify_all()

    def _fail(self, error: OperatorError) -> None:
        with self._changed:
            self._state, self._error, self._detail = "failed", error, str(error)
            self._changed.notify_all()

    def _calibrate(self, loaded: LoadedModel) -> None:
        embedder = self.embedder()
        try:
            calibration = calibration_for(
                loaded.encoder.identity,
                self.settings.data_dir / "calibration",
                lambda texts: embedder.embed(texts).vectors,
            )
        except EmbeddingsError:  # closed while measuring
            return
        with self._changed:
            loaded.calibration = calibration
            self._changed.notify_all()

    def _wait(self, call: Call, ready: Callable[[], bool]) -> None:
        """Wait until ``ready`` holds or loading has failed; say meanwhile what is happening."""

        def wake() -> None:
            with self._changed:
                self._changed.notify_all()

        self.start()
        with call.waking(wake), self._changed:
            while not ready() and self._error is None and not call.cancelled:
                call.stage = self._detail or "measuring the model on the reference set"
                self._changed.wait()
            call.raise_if_cancelled()
            if self._error is not None:
                raise self._error
            call.stage = ""


@dataclass(frozen=True, slots=True)
class Embedder:
    """The engine as seen by one caller. What every tool takes."""

    engine: Engine
    call: Call

    def embed(self, texts: Sequence[str], *, role: Role = "symmetric", long_text: LongText = "window") -> Embeddings:
        """Turn texts into vectors; the same text twice is encoded once.

        Waits for the model if it is still loading.

        Args:
            texts: One or more, each with a character that is not white space.
            role: Picks the model's prompt.
            long_text: What becomes of a text over the model's limit: ``window`` averages overlapping
                windows by their tokens, ``truncate`` reads its beginning, ``error`` refuses it.

        Returns:
            One vector a text; a text within the limit has the vector sentence-transformers gives it.

        Raises:
            TextTooLongError: See ``long_text``.
            OperatorError: The model is missing or cannot be loaded.
            CallCancelledError: The caller cancelled; work stops at the next batch.
        """
        loaded = self.engine.loaded(self.call)
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        plans = loaded.tokenizer.tokenize(list(distinct), role, long_text)
        pieces = [piece for plan in plans for piece in plan.pieces]
        self.call.total += len(pieces)
        encoded = loaded.scheduler.run(pieces, self.call)
        vectors = _joined(plans, encoded, normalised=loaded.encoder.identity.normalised)
        of_text = [plans[distinct[text]] for text in texts]
        return Embeddings(
            vectors=vectors[[distinct[text] for text in texts]],
            tokens=sum(plan.tokens for plan in of_text),
            windowed=tuple(i for i, plan in enumerate(of_text) if plan.windowed),
            truncated=tuple(i for i, plan in enumerate(of_text) if plan.truncated),
        )

    def identity(self) -> ModelIdentity:
        """Which model this is; waits until it is loaded."""
        return self.engine.loaded(self.call).encoder.identity

    def calibration(self) -> Calibration:
        """What a cosine means under this model; waits until it is measured."""
        return self.engine.calibration(self.call)

    def status(self) -> EngineStatus:
        """A snapshot of the engine; never waits."""
        return self.engine.status()


def _joined(plans: list[TokenizedText], encoded: Vectors, *, normalised: bool) -> Vectors:
    """One row a text from one row a piece."""
    if not any(plan.windowed for plan in plans):
        return encoded
    starts = np.cumsum([0, *(len(plan.pieces) for plan in plans)])
    rows = [
        joined_windows(encoded[start : start + len(plan.pieces)], list(plan.weights), normalised=normalised)
        if plan.windowed
        else encoded[start : start + 1]
        for start, plan in zip(starts, plans, strict=False)
    ]
    return np.concatenate(rows)


def _reference_encoder(settings: Settings) -> Encoder:
    return ReferenceEncoder(locate(settings.model), settings.device, settings.threads)
