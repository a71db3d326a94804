"""``mcp-server-embeddings eval FOLDER...``: how well searches do on the user's own retrieval sets."""

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mcp_server_embeddings.cli.output import console, safe, say, say_json, table
from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.cli.session import Task, run_watched
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.reading.beir import read_retrieval_set
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.evaluation import Evaluation, SetFigures, evaluate

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("mode", "nDCG@10", "recall@10", "MRR@10", "no match", "no match, foreign", "rare words")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Index the sets in a temporary folder, search them, and print the figures.

    Raises:
        InputError: A folder is not in BEIR's layout.
        OperatorError: The model cannot be used, or the temporary folder cannot be written.
    """
    sets = [read_retrieval_set(folder) for folder in options.folders]
    prepare(settings)
    task = Task()
    with (
        TemporaryDirectory() as folder,
        closing(open_store(replace(settings, data_dir=Path(folder), store=""))) as store,
        Engine(settings) as engine,
    ):
        embedder = engine.embedder(task.call)

        def work() -> Evaluation:
            return evaluate(embedder, store, sets, queries=options.queries, seed=options.seed, report=task.report)

        found = run_watched(work, task)
    if options.json:
        say_json(found.compact())
    else:
        _say(found)
    return 0


def _say(found: Evaluation) -> None:
    for figures in found.sets:
        empty = f" ({figures.empty:,} empty ones left out)" if figures.empty else ""
        say(
            f"{figures.name}: {figures.documents:,} documents{empty} in {figures.passages:,} passages, "
            f"{figures.queries:,} of {figures.judged:,} queries, seed {found.seed}, {found.model}"
        )
        console().print(_table(figures))
        console().print(_bands(figures))


def _table(figures: SetFigures) -> "Table":
    rows = table()
    for name in _COLUMNS:
        rows.add_column(name, no_wrap=True)
    for mode, of_mode in figures.modes.items():
        foreign, rare = of_mode.foreign_no_match, of_mode.rare_words
        values = (of_mode.ndcg_at_10, of_mode.recall_at_10, of_mode.mrr_at_10, of_mode.no_match, foreign, rare)
        rows.add_row(mode, *("" if value is None else f"{value:.3f}" for value in values))
    return rows


def _bands(figures: SetFigures) -> "Table":
    """Return of the first ten hits of each mode how many there are in each band, and the share of relevant ones."""
    bands = list(dict.fromkeys(band for mode in figures.modes.values() for band in mode.bands))
    rows = table()
    for name in ("relevant hits", *bands):
        rows.add_column(safe(name), no_wrap=True)
    for mode, of_mode in figures.modes.items():
        if of_mode.bands:
            shares = [of_mode.bands.get(band) for band in bands]
            rows.add_row(mode, *("" if one is None else f"{one.share:.1%} of {one.hits:,}" for one in shares))
    return rows
