"""The interface between retrieval and a model that scores (query, passage) pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.reranker_calibration import RerankerCalibration
from mcp_server_embeddings.engine.scheduler import QueuedModel, Scheduler
from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.vectors.scores import Scores

Pair = tuple[str, str]
"""A query and a passage."""

Scale = Literal["logit", "probability"]
"""Whether scores are unbounded, or between 0 and 1; chosen by the model's publisher."""

PairScores = NDArray[np.float32]
"""Shape ``(n,)``, float32; higher is more relevant, NaN for a pair that was not scored."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """How relevant passages are to a query.

    Attributes:
        scores: Relevance of each passage, 0 to 1 (``RerankerCalibration``), shape ``(n,)``; NaN if there was no time.
        tokens: Number of tokens of all pairs.
        full: Positions of the passages whose pair fills the token limit; text beyond the limit is not read.
    """

    scores: Scores
    tokens: int
    full: tuple[int, ...]


_MIN_PROBABILITY = 1e-7
"""Probabilities closer than this to 0 or 1 cannot be distinguished in float32."""


@dataclass(frozen=True, slots=True)
class RerankerIdentity:
    """Everything that determines a score.

    Attributes:
        name: Hugging Face id, or the folder's name.
        sha256: Hash of the weights, hexadecimal.
        max_tokens: Token limit of a pair, including prompt and special tokens.
        scale: Scale of a score.
        prompt: Text put before every query; usually empty.
    """

    name: str
    sha256: str
    max_tokens: int
    scale: Scale
    prompt: str = ""

    def logits(self, scores: PairScores) -> Scores:
        """Convert scores to logits, from either scale."""
        logits: Scores = scores.astype(np.float64)
        if self.scale == "probability":
            logits = np.clip(logits, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
            logits = np.log(logits / (1 - logits))
        return logits


class Reranker(Protocol):
    """Scores how relevant passages are to queries. Thread-safe.

    Attributes:
        batch_tokens: Padded tokens of the most efficient batch.
    """

    batch_tokens: int

    @property
    def identity(self) -> RerankerIdentity:
        """The model's identity."""
        ...

    def tokenize(self, pairs: Sequence[Pair]) -> list[EncoderInput]:
        """Turn each pair into one input.

        A pair over the token limit loses tokens at the end of its longer text until it fits.
        """
        ...

    def score(self, inputs: Sequence[EncoderInput]) -> NDArray[np.float32]:
        """Score one batch.

        Args:
            inputs: One or more.

        Returns:
            Shape ``(len(inputs), 1)``, in order.

        Raises:
            ModelChangedError: The model's files were changed while it was in use.
        """
        ...


class LoadedReranker:
    """A reranker in memory, which scores in the engine's queue.

    Args:
        reranker: The model.

    Attributes:
        calibration: Set before any call is served.
    """

    calibration: RerankerCalibration

    def __init__(self, reranker: Reranker) -> None:
        self.reranker = reranker
        remedy = f"fetch {reranker.identity.name!r} again, or use another --reranker"
        self._queued = QueuedModel(reranker.score, reranker.batch_tokens, 1, remedy)

    def score(
        self, inputs: Sequence[EncoderInput], queue: Scheduler, call: Call | None = None, deadline: float | None = None
    ) -> PairScores:
        """Score any number of inputs.

        Args:
            inputs: Returned by the reranker's ``tokenize``, most important first.
            queue: The engine's queue.
            call: Receives progress; cancelling it ends the wait.
            deadline: In seconds of ``time.monotonic``; inputs not in a batch by then are not scored.

        Raises:
            EncodingError: The model returned a score that is not finite.
            ModelChangedError: The model's files were changed while it was in use.
            CallCancelledError: The call was cancelled.
        """
        if not inputs:
            return np.empty(0, np.float32)
        scores: PairScores = queue.run(inputs, call or Call(), model=self._queued, deadline=deadline)[:, 0]
        return scores

    def close(self, reason: EmbeddingsError | None = None) -> None:
        """Do nothing: calls wait in the engine's queue."""

    def join(self) -> None:
        """Do nothing: the streams belong to the queue."""
