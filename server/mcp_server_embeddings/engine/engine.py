"""The engine: one model of a process, its lifecycle, its queue and its cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.cache import CacheFigures, VectorCache
from mcp_server_embeddings.engine.calibrate import Calibrations, calibrations_for
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.catalogue import full_id
from mcp_server_embeddings.engine.download import download
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import Agreement, Encoder
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.lifecycle import Lifecycle, LoadedModel, Note, State
from mcp_server_embeddings.engine.loading import load_encoder
from mcp_server_embeddings.engine.locate import looks_like_path
from mcp_server_embeddings.engine.scheduler import QueueFigures
from mcp_server_embeddings.errors import ModelMissingError


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot for ``status``.

    Attributes:
        state: ``idle`` while no model is in memory, then ``downloading``, ``warming``, ``ready`` or ``failed``.
        detail: What is happening or what went wrong, in a sentence; empty when all is well.
        model: As configured.
        identity: Known while loaded.
        engine: ``compiled`` or ``reference``; empty while not loaded.
        precision: What it computes with.
        agreement: With sentence-transformers, of a compiled model.
        device: Where it runs.
        streams: Batches encoded at once; 0 while not loaded.
        calibrated: Whether percentiles and bands are ready.
        queue: Figures of the inference queue.
        cache: Figures of the cache; None without one.
    """

    state: State
    detail: str
    model: str
    identity: ModelIdentity | None
    engine: str
    precision: Precision
    agreement: Agreement | None
    device: str
    streams: int
    calibrated: bool
    queue: QueueFigures
    cache: CacheFigures | None


class Engine:
    """Serves every call through one model and one queue. Usable as a context manager.

    Nothing happens until ``start`` or the first call.

    Args:
        settings: What the user chose.
        load: Makes the encoder; by default finds the model, converts it once, and loads it.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[Settings, Callable[[str], None]], Encoder] = load_encoder,
    ) -> None:
        self.settings = settings
        self._load = load
        self._cache = None if settings.no_cache else _cache(settings)
        self._lifecycle = Lifecycle(self._encoder, self._calibrations, 60 * settings.idle_unload)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._lifecycle.join()

    def start(self) -> None:
        """Begin loading in the background, unless that has begun. Returns at once."""
        self._lifecycle.start()

    def close(self) -> None:
        """Free the model for good; waiting and later calls raise ``CallCancelledError``. Does not wait.

        A process that ends right after may be killed by the model's runtime, so a program uses the engine as a context
        manager, whose end waits until no thread is left in it; the server leaves without finalisers instead.
        """
        self._lifecycle.close()
        if self._cache is not None:
            self._cache.close()

    def embedder(self, call: Call | None = None) -> Embedder:
        """The engine as seen by one caller, who may watch progress and cancel through ``call``."""
        return Embedder(self._lifecycle, self._cache, call or Call(), self.settings.data_dir)

    def status(self) -> EngineStatus:
        """A snapshot; never waits."""
        state, detail, loaded = self._lifecycle.snapshot()
        encoder = loaded.encoder if loaded else None
        return EngineStatus(
            state=state,
            detail=detail,
            model=full_id(self.settings.model),
            identity=encoder.identity if encoder else None,
            engine=encoder.engine if encoder else "",
            precision=encoder.precision if encoder else self.settings.precision,
            agreement=encoder.agreement if encoder else None,
            device=encoder.device if encoder else self.settings.device,
            streams=encoder.streams if encoder else 0,
            calibrated=loaded is not None and loaded.calibrations is not None,
            queue=loaded.scheduler.figures() if loaded else QueueFigures(0, 0, 0, 0),
            cache=self._cache.figures() if self._cache else None,
        )

    def _encoder(self, note: Note) -> Encoder:
        """Load the model; fetch it first where the user allowed that."""
        name = full_id(self.settings.model)

        def warming(detail: str) -> None:
            note("warming", detail)

        def downloaded(done: int, total: int) -> None:
            note("downloading", f"downloading {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

        try:
            return self._load(self.settings, warming)
        except ModelMissingError:
            if not self.settings.download or looks_like_path(self.settings.model):
                raise
        note("downloading", f"downloading {name}")
        download(self.settings.model, downloaded)
        warming("loading the model")
        return self._load(self.settings, warming)

    def _calibrations(self, loaded: LoadedModel) -> Calibrations:
        folder = self.settings.cache_dir / "calibration"
        # Without the cache: a calibration is kept as a whole, and would push out what callers ask for.
        embedder = Embedder(self._lifecycle, None, Call(), self.settings.data_dir)
        return calibrations_for(
            loaded.encoder.identity,
            loaded.encoder.precision,
            folder,
            lambda texts, role: embedder.embed(texts, role=role).vectors,
        )


def _cache(settings: Settings) -> VectorCache:
    return VectorCache(settings.data_dir / "cache.sqlite", settings.cache_size * 1_000_000)
