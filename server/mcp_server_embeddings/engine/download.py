"""Download a model into the Hugging Face cache: file by file, verified, ``modules.json`` last.

Complete files are kept. huggingface_hub resumes a file after a broken connection, but not one from an earlier run:
since 1.18 every attempt has its own temporary file, removed on failure.

``snapshot_download`` is not used: on Ctrl-C it ends only when its threads are done, it neither verifies hashes nor
downloads in a fixed order, and if the hub does not answer it returns an older, perhaps incomplete snapshot.
"""

import contextlib
import errno
import hashlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.engine.catalogue import full_id, known_ids, refusal
from mcp_server_embeddings.engine.locate import MODULES_FILE
from mcp_server_embeddings.errors import DownloadError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling
    from tqdm.std import tqdm

Progress = Callable[[int, int], None]
"""Called with the bytes downloaded so far and the total."""

_SETTINGS = (".json", ".txt", ".model")
_OTHER_RUNTIMES = {"onnx", "openvino", "coreml", "gguf"}


def download(model: str, progress: Progress) -> Path:
    """Download ``model`` from the Hugging Face hub; files that are already cached are kept and verified.

    Args:
        model: Hugging Face id, or the short name of a catalogued model.
        progress: Called from this thread.

    Returns:
        The snapshot folder.

    Raises:
        DownloadError: The model does not exist or is refused, the network or the disk fails, or a file is corrupt.

    Example:
        >>> download("bge-small-en-v1.5", lambda done, total: print(f"{done:,} of {total:,} bytes"))
    """
    from huggingface_hub import errors as hub_errors

    name = full_id(model)
    if sentence := refusal(name):
        raise DownloadError(sentence)
    try:
        return _download(name, progress)
    except hub_errors.OfflineModeIsEnabled as error:
        raise DownloadError(f"cannot fetch {name!r}: HF_HUB_OFFLINE is set; unset it and run again") from error
    except hub_errors.GatedRepoError as error:
        raise DownloadError(
            f"model {name!r} is gated: accept its terms on its Hugging Face page, log in with "
            "`hf auth login`, and run again"
        ) from error
    except (hub_errors.RepositoryNotFoundError, hub_errors.HFValidationError) as error:
        hint = nearest(name, known_ids())
        raise DownloadError(f"there is no model {name!r} on the Hugging Face hub; {hint}") from error
    # HTTPError is httpx's or httpx2's, depending on the release of huggingface_hub; hf_xet raises RuntimeError.
    except (OSError, RuntimeError, hub_errors.HTTPError) as error:  # type: ignore[attr-defined]
        raise DownloadError(f"cannot fetch {name!r}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Explain the error and its remedy."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return (
            f"the Hugging Face hub answered with status {error.response.status_code}; run again later, and if "
            "you set a token, check it with `hf auth whoami`"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run again, finished files are kept"
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename!r} cannot be written ({error.strerror}); set HF_HOME to a writable folder and run again"
        )
    return (
        f"the Hugging Face hub did not answer ({type(error.__cause__ or error).__name__}); check the network "
        "and run again, finished files are kept, or pass a folder with --model"
    )


def _download(name: str, progress: Progress) -> Path:
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    info = HfApi().model_info(name, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    names = {file.rfilename for file in info.siblings or []}
    wanted = [file for file in info.siblings or [] if _is_wanted(PurePosixPath(file.rfilename), names)]
    files = sorted(wanted, key=_order)
    if not any(_is_weights(file.rfilename) for file in files):
        raise DownloadError(
            f"model {name!r} has no PyTorch weights; choose one listed by `mcp-server-embeddings models`"
        )
    total = sum(file.size or 0 for file in files)
    before = furthest = 0

    def report(done: int) -> None:
        nonlocal furthest  # hf_xet reports every byte twice: when received and when written
        furthest = max(furthest, min(done, total))
        progress(furthest, total)

    path = Path()
    for file in files:
        path = Path(hf_hub_download(name, file.rfilename, tqdm_class=_counting_bar(before, report)))
        _verify(path, file)
        before += file.size or 0
        report(before)
    if files[-1].rfilename != MODULES_FILE:
        with contextlib.suppress(RemoteEntryNotFoundError):  # if there is none, the cache records that
            hf_hub_download(name, MODULES_FILE)
    return path.parents[len(PurePosixPath(files[-1].rfilename).parts) - 1]


def _is_wanted(path: PurePosixPath, names: set[str]) -> bool:
    """Select settings, tokenizer and one set of weights per folder, but no copies for other runtimes."""
    if _OTHER_RUNTIMES & set(path.parts):
        return False
    if path.suffix == ".safetensors":
        return True
    if path.name.startswith("pytorch_model") and path.suffix == ".bin":
        return not any(PurePosixPath(n).parent == path.parent and n.endswith(".safetensors") for n in names)
    return path.suffix in _SETTINGS


def _order(file: "RepoSibling") -> tuple[bool, bool, str]:
    """Sort settings before weights, and last the file by which ``cached_folder`` recognises a complete snapshot."""
    return file.rfilename == MODULES_FILE, _is_weights(file.rfilename), file.rfilename


def _is_weights(filename: str) -> bool:
    return filename.endswith((".safetensors", ".bin"))


def _verify(path: Path, file: "RepoSibling") -> None:
    expected = file.lfs.sha256 if file.lfs else None
    if expected is None:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise DownloadError(
            f"{file.rfilename!r} arrived with SHA-256 {found}, the hub says {expected}; it was removed, run again"
        )


def _counting_bar(before: int, report: Callable[[int], None]) -> "type[tqdm[NoReturn]]":
    """Create a silent progress bar that reports bytes; huggingface_hub has no other hook for progress."""
    from tqdm.std import tqdm

    class CountingBar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *, initial: int = 0, total: int | None = None, **_: object) -> None:
            super().__init__(disable=True, total=total)
            self._done = before + initial

        def update(self, n: float | None = 1) -> bool | None:
            self._done += int(n or 0)
            report(self._done)
            return None

    return CountingBar
