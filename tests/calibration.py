"""Measure the default model's calibrations that ship with the package."""

import tempfile
from pathlib import Path

import numpy as np

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.calibrate import PACKAGED, calibrations_for
from mcp_server_embeddings.engine.engine import Engine

DECIMALS = 5
"""Decimals of a packaged cosine: rounding shrinks the files to a fifth and moves a percentile by at most 0.002."""


def measure_calibrations(folder: Path) -> list[Path]:
    """Measure the default model; return the files, named as the engine looks them up."""
    with Engine(Settings(data_dir=folder, cache_dir=folder, no_cache=True)) as engine:
        embedder = engine.embedder()
        calibrations_for(
            embedder.identity(),
            "exact",
            folder / "calibration",
            lambda texts, role: embedder.embed(texts, role=role).vectors,
            packaged=None,
        )
    return sorted((folder / "calibration").iterdir())


def write_calibrations() -> None:
    """Replace the calibrations in the package."""
    PACKAGED.mkdir(exist_ok=True)
    for old in PACKAGED.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        for path in measure_calibrations(Path(folder)):
            with np.load(path) as samples:
                np.savez_compressed(PACKAGED / path.name, **{name: samples[name].round(DECIMALS) for name in samples})
