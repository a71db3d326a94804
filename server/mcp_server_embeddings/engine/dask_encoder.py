"""An encoder that sends its batches to the workers of a Dask cluster.

All other work stays in this process: files are read, cut and stored here, and workers receive inputs and return
vectors. If a worker dies, another one encodes its batch.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Literal, Protocol, Self

import numpy as np

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.dask_worker import Inputs, WantedModel, encode, prepare, version
from mcp_server_embeddings.engine.encoder import Encoder, EncoderInput, LoadedEncoder
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.registry import Load, load_encoder
from mcp_server_embeddings.errors import ConfigurationError, EmbeddingsError, WorkerError
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from mcp_server_embeddings.vectors.scores import Vectors

_CONNECT = "distributed.comm.timeouts.connect"
"""Dask's setting for the connection timeout."""

_TIMEOUTS_WITHOUT_WORKER = 3
"""Number of connection timeouts to wait for a worker: workers start after the scheduler, and restart after a crash."""

_BATCH_TOKENS = 4_096
"""Padded tokens of a task: a second on a slow core with the default model, hundreds of times the overhead of a task."""

_MIN_STREAMS, _MAX_STREAMS = 16, 256
"""Limits of the tasks in flight: two per worker, so that the next is ready when one ends, and spare for new workers."""

_ADDRESS = re.compile(r"(?:tcp|tls)://\S+:\d+")

_SAME_VERSION = f"scheduler and workers need {DISTRIBUTION} {VERSION} in the environment that starts them"

_RESUME = "what was stored is kept, and the same command continues from there"


class _Future(Protocol):
    """The part of a Dask future that is used here."""

    def result(self, timeout: float) -> Vectors: ...


class _Client(Protocol):
    """The part of a Dask client that is used here."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> object: ...

    def nthreads(self) -> Mapping[str, int]: ...

    def run(
        self, function: Callable[..., object], *args: object, on_error: Literal["return"]
    ) -> Mapping[str, str | BaseException]: ...

    def run_on_scheduler(self, function: Callable[[], str]) -> str: ...

    def submit(self, function: Callable[..., object], *args: object, pure: bool) -> _Future: ...


@contextmanager
def dask_loader(address: str) -> Iterator[Load]:
    """Stay connected to a scheduler while the block runs.

    Args:
        address: Such as ``tcp://10.0.0.5:8786``; with TLS ``tls://…``, which Dask's own settings configure.

    Yields:
        A function that loads an encoder on the scheduler's workers; see ``load_encoder``.

    Raises:
        ConfigurationError: The address is invalid, Dask is not installed, or no scheduler answers.
    """
    if not _ADDRESS.fullmatch(address):
        raise ConfigurationError(f"scheduler {address!r} is not an address; give it as tcp://10.0.0.5:8786, or tls://…")
    try:
        distributed, dask, utils = map(import_module, ("distributed", "dask", "dask.utils"))
    except ImportError:
        raise ConfigurationError(
            f"--scheduler needs Dask, which is not installed: run pip install '{DISTRIBUTION}[dask]'"
        ) from None
    if address.startswith("tls://") and not distributed.Security().get_connection_args("client").get("ssl_context"):
        raise ConfigurationError(
            f"{address!r} needs certificates; name their files by Dask's settings distributed.comm.tls.ca-file and "
            "distributed.comm.tls.client.cert and .key, or the variables DASK_DISTRIBUTED__COMM__TLS__CA_FILE and so on"
        )
    for name in ("distributed", "distributed.client"):  # errors are reported here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    seconds = float(utils.parse_timedelta(dask.config.get(_CONNECT)))
    try:
        client: _Client = distributed.Client(address, timeout=seconds, set_as_default=False)
    except OSError as error:
        raise ConfigurationError(
            f"no Dask scheduler answers at {address!r} ({error}); start one with 'dask scheduler', and give the "
            "address that it prints"
        ) from None
    with client:
        yield partial(_load, client, _TIMEOUTS_WITHOUT_WORKER * seconds)


def _load(client: _Client, timeout: float, settings: Settings, progress: Callable[[str], None]) -> LoadedEncoder:
    """Load the model in every worker, and here for its identity and its tokenizer.

    Raises:
        ConfigurationError: The settings name a server that runs the model.
        WorkerError: There are no workers, or one cannot be used.
        OperatorError: The model cannot be loaded here.
    """
    if settings.engine_url:
        raise ConfigurationError(
            "--scheduler is for models that workers load themselves; leave it out where --engine-url names a server, "
            "which has workers of its own"
        )
    progress("waiting for the workers")
    _check_scheduler(client)
    _wait_for_workers(client, timeout)
    local = load_encoder(replace(settings, device="cpu", precision="exact", threads=1), progress)
    identity = local.encoder.identity
    wanted = WantedModel(
        version=VERSION,
        model=settings.model,
        engine=settings.engine,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
        digest=identity.digest,
        short=identity.short,
    )
    progress("loading the model in the workers")
    engines = _prepare_workers(client, wanted)
    return LoadedEncoder(DaskEncoder(client, wanted, identity, engines, timeout), local.counter)


def _check_scheduler(client: _Client) -> None:
    """Reject a scheduler with another version of this package, which could not read tasks."""
    try:
        found = client.run_on_scheduler(version)
    except (ImportError, AttributeError) as error:
        raise WorkerError(f"the Dask scheduler cannot be used: {_reason(error)}") from None
    if found != VERSION:
        raise WorkerError(f"the Dask scheduler has {DISTRIBUTION} {found}; {_SAME_VERSION}")


def _wait_for_workers(client: _Client, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not client.nthreads():
        if time.monotonic() > deadline:
            raise WorkerError(
                "the Dask scheduler has no workers; start at least one on each machine, with the scheduler's address: "
                "dask worker tcp://10.0.0.5:8786"
            )
        time.sleep(0.1)


def _prepare_workers(client: _Client, wanted: WantedModel) -> list[str]:
    """Have every worker load the model; return the names of their engines."""
    engines = []
    for address, found in client.run(prepare, wanted, on_error="return").items():
        if isinstance(found, BaseException):
            raise WorkerError(f"worker {address} cannot be used: {_reason(found)}") from None
        engines.append(found)
    return engines


def _reason(error: BaseException) -> str:
    """Explain what is wrong with a scheduler or a worker, and what to do."""
    if isinstance(error, EmbeddingsError):
        return str(error)
    return f"{str(error).strip().splitlines()[0]}; {_SAME_VERSION}"


class DaskEncoder(Encoder):
    """Sends its batches to workers.

    Args:
        client: Client of the scheduler.
        wanted: The model that the workers have loaded.
        identity: Identity of the model.
        engines: Name of the engine of each worker.
        timeout: Seconds without any worker after which encoding fails.
    """

    batch_tokens = _BATCH_TOKENS

    def __init__(
        self, client: _Client, wanted: WantedModel, identity: ModelIdentity, engines: Sequence[str], timeout: float
    ) -> None:
        self.engine = "+".join(sorted(set(engines)))
        self.device = wanted.device
        self.precision = wanted.precision
        self.identity = identity
        self.streams = min(max(2 * len(engines), _MIN_STREAMS), _MAX_STREAMS)
        self._client = client
        self._wanted = wanted
        self._timeout = timeout

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch on a worker; see ``Encoder.encode``.

        Raises:
            WorkerError: The scheduler or the workers are gone, or a worker cannot be used.
        """
        from distributed import KilledWorker

        try:
            task = self._client.submit(encode, self._wanted, Inputs(inputs), pure=False)
            return np.asarray(self._result(task), np.float32)
        except (CancelledError, OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()
            raise WorkerError(f"the Dask scheduler is gone ({'; '.join(reason[:1])}); {_RESUME}") from None
        except KilledWorker as error:
            raise WorkerError(f"several workers died while they encoded the same texts ({error}); {_RESUME}") from None
        except (ImportError, AttributeError) as error:
            raise WorkerError(f"a worker that joined cannot be used: {_reason(error)}; {_RESUME}") from None

    def _result(self, task: _Future) -> Vectors:
        """Wait for the result of a task while there are workers."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return task.result(self._timeout / 2)
            except TimeoutError:
                if self._client.nthreads():
                    deadline = time.monotonic() + self._timeout
                elif time.monotonic() > deadline:
                    raise WorkerError(f"the Dask scheduler has no workers any more; {_RESUME}") from None
