"""The engine: one model with its lifecycle, queue and cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.cache import CACHE_FILE, CacheFigures, VectorCache
from mcp_server_embeddings.engine.calibrate import calibrations_for
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.catalogue import full_id
from mcp_server_embeddings.engine.download import download
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import Agreement, LoadedEncoder
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.lifecycle import Lifecycle, LoadedModel, ModelLifecycle, ReportState, State
from mcp_server_embeddings.engine.loading import streams_for
from mcp_server_embeddings.engine.locate import locate, looks_like_path
from mcp_server_embeddings.engine.native.files import UnsupportedModelError
from mcp_server_embeddings.engine.registry import load_encoder
from mcp_server_embeddings.engine.reranker import LoadedReranker
from mcp_server_embeddings.engine.reranker_calibration import calibrated
from mcp_server_embeddings.engine.scheduler import QueueStats
from mcp_server_embeddings.engine.text_languages import TextLanguages
from mcp_server_embeddings.errors import ModelLoadError, ModelMissingError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """A snapshot of the engine for ``status``.

    Attributes:
        state: ``idle`` while no model is in memory, then ``downloading``, ``warming``, ``ready`` or ``failed``.
        detail: The current activity or the error, in a sentence; empty otherwise.
        model: The short identity; while not loaded, the configured name.
        identity: None while not loaded.
        engine: Attribute of the ``Encoder``, like the next five; while not loaded, empty or as configured.
        calibrated: Whether percentiles and bands are available.
        reranker: Name and state of the reranker, with its current activity or error; empty without a reranker.
        cache: None without a cache.
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
    note: str
    calibrated: bool
    reranker: str
    queue: QueueStats
    cache: CacheFigures | None


class Engine:
    """Serves every call through one model and one queue. Usable as a context manager.

    Nothing is loaded until ``start`` or the first call.

    Args:
        settings: The user's settings.
        load: Loads the encoder; by default the one that ``settings.engine`` names.

    Example:
        >>> with Engine(Settings()) as engine:
        ...     engine.embedder().identity().dimensions
        384
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[Settings, Callable[[str], None]], LoadedEncoder] = load_encoder,
    ) -> None:
        self.settings = settings
        self.text_languages = TextLanguages()
        self._load = load
        self._cache: VectorCache | None = None
        if not settings.no_cache:
            self._cache = VectorCache(settings.data_dir / CACHE_FILE, settings.cache_size * 1_000_000)
        idle_seconds = 60 * settings.idle_unload
        self._reranker: Lifecycle[LoadedReranker] | None = None
        if settings.reranker:
            self._reranker = Lifecycle(self._load_reranker, idle_seconds, option="--reranker")
        self._lifecycle = ModelLifecycle(self._load_model, idle_seconds, complete=self._calibrate)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._lifecycle.join()
        if self._reranker:
            self._reranker.join()

    def start(self) -> None:
        """Start loading in the background unless loading has already started. Returns at once."""
        self._lifecycle.start()
        if self._reranker:
            self._reranker.start()

    def close(self) -> None:
        """Free the model for good; waiting and later calls raise ``CallCancelledError``. Does not wait.

        If the process exits right afterwards, the model's runtime may crash it. Programs therefore use the engine as a
        context manager, which waits for its threads; the server skips finalisers instead.
        """
        self._lifecycle.close()
        if self._reranker:
            self._reranker.close()
        if self._cache:
            self._cache.close()

    def embedder(self, call: Call | None = None) -> Embedder:
        """Return the interface for one caller, who can follow progress and cancel through ``call``."""
        return Embedder(
            self._lifecycle,
            self._cache,
            call or Call(),
            self.settings.data_dir,
            self._reranker,
            self.settings.rerank_ms,
            self.text_languages,
        )

    def state(self) -> State:
        """Return the state of the model's lifecycle; never waits."""
        return self._lifecycle.snapshot()[0]

    def status(self) -> EngineStatus:
        """Return a snapshot of the engine; never waits."""
        state, detail, loaded = self._lifecycle.snapshot()
        encoder = loaded.encoder if loaded else None
        return EngineStatus(
            state=state,
            detail=detail,
            model=encoder.identity.short if encoder else self.settings.engine_model or full_id(self.settings.model),
            identity=encoder.identity if encoder else None,
            engine=encoder.engine if encoder else "",
            precision=encoder.precision if encoder else self.settings.precision,
            agreement=encoder.agreement if encoder else None,
            device=encoder.device if encoder else self.settings.engine_url or self.settings.device,
            streams=encoder.streams if encoder else 0,
            note=encoder.note if encoder else "",
            calibrated=loaded is not None and loaded.calibrations is not None,
            reranker=self._reranker_state(),
            queue=loaded.scheduler.stats() if loaded else QueueStats(),
            cache=self._cache.figures() if self._cache else None,
        )

    def _load_model(self, report: ReportState) -> LoadedModel:
        def load() -> LoadedEncoder:
            return self._load(self.settings, lambda detail: report("warming", detail))

        return LoadedModel.start(self._load_or_download(self.settings.model, load, report))

    def _load_reranker(self, report: ReportState) -> LoadedReranker:
        # Imported here because it loads the runtime, which is not needed to start the server.
        from mcp_server_embeddings.engine.cross_encoder import CrossEncoderReranker

        name, streams = self.settings.reranker, streams_for(self.settings)

        def load() -> CrossEncoderReranker:
            try:
                return CrossEncoderReranker(locate(name), streams)
            except UnsupportedModelError as error:
                raise ModelLoadError(str(error)) from error

        loaded = LoadedReranker(self._load_or_download(name, load, report))
        identity = loaded.reranker.identity
        with self._lifecycle.use(Call()) as model:
            loaded.calibration = calibrated(
                identity,
                self.settings.cache_dir / "calibration",
                lambda pairs: identity.logits(loaded.score(loaded.reranker.tokenize(pairs), model.scheduler)),
            )
        return loaded

    def _reranker_state(self) -> str:
        if self._reranker is None:
            return ""
        state, detail, _ = self._reranker.snapshot()
        return f"{full_id(self.settings.reranker)}: {state}" + (f", {detail}" if detail else "")

    def _load_or_download(self, model: str, load: Callable[[], T], report: ReportState) -> T:
        """Load a model; if it is missing and the user allowed downloads, download it first."""
        name = full_id(model)

        def report_bytes(done: int, total: int) -> None:
            report("downloading", f"downloading {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

        try:
            return load()
        except ModelMissingError:
            if not self.settings.download or looks_like_path(model):
                raise
        report("downloading", f"downloading {name}")
        download(model, report_bytes)
        report("warming", "loading the model")
        return load()

    def _calibrate(self, loaded: LoadedModel) -> None:
        # Without the cache: a calibration is cached as a whole, and its texts would evict those of callers.
        embedder = Embedder(self._lifecycle, None, Call(), self.settings.data_dir)
        loaded.calibrations = calibrations_for(
            loaded.encoder.identity,
            loaded.encoder.precision,
            self.settings.cache_dir / "calibration",
            lambda texts, role: embedder.embed(texts, role=role).vectors,
        )
