"""The interface between retrieval and a model that scores (query, passage) pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Pair = tuple[str, str]
"""A query and a passage."""

Scale = Literal["logit", "probability"]
"""Whether scores are unbounded, or between 0 and 1; as the model's publisher chose."""

PairScores = NDArray[np.float32]
"""Shape ``(n,)``, float32; higher is more relevant."""


@dataclass(frozen=True, slots=True)
class RerankerIdentity:
    """Everything that determines a score.

    Attributes:
        name: Hugging Face id, or the folder's name.
        sha256: Hash of the weights, hexadecimal.
        max_tokens: Token limit of a pair, special tokens and prompt included.
        scale: What a score means.
        prompt: Text put before every query; usually empty.
    """

    name: str
    sha256: str
    max_tokens: int
    scale: Scale
    prompt: str = ""


class Reranker(Protocol):
    """Scores how relevant passages are to queries. Safe to use from several threads."""

    @property
    def identity(self) -> RerankerIdentity:
        """The model's identity."""
        ...

    def score(self, pairs: Sequence[Pair]) -> PairScores:
        """Score pairs.

        Args:
            pairs: Any number of (query, passage) pairs. From a pair over the token limit, tokens are removed at the
                end of its longer text until it fits.

        Returns:
            One finite score per pair, in order.

        Raises:
            EncodingError: The model gave a score that is not finite.
            ModelChangedError: The model's files were changed while it was in use.
        """
        ...
