"""``python benchmarks/quality``: its figures on small files of ours, its words on bad ones, its metrics by hand."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import anyio
import pytest

from calls import client
from corpus import REWORDED, THEMES
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.tools.results import Limits, Status
from wire import PATIENCE, client_environment

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from quality.data import QualityError
from quality.labelled import Labelled
from quality.metrics import (
    accuracy_and_macro_f1,
    average_precision,
    correlations,
    coverage_and_accuracy,
    ndcg,
    v_measure,
)
from quality.retrieval import Retrieval
from quality.section import Section, Task
from quality.session import Session, parts
from quality.sts import Sts

ALIKE = [(left, right, "5") for left, right in REWORDED]
ON_ONE_SUBJECT = [(*texts[:2], "3") for texts in THEMES.values()]
APART = [(left, right, "0") for left, (right, _) in zip([t[0] for t in THEMES.values()], REWORDED, strict=True)]
PAIRS = [*ALIKE, *ON_ONE_SUBJECT, *APART]
ROWS = [(text, theme) for theme, texts in THEMES.items() for text in texts]
DOCUMENTS = [
    {"_id": "bread", "title": "Bread", "text": "Flour, water and salt are kneaded and baked in the oven."},
    {"_id": "bees", "title": "Bees", "text": "A hive of bees makes honey from the nectar of flowers."},
    {"_id": "tides", "title": "Tides", "text": "The moon pulls the sea up and down twice a day."},
    {"_id": "rails", "title": "", "text": "The night train runs on rails from one capital to the next."},
    {"_id": "nothing", "title": "", "text": ""},
]
QUERIES = [
    {"_id": "1", "text": "how is bread baked"},
    {"_id": "2", "text": "who makes honey"},
    {"_id": "3", "text": "why does the sea rise and fall"},
    {"_id": "4", "text": "never judged"},
]
QRELS = [("1", "bread", "2"), ("2", "bees", "1"), ("3", "tides", "1"), ("3", "rails", "0")]
Figures = dict[str, float]


def write_csv(path: Path, rows: Iterable[Sequence[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def write_collection(
    folder: Path, documents: Sequence[object], queries: Sequence[object], qrels: Iterable[Sequence[str]]
) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, entries in (("corpus.jsonl", documents), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
    lines = ["\t".join(row) for row in [("query-id", "corpus-id", "score"), *qrels]]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def run(data_dir: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(BENCHMARKS / "quality"), *map(str, arguments)],
        env=client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def figures(printed: str) -> Figures:
    """Name and value of each line of a section."""
    lines = [line.strip().rsplit("  ", 2) for line in printed.splitlines() if line.startswith("  ")]
    return {}


def refusal(read: Callable[[], Task]) -> str:
    with pytest.raises(QualityError) as caught:
        read()
    return str(caught.value)
