"""Model identities. Vectors of models with different identities are never compared."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mcp_server_embeddings.errors import ModelLoadError

Role = Literal["query", "document", "symmetric"]

_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prefixes that a model was trained with, by role; empty if it has none."""

    query: str = ""
    document: str = ""
    symmetric: str = ""

    def of(self, role: Role) -> str:
        """Return the prompt of one role."""
        return {"query": self.query, "document": self.document, "symmetric": self.symmetric}[role]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Everything that determines a model's vectors.

    Attributes:
        name: Hugging Face id, the folder's name, or the name of a remote model.
        dimensions: Length of a vector.
        max_tokens: Token limit of an input, including prompt and special tokens; None for no limit.
        normalised: Whether vectors have length 1.
        prompts: Prompts by role.
        matryoshka: Lengths to which vectors may be shortened; empty for a model not trained for it.
        sha256: SHA-256 of the weights, hexadecimal; empty if they are not on this machine.
        pooling: How token vectors are combined into one, e.g. ``mean`` or ``cls``; empty if unknown.
    """

    name: str
    dimensions: int
    max_tokens: int | None
    normalised: bool
    prompts: Prompts = Prompts()
    matryoshka: tuple[int, ...] = ()
    sha256: str = ""
    pooling: str = ""

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def short(self) -> str:
        """Name without owner, and 8 digits of the digest: ``all-MiniLM-L6-v2@1a2b3c4d``."""
        return f"{self.name.rsplit('/', 1)[-1]}@{self.digest[:8]}"


def weight_files(folder: Path) -> list[Path]:
    """List the files with a model's weights, sorted: safetensors, or pickled files if there are none.

    Copies for other runtimes (``onnx/``, ``openvino/``) do not match the patterns.
    """
    for pattern in _WEIGHT_PATTERNS:
        found = sorted(path for path in folder.rglob(pattern) if path.is_file())
        if found:
            return found
    return []


def weights_sha256(folder: Path) -> str:
    """Hash the weights in ``folder``; see ``files_sha256``.

    Raises:
        ModelLoadError: There are no weights.
    """
    files = weight_files(folder)
    if not files:
        raise ModelLoadError(
            f"the folder {str(folder)!r} has no weights (model.safetensors or pytorch_model.bin); "
            "pass a folder written by SentenceTransformer.save, or fetch the model again"
        )
    return files_sha256(files)


def files_sha256(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the concatenated files."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
