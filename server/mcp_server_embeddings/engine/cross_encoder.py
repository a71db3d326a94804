"""A reranker that runs a cross-encoder's native graph on OpenVINO."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mcp_server_embeddings.engine.locate import LocatedModel, verify_weights
from mcp_server_embeddings.engine.native.classifier import native_cross_encoder
from mcp_server_embeddings.engine.reranker import Pair, PairScores
from mcp_server_embeddings.engine.runtime import CompiledGraph
from mcp_server_embeddings.errors import EncodingError

_BATCH_TOKENS = 1024
"""Upper bound of a batch's pairs times its longest pair; a longer pair is a batch of its own. Throughput is level from
512 to 2,048 and lower beyond."""


class CrossEncoderReranker:
    """Scores pairs as ``sentence_transformers.CrossEncoder.predict`` does.

    Args:
        located: A cross-encoder on disk.
        threads: Number of threads that compute one batch.

    Raises:
        UnsupportedModelError: The native engine does not support the model.
        ModelLoadError: A file is corrupt, inconsistent with another, or changed while it was read.

    Example:
        ``CrossEncoderReranker(locate("cross-encoder/ms-marco-MiniLM-L6-v2")).score([("a query", "a passage")])``
    """

    def __init__(self, located: LocatedModel, threads: int = 1) -> None:
        mapped = located.mapped_files()
        model = native_cross_encoder(located)
        self.identity = model.identity
        self._tokenizer = Tokenizer.from_str(model.tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(model.identity.max_tokens, strategy="longest_first")
        self._graph = CompiledGraph(model.graph, mapped, threads=threads)
        verify_weights(located)
        mapped.raise_if_changed()
        model.tensors.release()

    def score(self, pairs: Sequence[Pair]) -> PairScores:
        """Score pairs; see ``Reranker.score``."""
        prompt = self.identity.prompt
        encodings = self._tokenizer.encode_batch_fast([(prompt + query, passage) for query, passage in pairs])
        scores = np.empty(len(pairs), np.float32)
        for rows in _batches([len(encoding) for encoding in encodings]):
            batch = [encodings[row] for row in rows]
            scores[rows] = self._graph.run([pair.ids for pair in batch], [pair.type_ids for pair in batch])[:, 0]
        for row in np.flatnonzero(~np.isfinite(scores)):
            raise EncodingError(
                f"the reranker {self.identity.name!r} gave the score {scores[row]} for pair {row} of {len(pairs)}; "
                "fetch the model again, or use another reranker"
            )
        return scores


def _batches(lengths: Sequence[int]) -> Iterator[NDArray[np.intp]]:
    """Rows of each batch, longest pairs first, so that a batch has little padding."""
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        stop = start + max(1, _BATCH_TOKENS // lengths[order[start]])
        yield order[start:stop]
        start = stop
