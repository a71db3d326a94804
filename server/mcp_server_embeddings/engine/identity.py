"""Which model a vector came from. Vectors of different identities are never compared."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mcp_server_embeddings.errors import ModelLoadError

Role = Literal["query", "document", "symmetric"]

_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
_HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Prompts:
    """The text a model wants before a text, by role; empty where it wants none."""

    query: str = ""
    document: str = ""
    symmetric: str = ""

    def of(self, role: Role) -> str:
        """The prompt of one role."""
        return {"query": self.query, "document": self.document, "symmetric": self.symmetric}[role]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything that decides a vector.

    Attributes:
        name: Hugging Face id, or the folder's name.
        sha256: Of the weights, hexadecimal.
        pooling: How token vectors become one, e.g. ``mean`` or ``cls``.
        prompts: By role.
        dimensions: Length of a vector.
        max_tokens: Tokens of one input, special tokens and prompt included; None where there is no limit.
        normalised: Whether vectors have length 1.
        matryoshka: Lengths to which vectors may be shortened; empty for a model not trained for it.
    """

    name: str
    sha256: str
    pooling: str
    prompts: Prompts
    dimensions: int
    max_tokens: int | None
    normalised: bool
    matryoshka: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def short(self) -> str:
        """The name without its owner and the first 8 digits of the digest: ``all-MiniLM-L6-v2@1a2b3c4d``."""
        return f"{self.name.rsplit('/', 1)[-1]}@{self.digest[:8]}"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights, sorted; safetensors before pickled ones.

    Optimised copies for other runtimes (``onnx/``, ``openvino/``) are not weights of this model.
    """
    for pattern in _WEIGHT_PATTERNS:
        found = sorted(path for path in folder.rglob(pattern) if path.is_file())
        if found:
            return found
    return []


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights in ``folder``: of the file, or of all files in order where there are several.

    Raises:
        ModelLoadError: There are no weights.
    """
    files = weight_files(folder)
    if not files:
        raise ModelLoadError(
            f"the folder {str(folder)!r} has no weights (model.safetensors or pytorch_model.bin); "
            "give a folder that SentenceTransformer.save wrote, or fetch the model again"
        )
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
    return digest.hexdigest()
