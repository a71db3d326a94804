"""Models without a transformer: the mean of one vector per token (StaticEmbedding and Model2Vec)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.engine.catalogue import prompts_for
from mcp_server_embeddings.engine.encoder import Encoder, EncoderInput
from mcp_server_embeddings.engine.identity import ModelIdentity
from mcp_server_embeddings.engine.mapped import MappedFiles
from mcp_server_embeddings.engine.native.files import (
    NORM_EPSILON,
    WEIGHTS_FILE,
    ModelFiles,
    Module,
    UnsupportedModelError,
)
from mcp_server_embeddings.engine.native.tensors import Tensor, Tensors
from mcp_server_embeddings.engine.native.tokenizer import static_tokenizer
from mcp_server_embeddings.errors import ModelLoadError
from mcp_server_embeddings.vectors.scores import Vectors

_LONG = 4096
"""From this many tokens on, equal ones are counted first, so a long text needs no more memory than the vocabulary."""


class StaticEncoder(Encoder):
    """Encodes with a table of token vectors, in numpy.

    Args:
        files: A model whose first module is a StaticEmbedding.
        mapped: Its verified weight files.

    Raises:
        UnsupportedModelError: A module other than Normalize follows.
        ModelLoadError: A file is corrupt.
    """

    engine = "static"

    def __init__(self, files: ModelFiles, mapped: MappedFiles) -> None:
        first, *rest = files.modules
        if files.unsupported:
            raise UnsupportedModelError(files.unsupported)
        if any(module.kind != "Normalize" for module in rest):
            raise UnsupportedModelError(f"modules follow its StaticEmbedding: {', '.join(m.kind for m in rest)}")
        self._mapped = mapped
        self._table = _token_vectors(first)
        self.tokenizer_json, max_tokens = static_tokenizer(first.folder)
        self.identity = ModelIdentity(
            name=files.located.name,
            sha256=files.located.sha256,
            pooling="none",
            prompts=prompts_for(files.located.name, files.prompts, files.default_prompt_name),
            dimensions=self._table.shape[1],
            max_tokens=max_tokens,
            normalised=bool(rest),
            matryoshka=files.located.shorter_dimensions,
        )

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch; see ``Encoder.encode``. The vector of a text without any known token is 0."""
        self._mapped.raise_if_changed()
        vectors = np.stack([self._mean(np.asarray(text.ids, np.int64)) for text in inputs])
        self._mapped.raise_if_changed()
        if self.identity.normalised:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(NORM_EPSILON))
        return vectors

    def _mean(self, ids: NDArray[np.int64]) -> Tensor:
        if not len(ids):
            return np.zeros(self.identity.dimensions, np.float32)
        if len(ids) < _LONG:
            mean: Tensor = self._table[ids].mean(axis=0)
            return mean
        distinct, counts = np.unique(ids, return_counts=True)
        shares: Tensor = (counts / len(ids)).astype(np.float32)
        weighted: Tensor = shares @ self._table[distinct]
        return weighted


def _token_vectors(module: Module) -> Tensor:
    """Read the table of token vectors, one row per token id.

    Files of Model2Vec may share rows (``mapping``) and weight tokens (``weights``); both are applied here.
    """
    tensors = Tensors(module.folder / WEIGHTS_FILE)
    if "embedding.weight" in tensors:
        table = tensors["embedding.weight"]
    elif "embeddings" in tensors:
        table = tensors["embeddings"]
        if "mapping" in tensors:
            table = table[tensors["mapping"].astype(np.int64)]
        if "weights" in tensors:
            table = table * tensors["weights"][:, None]
    else:
        raise ModelLoadError(f"{str(module.folder / WEIGHTS_FILE)!r} has no token vectors; fetch the model again")
    if table.ndim != 2:
        raise ModelLoadError(
            f"the token vectors have the shape {table.shape}, expected two axes; fetch the model again"
        )
    return table
