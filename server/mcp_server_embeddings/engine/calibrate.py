"""Measuring a model on the reference set, once per model identity."""

import hashlib
import json
import logging
import tempfile
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.similarity import Vectors

_log = logging.getLogger(__name__)

_COLUMNS = ("statement", "paraphrase", "related")
_SAMPLES = ("unrelated", "related", "paraphrase")


def reference_groups() -> list[dict[str, str]]:
    """The reference set: groups of a statement, a paraphrase of it and a related statement, with a subject.

    Written for this project; see ``data/reference.jsonl``.
    """
    return [json.loads(line) for line in _reference_text().splitlines()]


def calibration_for(
    identity: ModelIdentity, precision: Precision, folder: Path, encode: Callable[[list[str]], Vectors]
) -> Calibration:
    """The model's calibration: read from ``folder``, or measured and kept there.

    A folder that cannot be written costs a new measurement at the next start, never an answer.

    Args:
        identity: The model.
        precision: What its encoder computes with, which moves the scores a little.
        folder: Where calibrations are kept.
        encode: Texts to vectors ``(n, d)``.
    """
    reference = hashlib.sha256(_reference_text().encode()).hexdigest()
    path = folder / f"{identity.digest[:16]}-{precision}-{reference[:8]}.npz"
    stored = _read(path)
    if stored is not None:
        return stored
    groups = reference_groups()
    vectors = encode([group[column] for column in _COLUMNS for group in groups])
    measured = Calibration.from_groups(*np.split(vectors, len(_COLUMNS)))
    _write(path, measured)
    return measured


def _reference_text() -> str:
    return resources.files("mcp_server_embeddings").joinpath("data/reference.jsonl").read_text(encoding="utf-8")


def _read(path: Path) -> Calibration | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Calibration(*(stored[sample] for sample in _SAMPLES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("calibration %s cannot be read (%s); measuring again", path, type(error).__name__)
        return None


def _write(path: Path, calibration: Calibration) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, **{sample: getattr(calibration, sample) for sample in _SAMPLES})
        Path(file.name).replace(path)
    except OSError as error:
        _log.warning("calibration %s cannot be kept (%s)", path, error.strerror)
