"""The code that workers of a Dask cluster run: each process loads one encoder, once, and encodes clients' batches."""

import asyncio
import os
import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.lifecycle import LoadedModel, ModelLifecycle, ReportState
from mcp_server_embeddings.engine.registry import load_encoder
from mcp_server_embeddings.errors import WorkerError
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from mcp_server_embeddings.vectors.scores import Vectors


@dataclass(frozen=True, slots=True)
class WantedModel:
    """The model that a client requires its workers to load.

    Attributes:
        version: Version of this package at the client.
        model: The setting of the same name; a folder is a path on the worker.
        engine: The setting of the same name.
        device: Device on which workers encode.
        precision: Precision of their computation.
        threads: Batches that each worker encodes at once; 0 for as many as it has threads.
        digest: Digest of the model's identity at the client.
        short: That identity in short form, for messages.
    """

    version: str
    model: str
    engine: str
    device: str
    precision: Precision
    threads: int
    digest: str
    short: str


class Inputs:
    """A batch in transit, packed so that its texts appear in no log.

    Dask logs the arguments of a task that fails, and the bytes of a task that it cannot read. Arrays are not part of
    these bytes.

    Args:
        inputs: One or more.
    """

    def __init__(self, inputs: Sequence[EncoderInput]) -> None:
        self._packed = np.frombuffer(pickle.dumps(list(inputs), pickle.HIGHEST_PROTOCOL), np.uint8)

    def __repr__(self) -> str:
        return f"Inputs({len(self._packed)} bytes)"

    def unpacked(self) -> list[EncoderInput]:
        """Return the inputs."""
        inputs: list[EncoderInput] = pickle.loads(self._packed.data)  # noqa: S301 - Dask unpickles all that it receives
        return inputs


class _Worker(Protocol):
    """The part of a Dask worker that is used here."""

    @property
    def state(self) -> "_WorkerState": ...


class _WorkerState(Protocol):
    nthreads: int


_lock = threading.Lock()
_models: dict[tuple[WantedModel, int], ModelLifecycle] = {}


def version() -> str:
    """Return the version of this package."""
    return VERSION


async def prepare(wanted: WantedModel, dask_worker: _Worker) -> str:
    """Load the model and check it, on a thread, so that the worker keeps answering its scheduler.

    Returns:
        The name of the engine; see ``Encoder.engine``.

    Raises:
        WorkerError: The worker has another version or another model.
        OperatorError: The model cannot be loaded.
    """
    return await asyncio.to_thread(_engine_name, wanted, dask_worker.state.nthreads)


def encode(wanted: WantedModel, batch: Inputs) -> Vectors:
    """Encode one batch, as a Dask task. Raises the same errors as ``prepare``."""
    from distributed import get_worker

    call = Call()
    with _model(wanted, get_worker().state.nthreads).use(call) as loaded:
        _check(wanted, loaded)
        return loaded.scheduler.run(batch.unpacked(), call)


def _engine_name(wanted: WantedModel, threads: int) -> str:
    with _model(wanted, threads).use(Call()) as loaded:
        _check(wanted, loaded)
        return loaded.encoder.engine


def _model(wanted: WantedModel, threads: int) -> ModelLifecycle:
    """Return the model of this process, which is loaded on use and freed when it is idle."""
    if wanted.version != VERSION:
        raise WorkerError(
            f"it has {DISTRIBUTION} {VERSION} and the client {wanted.version}; install the same version on both"
        )
    settings = Settings(
        model=wanted.model,
        engine=wanted.engine,
        device=wanted.device,
        precision=wanted.precision,
        threads=wanted.threads or threads,
    )

    def load(report: ReportState) -> LoadedModel:
        return LoadedModel.start(load_encoder(settings, lambda detail: report("warming", detail)))

    with _lock:
        if (wanted, threads) not in _models:
            # Libraries must not report anything about the user, nor download a model that is missing here.
            os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1", HF_HUB_OFFLINE="1")
            _models[wanted, threads] = ModelLifecycle(load, 60 * settings.idle_unload)
        return _models[wanted, threads]


def _check(wanted: WantedModel, loaded: LoadedModel) -> None:
    identity = loaded.encoder.identity
    if identity.digest != wanted.digest:
        raise WorkerError(
            f"its model {wanted.model!r} is {identity.short} and the client's {wanted.short}; "
            "give both the same files, and restart the worker"
        )
