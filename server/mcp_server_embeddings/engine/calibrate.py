"""Calibrate a model on the reference set, once per model identity."""

import functools
import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.vectors.calibration import Calibration, SearchCalibration
from mcp_server_embeddings.vectors.scores import Vectors

_log = logging.getLogger(__name__)

_COLUMNS = ("statement", "paraphrase", "related")
_SAMPLES = ("unrelated", "related", "paraphrase")

PACKAGED = Path(__file__).parent.parent / "data" / "calibration"
"""Calibrations of the default model, shipped with the package; written by ``make snapshot``."""

_LARGEST_COSINE = 1.0001
"""The cosine of equal vectors in float32, with a margin for rounding."""

C = TypeVar("C", bound=Calibration)


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The calibrations of one model.

    Attributes:
        symmetric: For comparing texts of the role ``symmetric`` with each other.
        retrieval: For comparing queries of a few words with documents.
    """

    symmetric: Calibration
    retrieval: SearchCalibration


def reference_groups() -> list[dict[str, str]]:
    """Read the reference set: groups of a statement, a paraphrase, a related statement and their subject.

    The texts were written for this project; see ``data/reference.jsonl``.
    """
    return [json.loads(line) for line in _reference_text().splitlines()]


def calibrations_for(
    identity: ModelIdentity,
    precision: Precision,
    folder: Path,
    encode: Callable[[list[str], Role], Vectors],
    packaged: Path | None = PACKAGED,
) -> Calibrations:
    """Read a model's calibrations from the package or from ``folder``, or measure them and cache them there.

    If the folder cannot be written, they are measured again at the next start.

    Args:
        identity: The model.
        precision: Precision of the encoder, which changes the scores slightly.
        folder: Cache of calibrations.
        encode: Turns texts of a role into vectors ``(n, d)``.
        packaged: Folder of the shipped calibrations; None ignores them.
    """
    reference = hashlib.sha256(_reference_text().encode()).hexdigest()
    name = f"{identity.digest[:16]}-{precision}-{reference[:8]}"
    prompts = identity.prompts

    @functools.cache
    def encoded(column: str, role: Role) -> Vectors:
        if role != "symmetric" and prompts.of(role) == prompts.symmetric:
            return encoded(column, "symmetric")  # the same vectors, so encoded once
        return encode([group[column] for group in reference_groups()], role)

    def cached(file: str, kind: type[C], measure: Callable[[], C]) -> C:
        stored = (_read(packaged / file) if packaged else None) or _read(folder / file)
        if stored is not None:
            return kind(*stored)
        measured = measure()
        _write(folder / file, measured)
        return measured

    return Calibrations(
        cached(
            f"{name}.npz",
            Calibration,
            lambda: Calibration.from_groups(*(encoded(column, "symmetric") for column in _COLUMNS)),
        ),
        cached(
            f"{name}-retrieval.npz",
            SearchCalibration,
            lambda: SearchCalibration.from_queries(
                encoded("subject", "query"), *(encoded(column, "document") for column in _COLUMNS)
            ),
        ),
    )


def _reference_text() -> str:
    return resources.files("mcp_server_embeddings").joinpath("data/reference.jsonl").read_text(encoding="utf-8")


def _read(path: Path) -> list[NDArray[np.float32]] | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            samples = [stored[sample] for sample in _SAMPLES]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        _log.warning("calibration %s cannot be read (%s); measuring again", path, type(error).__name__)
        return None
    if not all(_is_sample(sample) for sample in samples):
        _log.warning("calibration %s is corrupt; measuring again", path)
        return None
    return samples


def _is_sample(values: NDArray[np.float32]) -> bool:
    """Return whether these are one or more cosines in ascending order."""
    if values.dtype != np.float32 or values.ndim != 1 or not len(values):
        return False
    within = abs(values[0]) <= _LARGEST_COSINE and abs(values[-1]) <= _LARGEST_COSINE
    return bool(within and np.all(values[1:] >= values[:-1]))  # False if there is a NaN


def _write(path: Path, calibration: Calibration) -> None:
    try:
        with atomic_write(path) as file:
            np.savez(file, **{sample: getattr(calibration, sample) for sample in _SAMPLES})
    except OSError as error:
        _log.warning("calibration %s cannot be written (%s)", path, error.strerror)
