"""The seam between the engine and a model runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.vectors.scores import Vectors


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near an encoder's vectors are to those of sentence-transformers, on the probe set.

    Attributes:
        minimum_cosine: Of a text's two vectors, over all probes.
        mean_cosine: Likewise.
        top1_kept: Share of probes whose nearest other probe stays the same, 0 to 1.
    """

    minimum_cosine: float
    mean_cosine: float
    top1_kept: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A text, or a window of one, that goes through the model as one input.

    Attributes:
        text: Without prompt.
        role: Picks the prompt.
        ids: The tokens the model reads: prompt and special tokens included, truncated at the model's limit.
    """

    text: str
    role: Role
    ids: Sequence[int]

    @property
    def tokens(self) -> int:
        """How many tokens the model reads."""
        return len(self.ids)


class Encoder(Protocol):
    """Turns pieces into vectors. Used by as many threads at a time as it has streams."""

    @property
    def engine(self) -> str:
        """The runtime's name, for ``status``."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: ``cpu``, ``cuda:0``, ``mps``."""
        ...

    @property
    def streams(self) -> int:
        """How many batches may run at once."""
        ...

    @property
    def precision(self) -> Precision:
        """What it computes with."""
        ...

    @property
    def agreement(self) -> Agreement | None:
        """How near its vectors are to those of sentence-transformers; None for sentence-transformers itself."""
        ...

    @property
    def identity(self) -> ModelIdentity:
        """The model it encodes with."""
        ...

    @property
    def tokenizer_json(self) -> str:
        """The model's tokenizer in the format of the ``tokenizers`` library."""
        ...

    def encode(self, pieces: Sequence[Piece]) -> Vectors:
        """Encode one batch.

        Args:
            pieces: One or more; a piece over the model's limit is truncated as sentence-transformers does.

        Returns:
            Shape ``(len(pieces), identity.dimensions)``, float32, in the order of ``pieces``.
        """
        ...
