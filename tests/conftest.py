"""Fixtures: the real bundled model, and models of other architectures with random weights."""

import atexit
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

# A shell lets its background processes ignore Ctrl-C, and children inherit this; processes of the tests must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# All tests of a run share the measurements of a model, but not with the user's own server.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="mcp-server-embeddings-tests-")
# The same holds for engine processes; those of a run end soon after it.
os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="mcp-server-embeddings-run-")
os.environ["MCP_EMBEDDINGS_IDLE_EXIT"] = "0.1"

import warm
from audit import Audit
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from rounds import Record, Rounds
from stores import STORES, OpenStore

if TYPE_CHECKING:
    from local_index import LocalIndex

# No deadline: on a busy machine an example can take any time.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

for variable in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
    atexit.register(shutil.rmtree, os.environ[variable], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Import all test modules with the garbage collector off: imports leave no garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count a test that injects a fault; see ``Record``."""
    if item.get_closest_marker("fault"):
        item.user_properties.append(("faults", 1))


@pytest.fixture(params=["short", pytest.param("long", marks=pytest.mark.harden)])
def rounds(request: pytest.FixtureRequest, record_property: Record) -> Rounds:
    """Run a random test in its short form and, in ``make harden``, its long form."""
    return Rounds(request.param == "long", record_property)


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> None:
    """Hide imported objects from the garbage collector.

    Each engine that ends collects garbage, which takes half a second for a million objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", params=["shared", "own"])
def engine_process(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the module twice: servers share an engine process, or each has its engine in its own process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCP_EMBEDDINGS_ENGINE_PROCESS", request.param)
        yield request.param


@pytest.fixture(scope="module")
def own_process() -> Iterator[None]:
    """Let each server of the module have its engine in its own process, so that tests can observe it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCP_EMBEDDINGS_ENGINE_PROCESS", "own")
        yield


@pytest.fixture(scope="module")
def warm_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the commands that the module runs in this process load each model only once."""
    site = tmp_path_factory.mktemp("site")
    warm.install(site)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("MCP_EMBEDDINGS_ENGINE", "warm")
        yield


@pytest.fixture(scope="module", params=STORES)
def open_at(request: pytest.FixtureRequest) -> OpenStore:
    """Run a test with each implementation of the store."""
    return STORES[request.param]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for the whole run, so that the model is calibrated once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def bge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the modules of BAAI/bge-base-en-v1.5 and random weights."""
    from models import save_bge_like

    return save_bge_like(tmp_path_factory.mktemp("models") / "bge-like")


@pytest.fixture(scope="session")
def converting_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that the native engine cannot build from its files, so that it must be converted."""
    from models import save_converting

    return save_converting(tmp_path_factory.mktemp("models") / "converting")


@pytest.fixture(scope="session")
def unnormalised_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with mean pooling, no Normalize module and random weights."""
    from models import save_unnormalised

    return save_unnormalised(tmp_path_factory.mktemp("models") / "unnormalised")


@pytest.fixture(scope="session")
def engine(data_dir: Path) -> Iterator[Engine]:
    """The engine with the default model."""
    with Engine(Settings(data_dir=data_dir)) as engine:
        yield engine


@pytest.fixture(scope="session")
def embedder(engine: Engine) -> Embedder:
    """An embedder of the engine with the default model."""
    return engine.embedder()


@pytest.fixture(scope="session")
def bge_embedder(bge_folder: Path, data_dir: Path) -> Iterator[Embedder]:
    """An embedder of an engine with the bge-like model."""
    with Engine(Settings(model=str(bge_folder), data_dir=data_dir)) as engine:
        yield engine.embedder()


@pytest.fixture(scope="session")
def unnormalised_embedder(unnormalised_folder: Path, data_dir: Path) -> Iterator[Embedder]:
    """An embedder of an engine with the unnormalised model."""
    with Engine(Settings(model=str(unnormalised_folder), data_dir=data_dir)) as engine:
        yield engine.embedder()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    """The wheel of this checkout."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def sdist(built: Path) -> Path:
    """The source distribution of this checkout."""
    (path,) = built.glob("*.tar.gz")
    return path


@pytest.fixture(scope="session")
def index(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> "LocalIndex":
    """A local package index with the wheel of this checkout, to install from without a download."""
    from local_index import make_index

    return make_index(tmp_path_factory.mktemp("index"), wheel)


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """A recorder of what the processes started by a test do."""
    folder = tmp_path / "audit"
    folder.mkdir()
    return Audit(folder)
