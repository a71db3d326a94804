"""``mcp-server-embeddings eval QUERIES...``: measure search on the user's own queries and compare with the last run."""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mcp_server_embeddings.cli.output import console, safe, say, say_json, table
from mcp_server_embeddings.cli.process import prepare
from mcp_server_embeddings.cli.session import Task, run_watched
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.beir import RetrievalSet, read_retrieval_set
from mcp_server_embeddings.reading.golden import read_golden_queries
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.evaluation import drawn_queries, evaluate, evaluate_collection
from mcp_server_embeddings.tools.evaluation_results import Comparison, Difference, Evaluation, SetFigures
from mcp_server_embeddings.tools.evaluation_runs import FEWEST, Runs, Subject, compared

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("mode", "nDCG@10", "recall@10", "MRR@10", "no match", "no match, foreign", "rare words")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Search a collection, or retrieval sets indexed in a temporary folder, and print the metrics.

    Raises:
        InputError: A folder is not in BEIR's layout, a file has no golden queries, or there is no run to compare with.
        CollectionError: The collection does not exist, or has another model's vectors.
        OperatorError: The model cannot be used, or a folder cannot be written.
    """
    sets = _read(options.paths, options.collection)
    prepare(settings)
    task, runs = Task(), Runs(settings.data_dir)
    with _opened(settings, options.collection) as store:
        subjects = [_subject(path, data, store, options) for path, data in zip(options.paths, sets, strict=True)]
        last = [runs.last(subject) for subject in subjects] if options.compare else []
        with Engine(settings) as engine:
            work = _work(engine.embedder(task.call), store, sets, task, options)
            found = run_watched(work, task)
    for subject, figures in zip(subjects, found.sets, strict=True):
        runs.keep(subject, found.model, figures)
    if last:
        with_last = zip(last, found.sets, strict=True)
        updated = [one.model_copy(update={"compared": compared(before, one)}) for before, one in with_last]
        found = found.model_copy(update={"sets": updated})
    if options.json:
        say_json(found.compact())
    else:
        _say(found)
    return 0


def _read(paths: Sequence[Path], collection: str) -> list[RetrievalSet]:
    """Read the queries.

    Raises:
        InputError: A path cannot be read, or does not go with --collection.
    """
    if not collection:
        if files := [path for path in paths if path.is_file()]:
            raise InputError(
                f"{files[0]} is a file, and queries in a file are asked of a collection; add --collection NAME, or "
                "give folders in BEIR's layout"
            )
        return [read_retrieval_set(path) for path in paths]
    if len(paths) > 1 or paths[0].is_dir():
        given = f"{len(paths)} paths" if len(paths) > 1 else f"the folder {paths[0]}"
        raise InputError(f"{given} came with --collection; give one table with the columns query and id")
    return [read_golden_queries(paths[0])]


@contextmanager
def _opened(settings: Settings, collection: str) -> Iterator[CollectionStore]:
    """Open the user's store if a collection is named, else a temporary one for the sets."""
    if collection:
        with closing(open_store(settings)) as store:
            yield store
        return
    with (
        TemporaryDirectory() as folder,
        closing(open_store(replace(settings, data_dir=Path(folder), store=""))) as store,
    ):
        yield store


def _subject(path: Path, data: RetrievalSet, store: CollectionStore, options: argparse.Namespace) -> Subject:
    """Return the subject of an evaluation: the documents, the queries, and which documents are relevant.

    Raises:
        CollectionError: The collection does not exist.
    """
    name: str = options.collection
    documents = store.open(name).items().ids if name else list(data.documents)
    chosen = drawn_queries(data, options.queries, random.Random(options.seed))  # noqa: S311 - not for secrets
    asked = {data.queries[query]: data.relevance[query] for query in chosen}
    return Subject(path, name, tuple(documents), asked)


def _work(
    embedder: Embedder, store: CollectionStore, sets: list[RetrievalSet], task: Task, options: argparse.Namespace
) -> Callable[[], Evaluation]:
    queries, seed, name = options.queries, options.seed, options.collection
    if name:
        return lambda: evaluate_collection(
            embedder, store, name, sets[0], queries=queries, seed=seed, report=task.report
        )
    return lambda: evaluate(embedder, store, sets, queries=queries, seed=seed, report=task.report)


def _say(found: Evaluation) -> None:
    for figures in found.sets:
        empty = f" ({figures.empty:,} empty ones left out)" if figures.empty else ""
        say(
            f"{figures.name}: {figures.documents:,} documents{empty} in {figures.passages:,} passages, "
            f"{figures.queries:,} of {figures.judged:,} queries, seed {found.seed}, {found.model}"
        )
        console().print(_table(figures))
        console().print(_bands(figures))
        if figures.compared is not None:
            _say_compared(figures.compared, figures.queries)


def _say_compared(comparison: Comparison, queries: int) -> None:
    say(f"against the run of {comparison.measured} UTC, {comparison.model}:")
    rows = table()
    for name in ("mode", "metric", "before", "difference", "95 % interval", "queries up, down", ""):
        rows.add_column(name, no_wrap=True)
    for mode, metrics in comparison.modes.items():
        for metric, found in metrics.items():
            interval = f"{found.low:+.3f} to {found.high:+.3f}"
            counts = f"{found.rose:,}, {found.fell:,}"
            rows.add_row(
                mode, metric, f"{found.before:.3f}", f"{found.difference:+.3f}", interval, counts, found.verdict
            )
    console().print(rows)
    for mode, metrics in comparison.modes.items():
        say(f"{mode}: {_in_words(metrics['nDCG@10'], queries)}")


def _in_words(found: Difference, queries: int) -> str:
    """Return one sentence that says whether a mode is better than in the last run."""
    moved = "is the same" if not found.rose and not found.fell else f"differs by {found.difference:+.3f}"
    if found.verdict != "unclear":
        return f"{found.verdict} than the last run; nDCG@10 {moved}, and chance alone would hardly bring that"
    few = f"{queries} queries are too few, give {FEWEST} or more" if queries < FEWEST else "chance could bring that"
    return f"not to be told apart from the last run; nDCG@10 {moved}" + (
        f", and {few}" if found.rose or found.fell else ""
    )


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
    """Return a table of the first ten hits of each mode: the number in each band, and the share of relevant ones."""
    bands = list(dict.fromkeys(band for mode in figures.modes.values() for band in mode.bands))
    rows = table()
    for name in ("relevant hits", *bands):
        rows.add_column(safe(name), no_wrap=True)
    for mode, of_mode in figures.modes.items():
        if of_mode.bands:
            shares = [of_mode.bands.get(band) for band in bands]
            rows.add_row(mode, *("" if one is None else f"{one.share:.1%} of {one.hits:,}" for one in shares))
    return rows
