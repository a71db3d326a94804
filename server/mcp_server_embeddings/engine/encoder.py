"""The seam between the engine and a model runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.vectors.similarity import Vectors


@dataclass(frozen=True, slots=True)
class Piece:
    """A text, or a window of one, that goes through the model as one input.

    Attributes:
        text: Without prompt.
        role: Picks the prompt.
        tokens: What the model reads of it, prompt and special tokens included.
    """

    text: str
    role: Role
    tokens: int


class Encoder(Protocol):
    """Turns pieces into vectors. Used by one thread at a time."""

    @property
    def engine(self) -> str:
        """The runtime's name, for ``status``."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: ``cpu``, ``cuda:0``, ``mps``."""
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
