"""The interfaces between the engine and a model: the encoder, and the token counter that prepares texts for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.identity import ModelIdentity, Role
from mcp_server_embeddings.vectors.scores import Vectors

LongText = Literal["window", "truncate", "error"]
"""How to treat a text over the model's limit: average overlapping windows, read its beginning, or refuse it."""


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
    """One input of the model: a text, or a window of one.

    Attributes:
        text: Without prompt.
        role: Picks the prompt.
        tokens: Number of tokens that the model reads, prompt and special tokens included.
        ids: These tokens, truncated at the model's limit; empty from a counter that has no tokenizer.
        types: Their token types; empty where all are 0. Those of a pair's second text are 1 in most cross-encoders.
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
        weights: Number of tokens of each input that are from the text; the weights of the mean over windows.
        tokens: Tokens the model reads for this text.
        truncated: Whether the end of the text is not read.
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
    """Counts the tokens of texts, and cuts texts to the model's limit. Used by several threads at a time.

    Attributes:
        estimated: Whether it has no tokenizer, and estimates.
    """

    estimated: bool

    def count(self, texts: Sequence[str], call: Call | None = None) -> list[int]:
        """Count the tokens of each text, without prompt and special tokens.

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
            role: Picks the prompt, which counts towards the limit.
            long_text: How to treat a text over the limit.
            call: Checked for cancellation between groups of texts.

        Raises:
            TextTooLongError: A text is over the limit and ``long_text`` is ``error``.
            CallCancelledError: The call was cancelled.
        """
        ...


class Encoder(Protocol):
    """Turns inputs into vectors. Used by as many threads at a time as it has streams. Subclasses inherit the defaults.

    Attributes:
        engine: The runtime's name, for ``status``.
        device: Where it runs: ``cpu``, ``cuda:0``, ``mps``.
        streams: How many batches may run at once.
        batch_tokens: Padded tokens of its best batch; also how long a small call waits for a large one.
        precision: Numbers that it computes with.
        agreement: With sentence-transformers, where it was measured.
        identity: The model's.
        note: What a user should know of it, for ``status``.
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
        """Let batches in progress end soon; none is encoded any more."""
        return

    def free(self) -> None:
        """Give back what it holds; no thread uses it any more."""
        return


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder, and the counter that prepares texts for it."""

    encoder: Encoder
    counter: TokenCounter
