"""The default model's calibrations, as the package carries them."""

import tempfile
from pathlib import Path

import numpy as np

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.calibrate import PACKAGED, calibrations_for
from mcp_server_embeddings.engine.engine import Engine

DECIMALS = 5
"""Of a packaged cosine: rounding makes the files five times smaller, and moves a percentile by 0.002 at most."""


def measure_calibrations(folder: Path) -> list[Path]:
    """Measure the default model anew; the files, which are called what the engine looks for."""
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
    """Replace what the package carries."""
    PACKAGED.mkdir(exist_ok=True)
    for old in PACKAGED.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        for path in measure_calibrations(Path(folder)):
            with np.load(path) as samples:
                np.savez_compressed(PACKAGED / path.name, **{name: samples[name].round(DECIMALS) for name in samples})
