"""Converted models on disk: where they lie, what they say of themselves, and how they come to be.

They are made for models whose graph is not built from their files, and for int8 weights.
``<cache folder>/compiled/<key>/`` holds ``model.xml`` and ``model.bin`` (OpenVINO), ``tokenizer.json`` and
``manifest.json``. The key is made of everything that decides the content. A folder appears whole, by renaming,
or not at all; processes that need the same one at the same time wait for the first.
"""

import glob
import hashlib
import json
import logging
import math
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.catalogue import known
from mcp_server_embeddings.engine.encoder import Agreement
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.locate import LocatedModel
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.errors import ModelLoadError
from mcp_server_embeddings.private import make_folder

_log = logging.getLogger(__name__)

GRAPH_FILE = "model.xml"
GRAPH_WEIGHTS_FILE = "model.bin"
TOKENIZER_FILE = "tokenizer.json"
MANIFEST_FILE = "manifest.json"

MINIMUM_COSINE = 0.99999
"""Below this agreement with sentence-transformers an exact conversion is not used."""

_FORMAT = 2
"""Raised when what is written changes, so that older conversions are made anew."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a converted model says of itself.

    Attributes:
        identity: The model.
        precision: What it was converted for.
        agreement: Measured after conversion.
        weights_sha256: Of ``model.bin``.
        refused: Why it must not be used; empty when it may.
        others_sha256: Of ``model.xml`` and ``tokenizer.json``, one after the other.
    """

    identity: ModelIdentity
    precision: Precision
    agreement: Agreement
    weights_sha256: str
    refused: str = ""
    others_sha256: str = ""

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``, last of all files."""
        whole = self if self.refused else replace(self, others_sha256=_others_sha256(folder))
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(whole), indent=2), encoding="utf-8")


_MANIFEST = TypeAdapter(Manifest)


class ConversionError(ModelLoadError):
    """A model cannot be converted; the reference encoder still can be used."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A converted model that may be used."""

    folder: Path
    manifest: Manifest
    mapped: MappedFiles


def refusal(precision: Precision, agreement: Agreement) -> str:
    """Why a graph with this agreement must not be used; empty where it may."""
    if not math.isfinite(agreement.minimum_cosine):
        return "the model's vectors are not finite when texts of different lengths are encoded together"
    if precision == "exact" and agreement.minimum_cosine < MINIMUM_COSINE:
        return (
            f"the converted model's vectors differ from those of sentence-transformers (lowest cosine "
            f"{agreement.minimum_cosine:.6f}, wanted {MINIMUM_COSINE})"
        )
    return ""


def artifact_folder(model: LocatedModel, precision: Precision, root: Path) -> Path:
    """Where the conversion of ``model`` lies or will lie."""
    from mcp_server_embeddings.engine.runtime import runtime_key

    entry = known(model.name)
    content = {
        "format": _FORMAT,
        "name": model.name,
        "weights": model.sha256,
        "files": settings_digest(model.folder),
        "catalogue": entry.model_dump(mode="json", include={"prompts", "matryoshka_dimensions"}) if entry else None,
        "precision": precision,
        "runtime": runtime_key(),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return root / f"{model.name.rsplit('/', 1)[-1]}-{precision}-{digest[:16]}"


def converted(model: LocatedModel, precision: Precision, root: Path, note: Callable[[str], None]) -> Artifact:
    """The conversion of ``model``, made now in a child process if there is none.

    Args:
        model: Where the model lies.
        precision: What to convert for.
        root: The folder of all conversions.
        note: Told what is happening.

    Raises:
        ConversionError: It cannot be converted, disagrees with sentence-transformers, or cannot be kept.
    """
    folder = artifact_folder(model, precision, root)
    mapped = MappedFiles([folder / GRAPH_WEIGHTS_FILE])
    manifest = _read(folder)
    if manifest is None:
        try:
            manifest = _converted_by_one(model, precision, folder, note)
            mapped = MappedFiles([folder / GRAPH_WEIGHTS_FILE])
        except OSError as error:
            raise ConversionError(f"the converted model cannot be kept in {str(root)!r}: {error.strerror}") from error
    if manifest.refused:
        raise ConversionError(manifest.refused)
    return Artifact(folder, manifest, mapped)


def _converted_by_one(model: LocatedModel, precision: Precision, folder: Path, note: Callable[[str], None]) -> Manifest:
    """Convert unless another process does; then wait for it."""
    make_folder(folder.parent)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), mode=0o600)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        note("waiting for another process that converts the model")
        lock.acquire()
    try:
        manifest = _read(folder)
        if manifest is not None:
            return manifest
        _remove_left_overs(folder)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _run_child(model, precision, folder, note)
        finally:
            _remove_left_overs(folder)
        manifest = _read(folder)
    finally:
        lock.release()
    if manifest is None:
        raise ConversionError(f"the conversion of {model.name!r} left nothing usable in {str(folder)!r}")
    return manifest


def _remove_left_overs(folder: Path) -> None:
    """What conversions that did not end left behind."""
    for left_over in folder.parent.glob(f"{glob.escape(folder.name)}.tmp-*"):
        shutil.rmtree(left_over, ignore_errors=True)


_CHILD_SECONDS = 1800
"""The largest model that fits a desktop converts in some minutes; a damaged one must not convert for ever."""


def _run_child(model: LocatedModel, precision: Precision, folder: Path, note: Callable[[str], None]) -> None:
    """Convert in a child process, so that torch is never in this one. It ends when this one does."""
    note("converting the model (once): starting")
    command = [sys.executable, "-m", "mcp_server_embeddings.engine.convert", json.dumps(_as_json(model))]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603 - this program, with a folder and a name of its own
            [*command, precision, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            encoding="utf-8",
            errors="replace",
        ) as child,
    ):
        deadline = threading.Timer(_CHILD_SECONDS, child.kill)
        deadline.daemon = True
        deadline.start()
        for stage in child.stdout or ():
            note(f"converting the model (once): {stage.strip()}")
        deadline.cancel()
        if child.wait() != 0:
            complaints.seek(0)
            reason = _reason(child.returncode, complaints.read().decode("utf-8", "replace"))
            raise ConversionError(f"model {model.name!r} does not convert: {reason}")


def _reason(status: int, complaints: str) -> str:
    """Why a conversion ended: the last line it wrote, unless it was killed and that line says something else."""
    if status < 0:
        return (
            f"the conversion was ended by {signal.Signals(-status).name}; it needs memory, and "
            f"has {_CHILD_SECONDS // 60} minutes"
        )
    lines = complaints.strip().splitlines()
    return lines[-1] if lines else f"the conversion ended with status {status}"


def _as_json(model: LocatedModel) -> dict[str, object]:
    return {**asdict(model), "folder": str(model.folder)}


def _read(folder: Path) -> Manifest | None:
    """The manifest, when the folder is there and undamaged."""
    try:
        manifest = _MANIFEST.validate_json((folder / MANIFEST_FILE).read_bytes())
        if manifest.refused:
            return manifest
        with (folder / GRAPH_WEIGHTS_FILE).open("rb") as weights:
            found = hashlib.file_digest(weights, "sha256").hexdigest()
        if found == manifest.weights_sha256 and _others_sha256(folder) == manifest.others_sha256:
            return manifest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        _log.warning("the converted model in %s cannot be read (%s)", folder, type(error).__name__)
        return None
    _log.warning("the converted model in %s is damaged; converting again", folder)
    return None


def _others_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in (GRAPH_FILE, TOKENIZER_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def settings_digest(folder: Path) -> str:
    """SHA-256 over the small files of a model: modules, pooling, prompts, tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".txt") and path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
