"""The catalogue of models: what an entry must hold, what is refused, and how it is printed."""

import re
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from pydantic import ValidationError

from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.catalogue import (
    BenchmarkV2,
    CatalogueModel,
    CataloguePrompts,
    ScoresV1,
    ScoresV2,
    catalogue,
    choices,
    full_id,
    known,
    refusal,
    rerankers,
)
from mcp_server_embeddings.engine.engine import Engine
from models import BGE_PROMPT, save_random_bert
from readme import README
from wire import PATIENCE, PROGRAM, client_environment

SERVED = [entry for entry in catalogue() if entry.instead is None]
REFUSED = [entry for entry in catalogue() if entry.instead is not None]
AVERAGES = ("classification", "clustering", "retrieval", "sts", "summarization")
PROMPTS = {
    "MongoDB/mdbr-leaf-mt": (BGE_PROMPT, ""),
    "BAAI/bge-small-en-v1.5": (BGE_PROMPT, ""),
    "BAAI/bge-base-en-v1.5": (BGE_PROMPT, ""),
    "BAAI/bge-large-en-v1.5": (BGE_PROMPT, ""),
    "mixedbread-ai/mxbai-embed-large-v1": (BGE_PROMPT, ""),
    "Snowflake/snowflake-arctic-embed-m-v1.5": (BGE_PROMPT, ""),
    "intfloat/e5-base-v2": ("query: ", "passage: "),
    "intfloat/multilingual-e5-small": ("query: ", "passage: "),
    "google/embeddinggemma-300m": ("task: search result | query: ", "title: none | text: "),
    "Qwen/Qwen3-Embedding-0.6B": (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
        "",
    ),
}
"""Query and document prompt of every served model that has any, byte for byte as its authors give it."""


def entries(models: list[CatalogueModel]) -> pytest.MarkDecorator:
    """One test for each of these models."""
    return pytest.mark.parametrize("entry", models, ids=[model.id for model in models])


def printed(home: Path, columns: str) -> list[list[str]]:
    """The lines of each table that ``models`` prints in a terminal of this width."""
    finished = subprocess.run(
        [*PROGRAM, "models"],
        env=client_environment(HF_HOME=str(home), COLUMNS=columns),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert finished.stderr == ""
    facts, _, scores, _, ready, _, reranking, _, refused, _ = finished.stdout.split("\n\n")
    assert max(map(len, finished.stdout.splitlines())) <= int(columns)
    return [
        facts.splitlines()[1:],
        scores.splitlines()[2:],
        *(part.splitlines()[1:] for part in (ready, reranking, refused)),
    ]


def test_the_catalogue_begins_with_the_default_and_has_each_model_once() -> None:
    ids = [entry.id for entry in catalogue()]
    assert ids[0] == DEFAULT_MODEL
    assert len(set(ids)) == len(ids)


def test_the_models_people_choose_are_in_the_catalogue() -> None:
    assert {entry.id for entry in SERVED} >= {
        *PROMPTS,
        "hotchpotch/bekko-embedding-v1-a8m",
        "hotchpotch/bekko-embedding-v1-a25m",
        "ibm-granite/granite-embedding-small-english-r2",
        "ibm-granite/granite-embedding-english-r2",
        "ibm-granite/granite-embedding-97m-multilingual-r2",
        "Alibaba-NLP/gte-modernbert-base",
        "BAAI/bge-m3",
        "minishlab/potion-base-8M",
        "minishlab/potion-retrieval-32M",
        "minishlab/potion-multilingual-128M",
        "sentence-transformers/static-retrieval-mrl-en-v1",
    }


@entries(list(catalogue()))
def test_every_entry_has_sources_and_a_short_name(entry: CatalogueModel) -> None:
    assert known(entry.id) == known(entry.id.rsplit("/", 1)[-1]) == entry
    assert full_id(entry.id.rsplit("/", 1)[-1]) == entry.id
    assert entry.summary
    assert {"card", "facts"} <= set(entry.sources)
    assert all(source.startswith("https://") for source in entry.sources.values())


@entries(list(catalogue()))
def test_matryoshka_sizes_ascend_to_the_full_size(entry: CatalogueModel) -> None:
    sizes = entry.matryoshka_dimensions
    assert list(sizes) == sorted(set(sizes))
    assert not sizes or sizes[-1] == entry.dimensions
    assert not sizes or "matryoshka" in entry.sources


@entries(list(catalogue()))
def test_every_score_has_a_source(entry: CatalogueModel) -> None:
    scores: list[ScoresV1 | ScoresV2] = [*([entry.mteb] if entry.mteb else []), *entry.mteb_v2]
    for block in scores:
        assert block.source.startswith("https://")
        assert any(getattr(block, average, None) is not None for average in (*AVERAGES, "mean"))
    of_v2 = [(block.benchmark, block.source) for block in entry.mteb_v2]
    assert len(set(of_v2)) == len(of_v2)
    assert all((block.mean is None) == (block.tasks is None) for block in entry.mteb_v2)


@pytest.mark.parametrize("benchmark", ["MTEB(eng, v2)", "MTEB(Multilingual, v2)"])
def test_scores_of_one_version_of_mteb_do_not_fit_into_the_block_of_the_other(benchmark: str) -> None:
    v2 = {"benchmark": benchmark, "retrieval": 50.0, "source": "https://example.org"}
    v1 = {**v2, "benchmark": "MTEB English v1 (56 tasks)"}
    assert ScoresV2.model_validate(v2).retrieval == ScoresV1.model_validate(v1).retrieval
    with pytest.raises(ValidationError):
        ScoresV1.model_validate(v2)
    with pytest.raises(ValidationError):
        ScoresV2.model_validate(v1)


def test_the_figures_of_the_model_that_costs_what_the_default_costs() -> None:
    default, leaf = known(DEFAULT_MODEL), known("mdbr-leaf-mt")
    assert default is not None
    assert leaf is not None
    assert (default.v2("MTEB(eng, v2)", "mean"), leaf.v2("MTEB(eng, v2)", "mean")) == (59.03, 63.97)
    assert (default.v2("MTEB(eng, v2)", "retrieval"), leaf.v2("MTEB(eng, v2)", "retrieval")) == (42.92, 51.38)
    assert leaf.v2("MTEB(Multilingual, v2)", "mean") is None


@entries(SERVED)
def test_prompts_are_those_of_the_authors(entry: CatalogueModel) -> None:
    query, document = PROMPTS.get(entry.id, ("", ""))
    assert entry.prompts == CataloguePrompts(query=query, document=document)


@pytest.mark.parametrize("model", ["Qwen/Qwen3-Embedding-0.6B", "google/embeddinggemma-300m"])
def test_the_prompts_of_a_model_whose_files_lack_them_reach_the_engine(model: str, tmp_path: Path) -> None:
    folder = save_random_bert(tmp_path / model.rsplit("/", 1)[-1], pooling="mean", normalise=True)
    with Engine(Settings(model=str(folder), data_dir=tmp_path / "data", engine="reference")) as engine:
        prompts = engine.embedder().identity().prompts
    assert (prompts.query, prompts.document, prompts.symmetric) == (*PROMPTS[model], "")


@entries(REFUSED)
def test_a_refused_model_names_one_that_works(entry: CatalogueModel) -> None:
    assert entry.trust_remote_code
    assert entry.instead in [served.id for served in SERVED]
    sentence = refusal(entry.id)
    assert sentence is not None
    assert f"model {entry.id!r} is refused" in sentence
    assert f"the nearest that works is {entry.instead!r}" in sentence
    assert refusal(entry.id.rsplit("/", 1)[-1]) == sentence


def test_models_with_code_of_their_own_are_refused_and_no_others() -> None:
    assert {entry.id for entry in REFUSED} >= {
        "nomic-ai/nomic-embed-text-v1.5",
        "Alibaba-NLP/gte-multilingual-base",
        "Snowflake/snowflake-arctic-embed-m-v2.0",
        "jinaai/jina-embeddings-v3",
    }
    assert not any(entry.trust_remote_code for entry in SERVED)
    assert [refusal(entry.id) for entry in SERVED] == [None] * len(SERVED)
    assert refusal("someone/unknown") is None


@pytest.mark.parametrize("columns", ["80", "120"])
def test_models_prints_every_entry_within_the_width_of_the_terminal(columns: str, tmp_path: Path) -> None:
    facts, scores, ready, reranking, refused = printed(tmp_path, columns)

    def name(model: str) -> str:
        return model if columns == "120" else model.rsplit("/", 1)[-1]

    assert [row[3:].split()[0] for row in facts] == [name(entry.id) for entry in catalogue()]
    assert [row[0] for row in facts] == [
        "!" if entry.instead else "*" if entry.id == DEFAULT_MODEL else " " for entry in catalogue()
    ]
    assert [row.split()[0] for row in scores] == [name(e.id) for e in SERVED if e.mteb or e.mteb_v2]
    assert [row.split()[:2] for row in ready] == [[one.name, name(one.model)] for one in choices()]
    assert [row.split()[0] for row in reranking] == [name(entry.id) for entry in rerankers()]
    assert [row.split() for row in refused] == [[name(e.id), name(e.instead or "")] for e in REFUSED]


def test_models_prints_both_versions_of_mteb_beside_each_other(tmp_path: Path) -> None:
    _, scores, ready, *_ = printed(tmp_path, "120")
    assert [row.split()[2:] for row in ready] == [["64.0", "51.4", "-"], ["60.8", "47.7", "56.6"]]
    rows = {name: figures for name, *figures in map(str.split, scores)}
    assert rows[DEFAULT_MODEL] == ["59.0", "42.9", "41.7", "63.0", "42.4", "42.0", "78.9"]
    assert rows["MongoDB/mdbr-leaf-mt"] == ["64.0", "51.4", "-", "-", "-", "-", "-"]
    assert rows["google/embeddinggemma-300m"] == ["69.7", "55.7", "61.4", "-", "-", "-", "-"]
    assert rows["BAAI/bge-large-en-v1.5"] == ["-", "-", "-", "76.0", "46.1", "54.3", "83.1"]


def test_a_ready_choice_is_a_model_that_is_better_than_the_default_for_its_purpose() -> None:
    default = known(DEFAULT_MODEL)
    assert default is not None
    purposes: dict[str, tuple[BenchmarkV2, Literal["mean", "retrieval"]]] = {
        "better-english": ("MTEB(eng, v2)", "retrieval"),
        "multilingual": ("MTEB(Multilingual, v2)", "mean"),
    }
    for choice in choices():
        entry = known(choice.model)
        assert entry in SERVED
        assert full_id(choice.name) == choice.model
        score, before = (each.v2(*purposes[choice.name]) for each in (entry, default) if each is not None)
        assert (score or 0) > (before or 0) + 5


def test_pull_says_which_model_a_ready_choice_is_with_figures_and_their_source(tmp_path: Path) -> None:
    finished = subprocess.run(
        [*PROGRAM, "pull", "multilingual"],
        env=client_environment(HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    said = finished.stdout.splitlines()
    assert said[0].startswith("multilingual is hotchpotch/bekko-embedding-v1-a8m: many languages, ")
    assert "  MTEB(Multilingual, v2), mean: 56.63 (the default model: 41.71)" in said
    assert said[-1].startswith("  source: https://github.com/embeddings-benchmark/results/")
    assert "cannot fetch 'hotchpotch/bekko-embedding-v1-a8m': HF_HUB_OFFLINE is set" in finished.stderr


def test_rerankers_have_figures_with_sources_and_short_names() -> None:
    assert len({entry.id for entry in rerankers()}) == len(rerankers())
    for entry in rerankers():
        assert full_id(entry.id.rsplit("/", 1)[-1]) == entry.id
        assert {"card", "scores"} <= set(entry.sources)
        assert (entry.mrr is None) == ("mrr" not in entry.sources)
        assert all(source.startswith("https://") for source in entry.sources.values())
    figures = {entry.id: (entry.retrieval, entry.mrr) for entry in rerankers()}
    assert figures["cross-encoder/ettin-reranker-17m-v1"] == (55.76, None)
    assert figures["cross-encoder/ms-marco-MiniLM-L6-v2"] == (50.82, 39.01)


def test_the_readme_quotes_the_catalogue() -> None:
    text = README.read_text(encoding="utf-8")
    assert f"lists {len(SERVED)} that work" in " ".join(text.split())
    table = re.findall(r"^\|(.*)\|$", text.split("## Models\n")[1].split("## Settings\n")[0], re.MULTILINE)
    (_, *models), _, *lines = ([cell.strip() for cell in row.split("|")] for row in table)
    rows = {name: cells for name, *cells in lines}
    for column, heading in enumerate(models):
        entry = known(heading.split()[0])
        assert entry is not None
        english = (entry.v2("MTEB(eng, v2)", "mean"), entry.v2("MTEB(eng, v2)", "retrieval"))
        v1 = (entry.mteb.retrieval, entry.mteb.sts) if entry.mteb else ()
        quoted = {name: cells[column] for name, cells in rows.items()}
        assert quoted["weights, licence"] == f"{entry.size_mb:.0f} MB, {entry.licence}"
        assert quoted["dimensions, token limit"] == f"{entry.dimensions}, {entry.max_tokens}"
        assert quoted["MTEB(eng, v2): mean, retrieval"] == ", ".join(f"{score:.2f}" for score in english)
        multilingual = entry.v2("MTEB(Multilingual, v2)", "mean")
        assert quoted["MTEB(Multilingual, v2): mean"] == ("" if multilingual is None else f"{multilingual:.2f}")
        assert quoted["MTEB English v1: retrieval, STS"] == ", ".join(f"{score:.2f}" for score in v1)
