"""What the tools return: one model a tool, all fields always present."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.embedder import Embeddings
from mcp_server_embeddings.vectors.calibration import Band
from mcp_server_embeddings.vectors.similarity import Metric


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Usage(_Model):
    """What a call cost and what was done to its texts. Positions run over all lists of the call in order."""

    texts: int
    tokens: int
    windowed: list[int] = Field(description="positions of texts averaged over windows")
    truncated: list[int] = Field(description="positions of texts cut at the token limit")

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Usage":
        """The usage of one embedding call."""
        return cls(
            texts=len(embeddings.vectors),
            tokens=embeddings.tokens,
            windowed=list(embeddings.windowed),
            truncated=list(embeddings.truncated),
        )


class Result(_Model):
    """Common to every result."""

    model: str = Field(description="model identity; vectors of different identities cannot be compared")
    usage: Usage


class VectorFile(_Model):
    """A NumPy file."""

    path: str
    shape: list[int]
    dtype: str


class Embedded(Result):
    """Result of ``embed``."""

    dimensions: int
    encoding: Literal["float", "base64"]
    output: Literal["inline", "file"]
    vectors: list[list[float]] | list[str] | None = Field(description="one per text; null when in a file")
    file: VectorFile | None = Field(description=".npy with one row per text; null when inline")


class Pair(_Model):
    """Two texts and how close they are."""

    left: int
    right: int
    score: float
    percentile: float = Field(description="share of unrelated pairs that score lower, 0-100")
    band: Band


class Compared(Result):
    """Result of ``similarity``."""

    metric: Metric
    pairs: list[Pair] = Field(description="best first")
    scores: list[list[float]] | None = Field(description="left x right; null over 400 cells")


class ServerInfo(_Model):
    """This program."""

    name: str
    version: str


class ModelInfo(_Model):
    """The model identity in full."""

    name: str
    sha256: str
    pooling: str
    dimensions: int
    max_tokens: int | None
    normalised: bool
    query_prompt: str
    document_prompt: str
    shorter_dimensions: list[int]


class Limits(_Model):
    """The bounds of one call."""

    texts: int
    characters: int
    answer_bytes: int


class Queue(_Model):
    """The inference queue."""

    calls_waiting: int
    pieces_waiting: int
    batches_done: int
    pieces_done: int


class AgreementInfo(_Model):
    """How near the vectors are to those of sentence-transformers."""

    minimum_cosine: float
    mean_cosine: float
    top1_kept: float


class Cache(_Model):
    """Vectors remembered."""

    hits: int
    misses: int
    entries: int
    memory_bytes: int
    disk_bytes: int


class Status(Result):
    """Result of ``status``."""

    server: ServerInfo
    protocol: str | None
    state: Literal["idle", "downloading", "warming", "ready", "failed"]
    detail: str
    identity: ModelInfo | None = Field(description="null until the model is loaded")
    engine: str
    precision: Precision
    agreement: AgreementInfo | None = Field(description="with sentence-transformers; null for itself")
    device: str
    streams: int
    calibrated: bool
    limits: Limits
    queue: Queue
    cache: Cache | None
