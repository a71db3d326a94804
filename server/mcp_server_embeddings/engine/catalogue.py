"""Well-known models: facts and published scores, each with its source. Data, not code: ``data/models.toml``."""

import functools
import tomllib
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

from mcp_server_embeddings.config import DEFAULT_MODEL


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CataloguePrompts(_Entry):
    """The prompts the model's authors prescribe; empty where they prescribe none."""

    query: str = ""
    document: str = ""


class Scores(_Entry):
    """Averages by task family on a public benchmark, in percent; absent where none is published."""

    benchmark: str
    classification: float | None = Field(default=None, ge=0, le=100)
    clustering: float | None = Field(default=None, ge=0, le=100)
    retrieval: float | None = Field(default=None, ge=0, le=100)
    sts: float | None = Field(default=None, ge=0, le=100)
    summarization: float | None = Field(default=None, ge=0, le=100)
    source: str


class CatalogueModel(_Entry):
    """One well-known model."""

    id: str
    summary: str
    dimensions: int = Field(ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    parameters_millions: float | None = Field(default=None, gt=0)
    size_mb: float | None = Field(default=None, gt=0)
    licence: str | None = None
    languages: str | None = None
    pooling: str | None = None
    normalised: bool | None = None
    trust_remote_code: bool = False
    matryoshka_dimensions: tuple[int, ...] = ()
    prompts: CataloguePrompts = CataloguePrompts()
    mteb: Scores | None = None
    sources: dict[str, str]


@functools.cache
def catalogue() -> tuple[CatalogueModel, ...]:
    """All entries, the default model first."""
    text = resources.files("mcp_server_embeddings").joinpath("data/models.toml").read_text(encoding="utf-8")
    return tuple(CatalogueModel.model_validate(entry) for entry in tomllib.loads(text)["model"])


def known(name: str) -> CatalogueModel | None:
    """The entry with this id, or whose id ends in this name; None for a model the catalogue lacks."""
    return next((entry for entry in catalogue() if name in (entry.id, entry.id.rsplit("/", 1)[-1])), None)


def full_id(name: str) -> str:
    """The Hugging Face id behind a short name; the name itself when the catalogue lacks it."""
    if name == DEFAULT_MODEL:  # spares the default start the reading of the catalogue
        return name
    entry = known(name)
    return entry.id if entry else name
