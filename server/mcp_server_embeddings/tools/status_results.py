"""Result models of ``status``."""

from pydantic import AliasPath, ConfigDict, Field

from mcp_server_embeddings.config import Precision
from mcp_server_embeddings.engine.cache import CacheFigures
from mcp_server_embeddings.engine.encoder import Agreement
from mcp_server_embeddings.engine.lifecycle import State
from mcp_server_embeddings.engine.scheduler import QueueStats
from mcp_server_embeddings.tools.results import Result, ResultModel


class CollectionInfo(ResultModel):
    """One collection."""

    name: str
    size: int
    passages: int
    model: str
    updated: str
    usable: bool | None = Field(default=None, description="by this model")


class ServerInfo(ResultModel):
    """This program."""

    name: str
    version: str


class ModelInfo(ResultModel):
    """The full model identity, validated from the fields of ``ModelIdentity`` or from its own published form."""

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
    answer_characters: int


class Status(Result):
    """Result of ``status``."""

    server: ServerInfo
    protocol: str | None = None
    state: State
    detail: str = ""
    identity: ModelInfo | None = Field(default=None, description="once it is loaded")
    engine: str
    precision: Precision
    agreement: Agreement | None = Field(default=None, description="with sentence-transformers")
    device: str
    streams: int
    calibrated: bool
    reranker: str = ""
    limits: Limits
    collections: list[CollectionInfo]
    folders: list[str] = Field(description="may be read")
    output_folder: str
    process: str = ""
    queue: QueueStats
    cache: CacheFigures | None = None

    def compact(self) -> dict[str, object]:
        """Return the result as JSON values, with all figures of the queue and the cache, including zeros."""
        return super().compact() | self.model_dump(mode="json", include={"queue", "cache"}, exclude_none=True)
