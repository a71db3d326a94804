"""What the tools return: one model a tool, all fields always present."""

from itertools import accumulate
from typing import Literal

from pydantic import AliasPath, BaseModel, ConfigDict, Field

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.cache import CacheFigures
from mcp_server_embeddings.engine.embedder import Embeddings
from mcp_server_embeddings.engine.encoder import Agreement
from mcp_server_embeddings.engine.lifecycle import State
from mcp_server_embeddings.engine.scheduler import QueueStats
from mcp_server_embeddings.vectors.calibration import Band
from mcp_server_embeddings.vectors.scores import Metric

_POSITIONS = 50
"""Positions of cut texts that an answer lists; 2,000 of them would fill a small context."""


class ResultModel(BaseModel):
    """What every part of a result is."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Usage(ResultModel):
    """What a call cost and what was done to its texts. Positions run over all lists of the call in order."""

    texts: int
    tokens: int
    windowed: list[int] = Field(description="positions of texts averaged over windows")
    truncated: list[int] = Field(description="positions of texts cut at the token limit")
    unlisted: int = Field(description="more such positions")

    @classmethod
    def counted(cls, texts: int = 0, tokens: int = 0) -> "Usage":
        """The usage of a call none of whose texts was cut."""
        return cls(texts=texts, tokens=tokens, windowed=[], truncated=[], unlisted=0)

    @classmethod
    def of(cls, *embeddings: Embeddings) -> "Usage":
        """The usage of one call from its embeddings, in the order in which their positions are counted on."""
        offsets = accumulate((len(part.vectors) for part in embeddings), initial=0)
        windowed: list[int] = []
        truncated: list[int] = []
        for offset, part in zip(offsets, embeddings, strict=False):
            windowed += [offset + position for position in part.windowed]
            truncated += [offset + position for position in part.truncated]
        return cls(
            texts=sum(len(part.vectors) for part in embeddings),
            tokens=sum(part.tokens for part in embeddings),
            windowed=windowed[:_POSITIONS],
            truncated=truncated[:_POSITIONS],
            unlisted=max(0, len(windowed) - _POSITIONS) + max(0, len(truncated) - _POSITIONS),
        )


class Result(ResultModel):
    """Common to every result."""

    model: str = Field(description="model identity; vectors of different identities cannot be compared")
    usage: Usage


class Listing(Result):
    """Common to the results that list entries and may leave some out."""

    more: int = Field(description="entries left out; ask with top=")


class ScoredResult(ResultModel):
    """A cosine and what it means under this model."""

    score: float
    percentile: float = Field(description="share of unrelated pairs that score lower, 0-100")
    band: Band


class Indexed(ResultModel):
    """About the text at this position."""

    index: int


class Excerpt(Indexed):
    """A chunk of a collection that an answer lists by its position."""

    id: str
    snippet: str


class Sides(ResultModel):
    """About a text of each list."""

    left: int
    right: int


class VectorFile(ResultModel):
    """A NumPy file."""

    path: str
    shape: list[int]
    dtype: str


class Saved(ResultModel):
    """What ``embed`` stored beside."""

    collection: str
    added: int
    updated: int
    unchanged: int


class EmbedResult(Result):
    """Result of ``embed``."""

    dimensions: int
    encoding: Literal["float", "base64"]
    output: Literal["inline", "file"]
    vectors: list[list[float]] | list[str] | None = Field(description="one per text; null when in a file")
    file: VectorFile | None = Field(description=".npy with one row per text; null when inline")
    saved: Saved | None = Field(description="null without save_as")


class Pair(ScoredResult, Sides):
    """Two texts and how close they are."""


class SimilarityResult(Listing):
    """Result of ``similarity``."""

    metric: Metric
    pairs: list[Pair] = Field(description="best first")
    scores: list[list[float]] | None = Field(description="left x right; null over 400 cells")


class CharacterRange(ResultModel):
    """Characters ``start`` to ``end`` of a text."""

    start: int
    end: int


class Span(ScoredResult, CharacterRange):
    """The passage of a text that fits best, and how well by itself."""


class Hit(ScoredResult, Indexed):
    """A text that was found."""

    id: str | None = Field(description="in a collection; null when sent")
    snippet: str = Field(description="its beginning; with spans, its best passage word for word")
    span: Span | None


class RankResult(Listing):
    """Result of ``rank``."""

    hits: list[Hit] = Field(description="best first")
    no_match: bool = Field(description="nothing rises above weak")


class Item(ScoredResult, Indexed):
    """A text and its label. The score is that of the best label, given or not."""

    label: str | None = Field(description="null: abstained")
    margin: float = Field(description="lead over the next label")
    runner_up: str = Field(description="best label not given")


class LabelCount(ResultModel):
    """How often a label was given."""

    label: str | None
    texts: int


class ClassifyResult(Listing):
    """Result of ``classify``."""

    method: Literal["labels", "means", "probe"]
    counts: list[LabelCount]
    items: list[Item]
    recalled: list[Excerpt] = Field(description="stored texts at these positions; empty when sent")


class Cluster(ResultModel):
    """A group of texts on one theme."""

    id: int
    size: int
    members: list[int] = Field(description="nearest the centre first")
    exemplar: int
    terms: list[str]
    cohesion: float = Field(description="mean cosine of two members; 1 for a single one")
    percentile: float
    band: Band


class ClusterResult(Listing):
    """Result of ``cluster``."""

    clusters: list[Cluster] = Field(description="largest first")
    outliers: list[int] = Field(description="texts near no cluster")
    outlier_count: int
    recalled: list[Excerpt] = Field(description="stored texts at these positions; empty when sent")


class Duplicate(ScoredResult, Indexed):
    """A text that says what the kept one says."""


class DuplicateGroup(ResultModel):
    """Texts of which every two are duplicates."""

    keep: int
    size: int
    duplicates: list[Duplicate]


class DeduplicateResult(Listing):
    """Result of ``deduplicate``."""

    groups: list[DuplicateGroup] = Field(description="largest first")
    unique: int = Field(description="texts left without the duplicates")
    threshold: float
    suggested_threshold: float
    recalled: list[Excerpt] = Field(description="stored texts at these positions; empty when sent")


class AlignedCounts(ResultModel):
    """How many there are, listed or not."""

    matches: int
    left_only: int
    right_only: int


class AlignResult(Result):
    """Result of ``align``."""

    matches: list[Pair] = Field(description="most changed first")
    left_only: list[int]
    right_only: list[int]
    counts: AlignedCounts = Field(description="entries found; ask for those left out with top=")
    threshold: float
    recalled: list[Excerpt] = Field(description="stored texts at positions of the collection's side")


class Passage(CharacterRange):
    """A sentence of the one text that was sent."""

    snippet: str


class CondenseResult(Listing):
    """Result of ``condense``."""

    selected: list[int]
    passages: list[Passage] | None
    tokens: int
    coverage: float
    no_match: bool


class ServerInfo(ResultModel):
    """This program."""

    name: str
    version: str


class ModelInfo(ResultModel):
    """The model identity in full, read from the fields of ``ModelIdentity`` or from its own as published."""

    model_config = ConfigDict(validate_by_name=True)

    name: str
    sha256: str
    pooling: str
    dimensions: int
    max_tokens: int | None
    normalised: bool
    query_prompt: str = Field(validation_alias=AliasPath("prompts", "query"))
    document_prompt: str = Field(validation_alias=AliasPath("prompts", "document"))
    shorter_dimensions: list[int] = Field(validation_alias="matryoshka")


class Limits(ResultModel):
    """The bounds of one call."""

    texts: int
    characters: int
    answer_bytes: int


class Status(Result):
    """Result of ``status``."""

    server: ServerInfo
    protocol: str | None
    state: State
    detail: str
    identity: ModelInfo | None = Field(description="null until the model is loaded")
    engine: str
    precision: Precision
    agreement: Agreement | None = Field(description="with sentence-transformers; null for itself")
    device: str
    streams: int
    calibrated: bool
    limits: Limits
    queue: QueueStats
    cache: CacheFigures | None
