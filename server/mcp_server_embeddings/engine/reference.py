"""The reference encoder: sentence-transformers itself, against which every other encoder is measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mcp_server_embeddings.engine.catalogue import prompts_for
from mcp_server_embeddings.engine.encoder import Encoder, EncoderInput
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.engine.locate import LocatedModel, verify_weights
from mcp_server_embeddings.errors import ModelLoadError
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.vectors.scores import Vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_UNLIMITED = 1_000_000
"""Limits above this mean no limit: a tokenizer without one reports a huge number, and no text has this many tokens."""


class ReferenceEncoder(Encoder):
    """Encodes with ``SentenceTransformer.encode``.

    Loading takes seconds and imports torch, so construct it on a background thread.

    Attributes:
        model: The ``SentenceTransformer``.
        tokenizer_json: Its tokenizer in the format of the ``tokenizers`` library.

    Args:
        model: The model's files.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        threads: CPU threads of one batch.

    Raises:
        ModelLoadError: The device is not available, sentence-transformers is not installed, or the weights have a
            different hash.
    """

    engine = "reference"

    def __init__(self, model: LocatedModel, device: str, threads: int) -> None:
        # Imported here because they take seconds to import, and the handshake comes first.
        try:
            import torch
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging as transformers_logging
        except ModuleNotFoundError as error:
            raise _missing_package(error, model, device) from error

        mapped = model.mapped_files()
        verify_weights(model)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        torch.set_num_threads(threads)
        self.device = _check_device(device)
        # transformers would compute in 16 bits if the weights are stored so. With float32, "exact" means the same on
        # every engine, and a CPU is faster.
        self.model = SentenceTransformer(
            str(model.folder), device=self.device, local_files_only=True, model_kwargs={"dtype": torch.float32}
        )
        mapped.raise_if_changed()
        self.identity = _identity(model, self.model)
        self.tokenizer_json = _tokenizer_json(self.model)

    @property
    def pools_prompts(self) -> bool:
        """Whether the prompt's tokens are part of the vector, as in nearly all models."""
        poolings = [module for module in self.model if type(module).__name__ == "Pooling"]
        return all(bool(module.include_prompt) for module in poolings)

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``."""
        vectors = np.empty((len(inputs), self.identity.dimensions), dtype=np.float32)
        for role in sorted({text.role for text in inputs}):
            rows = [row for row, text in enumerate(inputs) if text.role == role]
            vectors[rows] = self._encode([inputs[row].text for row in rows], role)
        return vectors

    def _encode(self, texts: list[str], role: Role) -> Vectors:
        return self.model.encode(
            texts,
            prompt=self.identity.prompts.of(role),
            batch_size=len(texts),
            show_progress_bar=False,
            task=None if role == "symmetric" else role,
        )


def _missing_package(error: ModuleNotFoundError, model: LocatedModel, device: str) -> ModelLoadError:
    """Explain what needs sentence-transformers, when the program was installed without it."""
    return ModelLoadError(
        f"model {model.name!r} on {device!r} needs sentence-transformers and PyTorch, which are not installed (no "
        f"module {error.name!r}); so do --engine reference, --device cuda and mps, and every model that must be "
        f"converted. Leave these options out, choose another model ({DISTRIBUTION} models), or install both: "
        f"pip install sentence-transformers, or with uv {DISTRIBUTION} again, without --overrides"
    )


def _check_device(device: str) -> str:
    import torch

    kind, _, index = device.partition(":")
    if kind == "cuda" and not (torch.cuda.is_available() and int(index or 0) < torch.cuda.device_count()):
        raise ModelLoadError(
            f"device {device!r} is not usable: PyTorch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices; start with --device cpu or install a CUDA build"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ModelLoadError(
            f"device 'mps' is not usable with PyTorch {torch.__version__} on this machine; start with --device cpu"
        )
    return device


def _identity(located: LocatedModel, model: "SentenceTransformer") -> ModelIdentity:
    kinds = [type(module).__name__ for module in model]
    dimensions = model.get_embedding_dimension()
    if dimensions is None:
        raise ModelLoadError(f"model {located.name!r} does not declare the length of its vectors; use another model")
    return ModelIdentity(
        name=located.name,
        sha256=located.sha256,
        pooling=next((str(module.pooling_mode) for module in model if type(module).__name__ == "Pooling"), "none"),
        prompts=prompts_for(located.name, model.prompts, model.default_prompt_name),
        dimensions=dimensions,
        max_tokens=_token_limit(model),
        normalised=kinds[-1] == "Normalize" and model.truncate_dim is None,
        matryoshka=located.shorter_dimensions,
    )


def _token_limit(model: "SentenceTransformer") -> int | None:
    """Return the token limit of one input; in a static model, only the tokenizer has one."""
    limit = model.max_seq_length
    truncation = getattr(model.tokenizer, "truncation", None)
    if isinstance(truncation, dict):
        limit = truncation.get("max_length")
    return None if limit is None or limit > _UNLIMITED else int(limit)


def _tokenizer_json(model: "SentenceTransformer") -> str:
    tokenizer = model.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return str(backend.to_str())
