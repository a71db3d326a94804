"""The interfaces between the engine and a model: the encoder, and the token counter that prepares its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.vectors.scores import Vectors

LongText = Literal["window", "truncate", "error"]
"""Treatment of a text over the model's limit: average overlapping windows, read only its beginning, or reject it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Similarity of an encoder's vectors to those of sentence-transformers, on a fixed set of texts.

    Attributes:
        minimum_cosine: Lowest cosine between a text's two vectors.
        mean_cosine: Mean of these cosines.
        top1_kept: Share of texts whose nearest other text stays the same, 0 to 1.
    """

    minimum_cosine: float
    mean_cosine: float
    top1_kept: float


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """One input of the model: a text, or a window of a text.

    Attributes:
        text: The text without the prompt.
        role: Selects the prompt.
        tokens: Number of tokens that the model reads, including prompt and special tokens.
        ids: Ids of these tokens, truncated at the model's limit; empty from a counter without a tokenizer.
        types: Types of these tokens; empty if all are 0. In most cross-encoders, the second text of a pair has type 1.
    """

    text: str
    role: Role
    tokens: int
    ids: Sequence[int] = ()
    types: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """The inputs of one text.

    Attributes:
        inputs: The text, or its windows.
        weights: Weight of each input in the mean over windows: the number of its tokens that are from the text.
        tokens: Number of tokens that the model reads for this text.
        truncated: Whether the end of the text is cut off.
    """

    inputs: tuple[EncoderInput, ...]
    weights: tuple[int, ...]
    tokens: int
    truncated: bool = False

    @property
    def windowed(self) -> bool:
        """Whether the text was cut into windows."""
        return len(self.inputs) > 1


class TokenCounter(Protocol):
    """Counts the tokens of texts, and cuts texts to the model's limit. Thread-safe.

    Attributes:
        estimated: Whether counts are estimates, because there is no tokenizer.
    """

    estimated: bool

    def count(self, texts: Sequence[str], call: Call | None = None) -> list[int]:
        """Count the tokens of each text, excluding prompt and special tokens.

        Raises:
            CallCancelledError: The call was cancelled.
        """
        ...

    def tokenize(
        self, texts: Sequence[str], role: Role, long_text: LongText, call: Call | None = None
    ) -> list[TokenizedText]:
        """Turn each text into one or more inputs within the model's limit.

        Args:
            texts: Non-empty texts.
            role: Selects the prompt, which counts towards the limit.
            long_text: Treatment of a text over the limit.
            call: Checked for cancellation between groups of texts.

        Raises:
            TextTooLongError: A text is over the limit and ``long_text`` is ``error``.
            CallCancelledError: The call was cancelled.
        """
        ...


class Encoder(Protocol):
    """Turns inputs into vectors. Called by up to ``streams`` threads at once. Subclasses inherit the defaults.

    Attributes:
        engine: Name of the runtime, for ``status``.
        device: Device that it runs on: ``cpu``, ``cuda:0``, ``mps``.
        streams: Number of batches that may run at once.
        batch_tokens: Padded tokens of the most efficient batch; also limits how long small calls wait for large ones.
        precision: Precision of its computation.
        agreement: Agreement with sentence-transformers; None if it was not measured.
        identity: Identity of the model.
        note: Remark for the user, for ``status``.
    """

    engine: str
    device: str = "cpu"
    streams: int = 1
    batch_tokens: int = 512  # 256 to 1,024 have the same throughput (docs/benchmarks.md)
    precision: Precision = "exact"
    agreement: Agreement | None = None
    identity: ModelIdentity
    note: str = ""

    def encode(self, inputs: Sequence[EncoderInput]) -> Vectors:
        """Encode one batch.

        Args:
            inputs: One or more, each within the model's limit.

        Returns:
            Shape ``(len(inputs), identity.dimensions)``, float32, in the order of ``inputs``.
        """
        ...

    def close(self) -> None:
        """Make batches in progress end soon; called once no further batch will be encoded."""
        return

    def free(self) -> None:
        """Release resources; called once no thread uses the encoder."""
        return


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder and the counter that prepares its inputs."""

    encoder: Encoder
    counter: TokenCounter
