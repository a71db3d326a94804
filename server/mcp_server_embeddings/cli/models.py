"""``mcp-server-embeddings models``: print the catalogue of models as tables."""

import argparse
import shutil
import sys
from collections.abc import Sequence

from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.catalogue import (
    FIGURES,
    CatalogueModel,
    CatalogueReranker,
    catalogue,
    choices,
    known,
    rerankers,
)
from mcp_server_embeddings.engine.locate import cached_folder

_WIDE = 120
"""Minimum terminal width for full model ids; narrower ones get short names, which ``--model`` accepts too."""

_LEFT_ALIGNED = ("pull", "model", "reranker", "licence", "use instead")
_FACTS = ("", "model", "dims", "tokens", "MB", "licence")
_SCORES = ("model", "eng", "retr", "mult", "clas", "clus", "retr", "STS")
_REFUSED = ("model", "use instead")
_CHOICES = ("pull", "model", "eng", "retr", "mult")
_RERANKERS = ("", "reranker", "M", "licence", "retr", "nano", "MRR")

_FACTS_LEGEND = """
* on this machine, ! refused (see below). dims: a range where vectors may be
shortened. tokens: the limit of one text. MB: the weights.

"""
_SCORES_LEGEND = """
MTEB v2: the mean over MTEB(eng, v2), its retrieval tasks alone, and the mean
over MTEB(Multilingual, v2). MTEB v1, English: classification, clustering,
retrieval, STS. All in percent; v2 has other tasks and does not compare with v1.

"""
_CHOICES_LEGEND = """
Ready choices: `mcp-server-embeddings pull better-english`, then start with
--model better-english. Columns as above.

"""
_RERANKERS_LEGEND = """
For --reranker. M: million parameters. nDCG@10 of the retrieval tasks of
MTEB(eng, v2) and of NanoBEIR, MRR@10 of MS MARCO, in percent.

"""
_REFUSED_LEGEND = """
These need code from their own repositories (trust_remote_code), which is never
run. Sources of every figure: the resource embeddings://models.
"""


def run(_: Settings, __: argparse.Namespace) -> int:
    """Print the tables, which do not depend on any setting."""
    wide = shutil.get_terminal_size(fallback=(_WIDE, 24)).columns >= _WIDE
    served = [entry for entry in catalogue() if entry.instead is None]
    facts = [_facts(entry, wide) for entry in catalogue()]
    scores = [_scores(entry, wide) for entry in served if entry.mteb or entry.mteb_v2]
    refused = [(_name(entry.id, wide), _name(entry.instead, wide)) for entry in catalogue() if entry.instead]
    ready = [(choice.name, _name(choice.model, wide), *_averages(choice.model)) for choice in choices()]
    tables = (
        _table(_FACTS, facts) + _FACTS_LEGEND,
        _versions(scores) + _table(_SCORES, scores) + _SCORES_LEGEND,
        _table(_CHOICES, ready) + _CHOICES_LEGEND,
        _table(_RERANKERS, [_reranker(entry, wide) for entry in rerankers()]) + _RERANKERS_LEGEND,
        _table(_REFUSED, refused) + _REFUSED_LEGEND,
    )
    sys.stdout.write("".join(tables))
    return 0


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = (
        "  ".join(
            cell.ljust(width) if column in _LEFT_ALIGNED else cell.rjust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        for row in (columns, *rows)
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def _versions(scores: Sequence[Sequence[str]]) -> str:
    """Return a line above the scores that groups the columns by MTEB version."""
    indent = " " * max(len(row[0]) for row in scores)
    return f"{indent}  {' MTEB v2 '.center(16, '-')}  {' MTEB v1 '.center(22, '-')}\n"


def _facts(entry: CatalogueModel, wide: bool) -> tuple[str, ...]:
    here = entry.id == DEFAULT_MODEL or cached_folder(entry.id) is not None
    return (
        "!" if entry.instead else "*" if here else "",
        _name(entry.id, wide),
        "-".join(map(str, (*entry.matryoshka_dimensions[:1], entry.dimensions))),
        str(entry.max_tokens or "any"),
        f"{entry.size_mb:.0f}" if entry.size_mb else "-",
        entry.licence or "-",
    )


def _scores(entry: CatalogueModel, wide: bool) -> tuple[str, ...]:
    v1 = entry.mteb
    averages = (v1.classification, v1.clustering, v1.retrieval, v1.sts) if v1 else (None,) * 4
    return (_name(entry.id, wide), *_averages(entry.id), *map(_figure, averages))


def _averages(model: str) -> tuple[str, ...]:
    entry = known(model)
    return tuple(_figure(entry.v2(benchmark, average) if entry else None) for benchmark, average in FIGURES)


def _reranker(entry: CatalogueReranker, wide: bool) -> tuple[str, ...]:
    here = "*" if cached_folder(entry.id) is not None else ""
    size, figures = f"{entry.parameters_millions:.0f}", map(_figure, (entry.retrieval, entry.nanobeir, entry.mrr))
    return (here, _name(entry.id, wide), size, entry.licence, *figures)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _name(model: str, wide: bool) -> str:
    return model if wide else model.rsplit("/", 1)[-1]
