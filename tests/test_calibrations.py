"""Calibrations kept on disk: read again when sound, measured again when not."""

from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.engine.calibrate import Calibrations, calibrations_for
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.vectors.scores import Vectors

IDENTITY = ModelIdentity(name="random", dimensions=16, max_tokens=256, normalised=True)
SAMPLES = ("unrelated", "related", "paraphrase")


class Measured:
    """Random vectors, and how often they were asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: list[str], role: Role) -> Vectors:
        self.calls += 1
        return np.random.default_rng(len(role)).normal(size=(len(texts), 16)).astype(np.float32)


def calibrated(folder: Path) -> tuple[Calibrations, int]:
    """The calibrations, and how many columns were encoded for them."""
    encode = Measured()
    return calibrations_for(IDENTITY, "exact", folder, encode), encode.calls


def assert_equal(left: Calibrations, right: Calibrations) -> None:
    for sample in SAMPLES:
        np.testing.assert_array_equal(getattr(left.symmetric, sample), getattr(right.symmetric, sample))
        np.testing.assert_array_equal(getattr(left.retrieval, sample), getattr(right.retrieval, sample))


def test_a_calibration_is_measured_once(tmp_path: Path) -> None:
    first, calls = calibrated(tmp_path)
    again, calls_again = calibrated(tmp_path)
    assert (calls, calls_again) == (4, 0)
    assert_equal(first, again)


SOUND = np.linspace(-0.5, 0.9, 50, dtype=np.float32)
UNSOUND = {
    "not a number": np.append(SOUND, np.float32(np.nan)),
    "infinite": np.append(SOUND, np.float32(np.inf)),
    "empty": SOUND[:0],
    "descending": SOUND[::-1],
    "a table": SOUND[None, :],
    "a single number": SOUND[0],
    "no cosine": 2 * SOUND,
    "text": np.array(["a", "b"]),
    "complex": SOUND.astype(np.complex64),
    "other floats": SOUND.astype(np.float64),
}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("values", UNSOUND.values(), ids=UNSOUND.keys())
def test_a_damaged_calibration_is_measured_again(
    values: np.ndarray, sample: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = calibrated(tmp_path)
    path = next(path for path in tmp_path.iterdir() if "retrieval" not in path.name)
    kept = {name: getattr(first.symmetric, name) for name in SAMPLES}
    np.savez(path, **{**kept, sample: values})
    again, calls = calibrated(tmp_path)
    assert calls == 3
    assert_equal(first, again)
    assert f"calibration {path} is corrupt" in caplog.text
    assert calibrated(tmp_path)[1] == 0
