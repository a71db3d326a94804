"""Converted models on disk: their folders, their manifests, and how they are created.

A model is converted if the native engine cannot build its graph, and for int8 weights.
``<cache folder>/compiled/<key>/`` holds ``model.xml`` and ``model.bin`` (OpenVINO), ``tokenizer.json`` and
``manifest.json``. The key is a hash of everything that determines the content. A folder is renamed into place once it
is complete; other processes that need it wait.
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
from mcp_server_embeddings.engine.identity import ModelIdentity, files_sha256
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
"""An exact conversion is not used if a vector's cosine to that of sentence-transformers is below this."""

_FORMAT = 3
"""Version of the files; older conversions are not used."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Describes a converted model.

    Attributes:
        identity: The model.
        precision: Precision of the converted model.
        agreement: Agreement with the exact encoder, measured after conversion.
        refused: Reason why the conversion must not be used; empty if it may be used.
        sha256: Hash of the other files; empty if the conversion is refused.
    """

    identity: ModelIdentity
    precision: Precision
    agreement: Agreement
    refused: str = ""
    sha256: str = ""

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``, which must be the last file written."""
        complete = self if self.refused else replace(self, sha256=_sha256(folder))
        (folder / MANIFEST_FILE).write_text(json.dumps(asdict(complete), indent=2), encoding="utf-8")


class ConversionError(ModelLoadError):
    """A model cannot be converted; the reference encoder can still be used."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A converted model that may be used."""

    folder: Path
    manifest: Manifest
    mapped: MappedFiles


def refusal(precision: Precision, agreement: Agreement) -> str:
    """Explain why a graph with this agreement must not be used; empty if it may be used."""
    if not math.isfinite(agreement.minimum_cosine):
        return "the model's vectors are not finite when texts of different lengths are encoded together"
    if precision == "exact" and agreement.minimum_cosine < MINIMUM_COSINE:
        return (
            f"the converted model's vectors differ from those of sentence-transformers (lowest cosine "
            f"{agreement.minimum_cosine:.6f}, required {MINIMUM_COSINE})"
        )
    return ""


def artifact_folder(model: LocatedModel, precision: Precision, root: Path) -> Path:
    """Return the folder for the conversion of ``model``, which need not exist."""
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


def load_or_convert(model: LocatedModel, precision: Precision, root: Path, progress: Callable[[str], None]) -> Artifact:
    """Find the conversion of ``model``, or convert it in a child process.

    Args:
        model: The model's files.
        precision: Precision of the converted model.
        root: Folder of all conversions.
        progress: Called with each stage.

    Raises:
        ConversionError: The model cannot be converted or written, or disagrees with sentence-transformers.
    """
    folder = artifact_folder(model, precision, root)
    mapped = MappedFiles([folder / GRAPH_WEIGHTS_FILE])
    manifest = _read(folder)
    if manifest is None:
        try:
            manifest = _convert_once(model, precision, folder, progress)
            mapped = MappedFiles([folder / GRAPH_WEIGHTS_FILE])
        except OSError as error:
            raise ConversionError(
                f"the converted model cannot be written to {str(root)!r}: {error.strerror}"
            ) from error
    if manifest.refused:
        raise ConversionError(manifest.refused)
    return Artifact(folder, manifest, mapped)


def _convert_once(model: LocatedModel, precision: Precision, folder: Path, progress: Callable[[str], None]) -> Manifest:
    """Convert the model, or wait for another process that converts it."""
    make_folder(folder.parent)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), mode=0o600)
    try:
        acquired = lock.acquire(blocking=False)
    except Timeout:
        progress("waiting for another process that converts the model")
        acquired = lock.acquire()
    with acquired:
        manifest = _read(folder)
        if manifest is not None:
            return manifest
        _remove_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _run_child(model, precision, folder, progress)
        finally:
            _remove_leftovers(folder)
        manifest = _read(folder)
    if manifest is None:
        raise ConversionError(f"the conversion of {model.name!r} left nothing usable in {str(folder)!r}")
    return manifest


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of interrupted conversions."""
    for leftover in folder.parent.glob(f"{glob.escape(folder.name)}.tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)


_CHILD_SECONDS = 1800
"""Time limit. The largest model that fits a desktop converts in minutes; a corrupt one must not convert forever."""


def _run_child(model: LocatedModel, precision: Precision, folder: Path, progress: Callable[[str], None]) -> None:
    """Convert in a child process, so that this process never imports torch. The child ends with its parent."""
    progress("converting the model (once): starting")
    located = json.dumps([model.name, str(model.folder), model.sha256, model.matryoshka])
    command = [sys.executable, "-m", "mcp_server_embeddings.engine.convert", located]
    with (
        tempfile.TemporaryFile() as errors_file,
        subprocess.Popen(  # noqa: S603 - runs this program, with arguments that it built
            [*command, precision, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors_file,
            encoding="utf-8",
            errors="replace",
        ) as child,
    ):
        deadline = threading.Timer(_CHILD_SECONDS, child.kill)
        deadline.daemon = True
        deadline.start()
        for stage in child.stdout or ():
            progress(f"converting the model (once): {stage.strip()}")
        deadline.cancel()
        if child.wait() != 0:
            errors_file.seek(0)
            reason = _reason(child.returncode, errors_file.read().decode("utf-8", "replace"))
            raise ConversionError(f"model {model.name!r} does not convert: {reason}")


def _reason(status: int, errors: str) -> str:
    """Explain why a conversion failed: the signal that ended it, or the last line of its errors."""
    if status < 0:
        return (
            f"the conversion was ended by {signal.Signals(-status).name}; it needs memory, and "
            f"has {_CHILD_SECONDS // 60} minutes"
        )
    lines = errors.strip().splitlines()
    return lines[-1] if lines else f"the conversion ended with status {status}"


def _read(folder: Path) -> Manifest | None:
    """Read the manifest; None unless the folder exists and its files are intact."""
    try:
        manifest = TypeAdapter(Manifest).validate_json((folder / MANIFEST_FILE).read_bytes())
        if manifest.refused or _sha256(folder) == manifest.sha256:
            return manifest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        _log.warning("the converted model in %s cannot be read (%s)", folder, type(error).__name__)
        return None
    _log.warning("the converted model in %s is corrupt; converting again", folder)
    return None


def _sha256(folder: Path) -> str:
    return files_sha256(folder / name for name in (GRAPH_FILE, GRAPH_WEIGHTS_FILE, TOKENIZER_FILE))


def settings_digest(folder: Path) -> str:
    """Hash the small files of a model: modules, pooling, prompts, tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".txt") and path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()
