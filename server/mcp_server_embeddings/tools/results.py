"""What the tools return: one model a tool, all fields always present."""

from itertools import accumulate
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.embedder import Embeddings
from mcp_server_embeddings.vectors.calibration import Band
from mcp_server_embeddings.vectors.similarity import Metric

Scalar = str | int | float | bool | None
SearchMode = Literal["hybrid", "semantic", "keyword"]
FoundBy = Literal["meaning", "words", "both"]

_POSITIONS = 50
"""Positions of cut texts that an answer lists; 2,000 of them would fill a small context."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Usage(_Model):
    """What a call cost and what was done to its texts. Positions run over all lists of the call in order."""

    texts: int
    tokens: int
    windowed: list[int] = Field(description="positions of texts averaged over windows")
    truncated: list[int] = Field(description="positions of texts cut at the token limit")
    unlisted: int = Field(description="more such positions")

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


class Result(_Model):
    """Common to every result."""

    model: str = Field(description="model identity; vectors of different identities cannot be compared")
    usage: Usage


class Listing(Result):
    """Common to the results that list entries and may leave some out."""

    more: int = Field(description="entries left out; ask with top=")


class Judged(_Model):
    """A cosine and what it means under this model."""

    score: float
    percentile: float = Field(description="share of unrelated pairs that score lower, 0-100")
    band: Band


class Indexed(_Model):
    """About the text at this position."""

    index: int


class Sides(_Model):
    """About a text of each list."""

    left: int
    right: int


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


class Pair(Judged, Sides):
    """Two texts and how close they are."""


class Compared(Listing):
    """Result of ``similarity``."""

    metric: Metric
    pairs: list[Pair] = Field(description="best first")
    scores: list[list[float]] | None = Field(description="left x right; null over 400 cells")


class Places(_Model):
    """Characters ``start`` to ``end`` of a text."""

    start: int
    end: int


class Span(Judged, Places):
    """The passage of a text that fits best, and how well by itself."""


class Hit(Judged, Indexed):
    """A text that was found."""

    snippet: str = Field(description="its beginning; with spans, its best passage word for word")
    span: Span | None


class Ranked(Listing):
    """Result of ``rank``."""

    hits: list[Hit] = Field(description="best first")
    no_match: bool = Field(description="nothing rises above weak")


class Item(Judged, Indexed):
    """A text and its label. The score is that of the best label, given or not."""

    label: str | None = Field(description="null: abstained")
    margin: float = Field(description="lead over the next label")
    runner_up: str = Field(description="best label not given")


class LabelCount(_Model):
    """How often a label was given."""

    label: str | None
    texts: int


class Classified(Listing):
    """Result of ``classify``."""

    method: Literal["labels", "means", "probe"]
    counts: list[LabelCount]
    items: list[Item]


class Cluster(_Model):
    """A group of texts on one theme."""

    id: int
    size: int
    members: list[int] = Field(description="nearest the centre first")
    exemplar: int
    terms: list[str]
    cohesion: float = Field(description="mean cosine of two members; 1 for a single one")
    percentile: float
    band: Band


class Clustered(Listing):
    """Result of ``cluster``."""

    clusters: list[Cluster] = Field(description="largest first")
    outliers: list[int] = Field(description="texts near no cluster")
    outlier_count: int


class Duplicate(Judged, Indexed):
    """A text that says what the kept one says."""


class DuplicateGroup(_Model):
    """Texts of which every two are duplicates."""

    keep: int
    size: int
    duplicates: list[Duplicate]


class Deduplicated(Listing):
    """Result of ``deduplicate``."""

    groups: list[DuplicateGroup] = Field(description="largest first")
    unique: int = Field(description="texts left without the duplicates")
    threshold: float
    suggested_threshold: float


class AlignedCounts(_Model):
    """How many there are, listed or not."""

    matches: int
    left_only: int
    right_only: int


class Aligned(Result):
    """Result of ``align``."""

    matches: list[Pair] = Field(description="most changed first")
    left_only: list[int]
    right_only: list[int]
    counts: AlignedCounts = Field(description="entries found; ask for those left out with top=")
    threshold: float


class Passage(Places):
    """A sentence of the one text that was sent."""

    snippet: str


class Condensed(Listing):
    """Result of ``condense``."""

    selected: list[int]
    passages: list[Passage] | None
    tokens: int
    coverage: float
    no_match: bool


class SkippedFile(_Model):
    """A file that was not taken in."""

    path: str
    why: str


class CollectionAdded(Result):
    """Result of ``collection_add``. Counts are of documents: texts, files, or rows of a table."""

    collection: str
    added: int
    updated: int
    unchanged: int
    removed: int
    skipped: list[SkippedFile]
    skipped_count: int
    ignored: int
    size: int
    chunks: int


class FoundPassage(Judged):
    """A place in a collection that was found."""

    id: str
    snippet: str
    span: Places
    found_by: FoundBy
    metadata: dict[str, Scalar | list[Scalar]]
    before: str
    after: str


class CollectionSearched(Listing):
    """Result of ``collection_search``."""

    collection: str
    mode: SearchMode
    hits: list[FoundPassage]
    no_match: bool


class CollectionInfo(_Model):
    """A collection at a glance."""

    name: str
    size: int
    chunks: int
    model: str
    usable: bool
    bytes: int
    updated: str


class CollectionsListed(Listing):
    """Result of ``collection_list``."""

    collections: list[CollectionInfo]


class CollectionRemoved(Result):
    """Result of ``collection_remove``."""

    collection: str
    removed: int
    missing: list[str]
    size: int


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
