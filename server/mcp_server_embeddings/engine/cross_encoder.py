"""A reranker that runs a cross-encoder's native graph on OpenVINO."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.locate import LocatedModel, verify_weights
from mcp_server_embeddings.engine.native.classifier import native_cross_encoder
from mcp_server_embeddings.engine.reranker import Pair
from mcp_server_embeddings.engine.runtime import CompiledGraph


class CrossEncoderReranker:
    """Scores pairs as ``sentence_transformers.CrossEncoder.predict`` does.

    Args:
        located: A cross-encoder on disk.
        streams: Number of batches that may run at once, each on one thread.

    Raises:
        UnsupportedModelError: The native engine does not support the model.
        ModelLoadError: A file is corrupt, inconsistent with another, or changed while it was read.

    Example:
        ``CrossEncoderReranker(locate("cross-encoder/ms-marco-MiniLM-L6-v2")).identity.max_tokens``
    """

    batch_tokens = 512  # 512 to 2,048 have the same throughput, and a deadline is exceeded by one batch at most

    def __init__(self, located: LocatedModel, streams: int = 1) -> None:
        mapped = located.mapped_files()
        model = native_cross_encoder(located)
        self.identity = model.identity
        self._tokenizer = Tokenizer.from_str(model.tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(model.identity.max_tokens, strategy="longest_first")
        self._graph = CompiledGraph(model.graph, mapped, streams=streams)
        verify_weights(located)
        mapped.raise_if_changed()
        model.tensors.release()

    def tokenize(self, pairs: Sequence[Pair]) -> list[EncoderInput]:
        """Turn pairs into inputs; see ``Reranker.tokenize``."""
        prompt = self.identity.prompt
        encodings = self._tokenizer.encode_batch_fast([(prompt + query, passage) for query, passage in pairs])
        return [
            EncoderInput(passage, "query", len(encoding), encoding.ids, encoding.type_ids)
            for encoding, (_, passage) in zip(encodings, pairs, strict=True)
        ]

    def score(self, inputs: Sequence[EncoderInput]) -> NDArray[np.float32]:
        """Score one batch; see ``Reranker.score``."""
        return self._graph.run([pair.ids for pair in inputs], [pair.types for pair in inputs])
