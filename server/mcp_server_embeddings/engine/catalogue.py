"""Well-known models: facts and published scores with their sources, from ``data/models.toml``."""

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mcp_server_embeddings.config import DEFAULT_MODEL
from mcp_server_embeddings.engine.identity import Prompts
from mcp_server_embeddings.program import DISTRIBUTION

BenchmarkV1 = Literal[
    "MTEB English v1 (56 tasks)", "MTEB English v1, retrieval only", "MTEB English v1, as run by the Model2Vec authors"
]
BenchmarkV2 = Literal["MTEB(eng, v2)", "MTEB(Multilingual, v2)"]

FIGURES: tuple[tuple[BenchmarkV2, Literal["mean", "retrieval"]], ...] = (
    ("MTEB(eng, v2)", "mean"),
    ("MTEB(eng, v2)", "retrieval"),
    ("MTEB(Multilingual, v2)", "mean"),
)
"""The averages by which models are compared: English, English search, many languages."""

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names under which models store the document prompt, in the order sentence-transformers tries them."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CataloguePrompts(_Entry):
    """The prompts that the model's authors prescribe; empty if they prescribe none."""

    query: str = ""
    document: str = ""


class _TaskAverages(_Entry):
    """Averages by task family, in percent, from one source; None if not published."""

    classification: float | None = Field(default=None, ge=0, le=100)
    clustering: float | None = Field(default=None, ge=0, le=100)
    retrieval: float | None = Field(default=None, ge=0, le=100)
    sts: float | None = Field(default=None, ge=0, le=100)
    summarization: float | None = Field(default=None, ge=0, le=100)
    source: str


class ScoresV1(_TaskAverages):
    """Averages on MTEB v1. Its tasks differ from those of v2, so the two cannot be compared."""

    benchmark: BenchmarkV1


class ScoresV2(_TaskAverages):
    """Averages on MTEB v2, with the mean over its tasks.

    Attributes:
        mean: Mean over ``tasks`` tasks of the benchmark, each counted once.
        tasks: Number of tasks in the mean.
    """

    benchmark: BenchmarkV2
    mean: float | None = Field(default=None, ge=0, le=100)
    tasks: int | None = Field(default=None, ge=1)


class CatalogueModel(_Entry):
    """One well-known model.

    Attributes:
        trust_remote_code: Whether the model asks for code from its own repository, which is never run.
        instead: For such a model, the id of the nearest one that works.
        matryoshka_dimensions: Sizes to which vectors may be shortened, ascending, including the full size.
        mteb: Scores on MTEB v1.
        mteb_v2: Scores on MTEB v2; one element for each benchmark and source.
        sources: Sources of the facts, by topic.
    """

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
    instead: str | None = None
    matryoshka_dimensions: tuple[int, ...] = ()
    prompts: CataloguePrompts = CataloguePrompts()
    mteb: ScoresV1 | None = None
    mteb_v2: tuple[ScoresV2, ...] = ()
    sources: dict[str, str]

    def v2(self, benchmark: BenchmarkV2, average: Literal["mean", "retrieval"]) -> float | None:
        """Return one average on MTEB v2; None if it is not published."""
        values = (getattr(scores, average) for scores in self.mteb_v2 if scores.benchmark == benchmark)
        return next((value for value in values if value is not None), None)


class CatalogueReranker(_Entry):
    """One well-known cross-encoder.

    Attributes:
        retrieval: Mean nDCG@10 on the ten retrieval tasks of MTEB(eng, v2) over six embedding models, first 100 hits.
        nanobeir: The same on NanoBEIR.
        mrr: MRR@10 on the development set of MS MARCO.
        sources: Sources of the facts, by topic.
    """

    id: str
    summary: str
    parameters_millions: float = Field(gt=0)
    licence: str
    languages: str
    retrieval: float = Field(ge=0, le=100)
    nanobeir: float = Field(ge=0, le=100)
    mrr: float | None = Field(default=None, ge=0, le=100)
    sources: dict[str, str]


class Choice(_Entry):
    """A ready choice: a short name for the model recommended for a purpose."""

    name: str
    model: str
    summary: str


class _Catalogue(_Entry):
    model: tuple[CatalogueModel, ...]
    choice: tuple[Choice, ...]
    reranker: tuple[CatalogueReranker, ...]


@functools.cache
def _file() -> _Catalogue:
    text = resources.files("mcp_server_embeddings").joinpath("data/models.toml").read_text(encoding="utf-8")
    return _Catalogue.model_validate(tomllib.loads(text))


def catalogue() -> tuple[CatalogueModel, ...]:
    """Return all embedding models, the default model first."""
    return _file().model


def rerankers() -> tuple[CatalogueReranker, ...]:
    """Return all rerankers, the recommended one first."""
    return _file().reranker


def choices() -> tuple[Choice, ...]:
    """Return the ready choices."""
    return _file().choice


def known_ids() -> list[str]:
    """Return the ids of all models and rerankers."""
    return [*(entry.id for entry in catalogue()), *(entry.id for entry in rerankers())]


def known(name: str) -> CatalogueModel | None:
    """Find the entry with this id, with or without the owner; None if there is none."""
    return next((entry for entry in catalogue() if name in (entry.id, entry.id.rsplit("/", 1)[-1])), None)


def full_id(name: str) -> str:
    """Return the Hugging Face id of a catalogued short name or a ready choice; any other name unchanged.

    Example:
        >>> full_id("better-english")
        'MongoDB/mdbr-leaf-mt'
    """
    if name == DEFAULT_MODEL:  # the default start need not read the catalogue
        return name
    ids = {choice.name: choice.model for choice in choices()}
    return (ids | {key.rsplit("/", 1)[-1]: key for key in known_ids()}).get(name, name)


def refusal(name: str) -> str | None:
    """Explain why a model is not loaded and which one to use instead; None if it may be loaded.

    Args:
        name: Hugging Face id or short name.
    """
    entry = known(name)
    if entry is None or entry.instead is None:
        return None
    return (
        f"model {entry.id!r} is refused: it needs code from its own repository (trust_remote_code), which is never "
        f"run; the nearest that works is {entry.instead!r}: run `{DISTRIBUTION} pull {entry.instead}`"
    )


def prompts_for(model: str, own: Mapping[str, str | None], default_name: str | None) -> Prompts:
    """Choose the prompts in the model's own files, or else those of the catalogue, which its authors prescribe.

    ``SentenceTransformer.encode_query`` and ``encode_document`` try names in the same order. The catalogue is needed
    because some files, such as those of BAAI/bge-base-en-v1.5, lack the prompt that the authors prescribe.

    Args:
        model: Hugging Face id, or the folder's name.
        own: The prompts in its files, by name.
        default_name: Name of the prompt for texts without a role.
    """
    entry = known(model)
    document = next((prompt for key in _DOCUMENT_PROMPTS if (prompt := own.get(key))), "")
    return Prompts(
        query=own.get("query") or (entry.prompts.query if entry else ""),
        document=document or (entry.prompts.document if entry else ""),
        symmetric=own.get(default_name or "") or "",
    )
