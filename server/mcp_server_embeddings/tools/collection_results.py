"""What the tools on collections return."""

from typing import Literal

from pydantic import Field

from mcp_server_embeddings.store.records import Scalar
from mcp_server_embeddings.tools.results import CharacterRange, Listing, Result, ResultModel
from mcp_server_embeddings.vectors.calibration import Band

SearchMode = Literal["hybrid", "semantic", "keyword"]
FoundBy = Literal["meaning", "words", "both"]


class SkippedFile(ResultModel):
    """A file that was not taken in."""

    path: str
    why: str


class CollectionAddResult(Result):
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


class FoundPassage(ResultModel):
    """A place in a collection that was found; by words alone it has no score, which only the model can give."""

    score: float | None
    percentile: float | None = Field(description="share of unrelated pairs that score lower, 0-100")
    band: Band | None
    id: str
    snippet: str
    span: CharacterRange
    found_by: FoundBy
    metadata: dict[str, Scalar | list[Scalar]]
    before: str
    after: str


class CollectionSearchResult(Listing):
    """Result of ``collection_search``."""

    collection: str
    mode: SearchMode
    hits: list[FoundPassage]
    no_match: bool


class CollectionInfo(ResultModel):
    """A collection at a glance."""

    name: str
    size: int
    chunks: int
    model: str
    usable: bool | None
    bytes: int
    updated: str


class CollectionListResult(Listing):
    """Result of ``collection_list``."""

    collections: list[CollectionInfo]


class CollectionRemoveResult(Result):
    """Result of ``collection_remove``."""

    collection: str
    removed: int
    missing: list[str]
    size: int
