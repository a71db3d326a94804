"""``mcp-server-embeddings eval QUERIES...``: measure search on the user's own queries and compare with the last run."""

import argparse
import random
from collections.abc import Iterator, Sequence
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
    sets = _read_sets(options.paths, options.collection)
    prepare(settings)
    task, runs = Task(), Runs(settings.data_dir)
    with _open_store(settings, options.collection) as store:
        subjects = [_subject(path, data, store, options) for path, data in zip(options.paths, sets, strict=True)]
        last = [runs.last(subject) for subject in subjects] if options.compare else []
        with Engine(settings) as engine:
            embedder = engine.embedder(task.call)
            evaluation = run_watched(lambda: _evaluate(embedder, store, sets, task, options), task)
    for subject, figures in zip(subjects, evaluation.sets, strict=True):
        runs.keep(subject, evaluation.model, figures)
    if last:
        pairs = zip(last, evaluation.sets, strict=True)
        updated = [figures.model_copy(update={"compared": compared(before, figures)}) for before, figures in pairs]
        evaluation = evaluation.model_copy(update={"sets": updated})
    if options.json:
        say_json(evaluation.compact())
    else:
        _print_evaluation(evaluation)
    return 0


def _read_sets(paths: Sequence[Path], collection: str) -> list[RetrievalSet]:
    """Read the queries; raise ``InputError`` if a path cannot be read or does not go with ``--collection``."""
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
def _open_store(settings: Settings, collection: str) -> Iterator[CollectionStore]:
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
    """Return the documents, queries and relevance to evaluate; raise ``CollectionError`` without the collection."""
    name: str = options.collection
    documents = store.open(name).items().ids if name else list(data.documents)
    chosen = drawn_queries(data, options.queries, random.Random(options.seed))  # noqa: S311 - not for secrets
    relevance = {data.queries[query]: data.relevance[query] for query in chosen}
    return Subject(path, name, tuple(documents), relevance)


def _evaluate(
    embedder: Embedder, store: CollectionStore, sets: list[RetrievalSet], task: Task, options: argparse.Namespace
) -> Evaluation:
    queries, seed, name = options.queries, options.seed, options.collection
    if name:
        return evaluate_collection(embedder, store, name, sets[0], queries=queries, seed=seed, report=task.report)
    return evaluate(embedder, store, sets, queries=queries, seed=seed, report=task.report)


def _print_evaluation(evaluation: Evaluation) -> None:
    for figures in evaluation.sets:
        empty = f" ({figures.empty:,} empty ones left out)" if figures.empty else ""
        say(
            f"{figures.name}: {figures.documents:,} documents{empty} in {figures.passages:,} passages, "
            f"{figures.queries:,} of {figures.judged:,} queries, seed {evaluation.seed}, {evaluation.model}"
        )
        console().print(_metrics_table(figures))
        console().print(_bands_table(figures))
        if figures.compared is not None:
            _print_comparison(figures.compared, figures.queries)


def _print_comparison(comparison: Comparison, queries: int) -> None:
    say(f"against the run of {comparison.measured} UTC, {comparison.model}:")
    rows = table("mode", "metric", "before", "difference", "95 % interval", "queries up, down", "")
    for mode, metrics in comparison.modes.items():
        for metric, change in metrics.items():
            interval = f"{change.low:+.3f} to {change.high:+.3f}"
            counts = f"{change.rose:,}, {change.fell:,}"
            rows.add_row(
                mode, metric, f"{change.before:.3f}", f"{change.difference:+.3f}", interval, counts, change.verdict
            )
    console().print(rows)
    for mode, metrics in comparison.modes.items():
        say(f"{mode}: {_verdict(metrics['nDCG@10'], queries)}")


def _verdict(change: Difference, queries: int) -> str:
    """Return one sentence that says whether a mode is better than in the last run."""
    if not change.rose and not change.fell:
        return "no clear difference from the last run; nDCG@10 is the same"
    difference = f"nDCG@10 differs by {change.difference:+.3f}"
    if change.verdict != "unclear":
        return f"{change.verdict} than the last run; {difference}, which is unlikely to be chance"
    reason = f"but {queries} queries are too few, give {FEWEST} or more" if queries < FEWEST else "which may be chance"
    return f"no clear difference from the last run; {difference}, {reason}"


def _metrics_table(figures: SetFigures) -> "Table":
    rows = table(*_COLUMNS)
    for mode, metrics in figures.modes.items():
        foreign, rare = metrics.foreign_no_match, metrics.rare_words
        values = (metrics.ndcg_at_10, metrics.recall_at_10, metrics.mrr_at_10, metrics.no_match, foreign, rare)
        rows.add_row(mode, *("" if value is None else f"{value:.3f}" for value in values))
    return rows


def _bands_table(figures: SetFigures) -> "Table":
    """Return a table of the first ten hits of each mode: the number in each band, and the share of relevant ones."""
    bands = list(dict.fromkeys(band for mode in figures.modes.values() for band in mode.bands))
    rows = table("relevant hits", *map(safe, bands))
    for mode, metrics in figures.modes.items():
        if metrics.bands:
            counts = [metrics.bands.get(band) for band in bands]
            rows.add_row(mode, *("" if count is None else f"{count.share:.1%} of {count.hits:,}" for count in counts))
    return rows
