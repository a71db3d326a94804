"""Store the last run of each evaluation, and decide whether the next one is better.

A run is a file in the data folder, readable by its owner only: the metrics of each query under a hash of the query, and
digests of the queries and documents. It contains no text of a query or a document.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mcp_server_embeddings.errors import InputError, StorageError
from mcp_server_embeddings.private import atomic_write
from mcp_server_embeddings.tools.evaluation_results import (
    METRICS,
    Comparison,
    Difference,
    Figures,
    Metric,
    SetFigures,
)
from mcp_server_embeddings.tools.results import ResultModel
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.vectors.metrics import paired_difference

FEWEST = 10
"""Minimum number of queries for a verdict; with fewer, an interval clear of 0 can be pure chance."""

_RERUN = "run without --compare once, which keeps a run to compare with"


@dataclass(frozen=True, slots=True)
class Subject:
    """The queries and documents of a run.

    Attributes:
        path: The folder of the set, or the file of golden queries; runs with the same path are compared.
        collection: The collection searched by golden queries; empty for a set.
        documents: Ids of the searched documents.
        queries: The ids of relevant documents and their grades, by query.
    """

    path: Path
    collection: str
    documents: tuple[str, ...]
    queries: Mapping[str, Mapping[str, int]]

    def documents_digest(self) -> str:
        """Return a hash of the documents' ids."""
        return _digest(sorted(self.documents))

    def queries_digest(self) -> str:
        """Return a hash of the queries and relevance judgements."""
        return _digest([(query, sorted(judged.items())) for query, judged in sorted(self.queries.items())])


class Run(ResultModel):
    """A run as it is stored; ``queries`` and ``documents`` are digests."""

    format: Literal[1] = 1
    measured: str
    model: str
    collection: str
    documents: str
    document_count: int
    queries: str
    query_count: int
    figures: dict[SearchMode, Figures]


class Runs:
    """The stored last runs, one file each.

    Args:
        data_dir: The data folder.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "evaluations"

    def last(self, subject: Subject) -> Run:
        """Return the last run with the same path, queries and documents.

        Raises:
            InputError: There is no run of the path, or it used other queries or documents.
            StorageError: The run cannot be read.
        """
        path, name = self._path(subject), subject.path.name
        try:
            run = Run.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise InputError(f"there is no earlier run of {name!r} to compare with; {_RERUN}") from None
        except OSError as error:
            raise StorageError(
                f"the last run of {name!r}, {path}, cannot be read ({error.strerror}); {_RERUN}"
            ) from None
        except ValidationError:
            raise StorageError(f"the last run of {name!r}, {path}, is damaged or another version's; {_RERUN}") from None
        if run.documents != subject.documents_digest():
            before, now = (f" in {name!r}" if name else "" for name in (run.collection, subject.collection))
            raise InputError(
                f"the last run of {name!r} searched {run.document_count:,} documents{before}, and this run searches "
                f"{len(subject.documents):,}{now} with other ids, so the results cannot be compared; {_RERUN}"
            )
        if run.queries != subject.queries_digest():
            raise InputError(
                f"the last run of {name!r} asked {run.query_count:,} queries, and this run asks "
                f"{len(subject.queries):,}, which differ in text or judgements; pass the --queries and --seed of the "
                f"last run, or {_RERUN}"
            )
        return run

    def keep(self, subject: Subject, model: str, figures: SetFigures) -> None:
        """Store a run, replacing the last one.

        Raises:
            StorageError: The run cannot be written.
        """
        run = Run(
            measured=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            model=model,
            collection=subject.collection,
            documents=subject.documents_digest(),
            document_count=len(subject.documents),
            queries=subject.queries_digest(),
            query_count=len(subject.queries),
            figures=_figures_by_hash(figures),
        )
        path = self._path(subject)
        try:
            with atomic_write(path) as file:
                file.write(run.model_dump_json().encode())
        except OSError as error:
            raise StorageError(
                f"the run cannot be kept in {path} ({error.strerror}); make room there, or pass another --data-dir"
            ) from None

    def _path(self, subject: Subject) -> Path:
        return self._folder / f"{_digest(str(subject.path.resolve()))[:32]}.json"


def compared(last: Run, figures: SetFigures) -> Comparison:
    """Compare a set with its last run, query by query.

    Example:
        >>> compared(runs.last(subject), evaluation.sets[0]).modes["hybrid"]["nDCG@10"].verdict
        'unclear'
    """
    return Comparison(
        measured=last.measured,
        model=last.model,
        modes={mode: _compare_mode(last.figures[mode], now) for mode, now in _figures_by_hash(figures).items()},
    )


def _compare_mode(before: Figures, now: Figures) -> dict[Metric, Difference]:
    return {
        metric: _compare_metric([values[at] for values in before.values()], [now[query][at] for query in before])
        for at, metric in enumerate(METRICS)
    }


def _compare_metric(before: list[float], now: list[float]) -> Difference:
    found = paired_difference(before, now)
    clear = len(now) >= FEWEST and not found.low <= 0 <= found.high
    return Difference(
        before=sum(before) / len(before),
        difference=found.mean,
        low=found.low,
        high=found.high,
        verdict=("better" if found.mean > 0 else "worse") if clear else "unclear",
        rose=sum(new > old for old, new in zip(before, now, strict=True)),
        fell=sum(new < old for old, new in zip(before, now, strict=True)),
    )


def _figures_by_hash(figures: SetFigures) -> dict[SearchMode, Figures]:
    """Return the metrics of each query under a hash of the query, by search mode."""
    return {
        mode: {_digest(query)[:32]: values for query, values in mode_figures.by_query.items()}
        for mode, mode_figures in figures.modes.items()
    }


def _digest(value: object) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()
