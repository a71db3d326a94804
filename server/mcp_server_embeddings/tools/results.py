"""Result models of the tools. Fields that have their default value are left out of the answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from mcp_server_embeddings.tools.differences import Differences
from mcp_server_embeddings.vectors.calibration import Band
from mcp_server_embeddings.vectors.scores import Metric

ItemId = Annotated[str | int, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})]
"""The caller's own id: the value of an id column, a path, a row number, or the position of a sent text."""

Scalar = Annotated[str | int | float | bool | None, WithJsonSchema({})]

MetadataValue = Annotated[Scalar | list[Scalar], WithJsonSchema({})]


class ResultModel(BaseModel):
    """Base class of results and their parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def compact(self) -> dict[str, object]:
        """Return the result as JSON values, without the fields that have their default.

        Example:
            >>> Span(lines=(3, 5)).compact()
            {'lines': [3, 5]}
        """
        return self.model_dump(mode="json", exclude_defaults=True)


class Result(ResultModel):
    """Base class of the results of tools."""

    model: str = Field(description="model identity; vectors of different identities cannot be compared")
    notes: list[str] = []


class ItemsResult(Result):
    """Base class of results that contain ids of items."""

    folder: str = Field(default="", description="ids are paths below it")


class Running(ResultModel):
    """The answer to a call that continues in the background."""

    running: Literal[True] = True
    done: int
    total: int
    notes: list[str]


class OutputFile(ResultModel):
    """A result table that was written to a file."""

    path: str
    rows: int
    columns: list[str] = []


class VectorFile(ResultModel):
    """A NumPy file that was written."""

    path: str
    shape: list[int]
    dtype: str


class EmbedResult(Result):
    """Result of ``embed``."""

    dimensions: int
    vectors: list[list[float]] | list[str] | None = Field(default=None, description="absent when in a file")
    file: VectorFile | None = Field(default=None, description=".npy with one row per text")


class Differs(ResultModel):
    """Differences between two close texts that their vectors do not show."""

    removed: list[str] = []
    added: list[str] = []
    numbers: list[str] = []
    negation: list[str] = []

    @classmethod
    def of(cls, found: Differences) -> "Differs | None":
        """Convert differences; None if there are none."""
        differs = cls.model_validate(found, from_attributes=True)
        return differs if differs != cls() else None


class Pair(ResultModel):
    """Two items and how close they are."""

    left: ItemId
    right: ItemId
    score: float
    percentile: float
    band: Band
    differs: Differs | None = None


class SimilarityResult(ItemsResult):
    """Result of ``similarity``."""

    metric: Metric
    pairs: list[Pair] = Field(description="best first")
    scores: list[list[float]] = Field(default=[], description="left x right, up to 400 cells")


class Hit(ResultModel):
    """An item that was found, represented by its best passage."""

    id: ItemId
    score: float
    band: Band | None = None
    text: str
    lines: tuple[int, int] | None = Field(default=None, description="first and last, from 1")
    page: int | None = None
    heading: str = ""
    metadata: dict[str, MetadataValue] = {}
    indexed: str = ""
    explain: dict[str, float | list[str]] = {}


class QueryHits(ResultModel):
    """The hits of one of several queries."""

    query: str
    hits: list[Hit]
    no_match: bool = False


class SearchResult(ItemsResult):
    """Result of ``search``."""

    hits: list[Hit] = Field(default=[], description="with query: best first")
    no_match: bool = Field(default=False, description="nothing fits")
    results: list[QueryHits] = Field(default=[], description="with queries: one per query")


class ReadItem(ResultModel):
    """The text of an item or a part of one."""

    id: ItemId
    text: str
    lines: tuple[int, int] | None = None
    page: int | None = None


class ReadResult(ItemsResult):
    """Result of ``read``."""

    items: list[ReadItem]


class Check(ResultModel):
    """An item whose label is doubtful."""

    id: ItemId
    text: str
    label: str | None = None
    runner_up: str
    margin: float


class ClassifyResult(ItemsResult):
    """Result of ``classify``."""

    method: Literal["labels", "means", "probe"]
    counts: dict[str, int]
    labels: dict[str, list[ItemId]] = {}
    abstained: list[ItemId] = []
    check: list[Check] = Field(default=[], description="least sure first")
    file: OutputFile | None = None


class ItemText(ResultModel):
    """An item and the beginning of its text, which is left out if not all texts fit."""

    id: ItemId
    text: str = ""


class ClusterPart(ResultModel):
    """A cluster inside a cluster."""

    id: str
    size: int
    terms: list[str]
    members: list[ItemText] = []


class Cluster(ResultModel):
    """Items on one theme."""

    id: int
    size: int
    terms: list[str]
    members: list[ItemText] = Field(description="the most typical first")
    parts: list[ClusterPart] = []


class ClusterResult(ItemsResult):
    """Result of ``cluster``."""

    clusters: list[Cluster] = Field(description="largest first")
    outliers: int = Field(description="items near no cluster")
    file: OutputFile | None = None


class ShownPair(ResultModel):
    """A pair with excerpts of both texts, to judge it by."""

    left: ItemId
    right: ItemId
    score: float
    texts: list[str]
    differs: Differs | None = None


class DeduplicateResult(ItemsResult):
    """Result of ``deduplicate``."""

    groups: list[list[ItemId]] = Field(description="kept, duplicates...")
    doubtful: list[ShownPair] = Field(default=[], description="nearest the threshold")
    unique: int = Field(description="items left without the duplicates")
    threshold: float
    suggested_threshold: float
    file: OutputFile | None = None


class AlignCounts(ResultModel):
    """Total counts, including entries that are not listed."""

    changed: int
    same: int
    left_only: int
    right_only: int


class AlignResult(ItemsResult):
    """Result of ``align``."""

    changed: list[ShownPair] = Field(description="most changed first")
    same: list[list[ItemId]] = Field(default=[], description="left, right")
    left_only: list[ItemText] = []
    right_only: list[ItemText] = []
    counts: AlignCounts
    threshold: float
    file: OutputFile | None = None


class CondenseResult(ItemsResult):
    """Result of ``condense``."""

    text: str
    selected: list[ItemId]
    tokens: int
    coverage: float
    no_match: bool = False


class SkippedFile(ResultModel):
    """A file that was not stored."""

    path: str
    reason: str


class CollectionAddResult(Result):
    """Result of ``collection_add``."""

    added: int
    updated: int
    unchanged: int
    removed: int
    skipped: list[SkippedFile] = []
    size: int = Field(description="items in it now")


class CollectionRemoveResult(Result):
    """Result of ``collection_remove``."""

    removed: int
    size: int = Field(description="items left")
