"""Fixtures: the real bundled model, and models of other architectures with random weights."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder for the whole run: the model is calibrated once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def bge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the modules of bge and random weights."""
    from models import save_bge_like

    return save_bge_like(tmp_path_factory.mktemp("models") / "bge-like")


@pytest.fixture(scope="session")
def unnormalised_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with mean pooling and no Normalize, random weights."""
    from models import save_unnormalised

    return save_unnormalised(tmp_path_factory.mktemp("models") / "unnormalised")


@pytest.fixture(scope="session")
def engine(data_dir: Path) -> Iterator[Engine]:
    """The engine with the default model."""
    with Engine(Settings(data_dir=data_dir)) as engine:
        yield engine


@pytest.fixture(scope="session")
def embedder(engine: Engine) -> Embedder:
    """One caller of it."""
    return engine.embedder()


@pytest.fixture(scope="session")
def bge_embedder(bge_folder: Path, data_dir: Path) -> Iterator[Embedder]:
    """The engine with the bge-like model."""
    with Engine(Settings(model=str(bge_folder), data_dir=data_dir)) as engine:
        yield engine.embedder()


@pytest.fixture(scope="session")
def unnormalised_embedder(unnormalised_folder: Path, data_dir: Path) -> Iterator[Embedder]:
    """The engine with the unnormalised model."""
    with Engine(Settings(model=str(unnormalised_folder), data_dir=data_dir)) as engine:
        yield engine.embedder()
