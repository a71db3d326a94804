"""``python benchmarks/quality``: its figures on small files of ours, its words on bad ones, its metrics by hand."""

import csv
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import anyio
import pytest

from calls import client
from corpus import REWORDED, THEMES
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.status_results import Limits, Status
from wire import PATIENCE, client_environment

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from quality.__main__ import main as quality
from quality.labelled import Labelled
from quality.metrics import (
    accuracy_and_macro_f1,
    correlations,
    coverage_and_accuracy,
    v_measure,
)
from quality.section import Section, Task
from quality.session import Session, parts
from quality.sts import Sts

pytestmark = pytest.mark.slow

COMMAND = Path(__file__).parents[1] / "benchmarks" / "quality"

Rows = Iterable[Sequence[str]]

FIRST_OF_THEME = [texts[0] for texts in THEMES.values()]
PAIRS = [
    *((left, right, "5") for left, right in REWORDED),
    *((texts[3], texts[4], "2.5") for texts in THEMES.values()),
    *((left, right, "0") for left, (right, _) in zip(FIRST_OF_THEME, REWORDED, strict=True)),
]
ROWS = [(text, theme) for theme, texts in THEMES.items() for text in texts]


def csv_file(path: Path, rows: Rows) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def run(data_dir: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, whose warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(COMMAND), *map(str, arguments)],
        env=client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data_dir)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def measured(engine: Engine, task: Task, **limits: int) -> Section:
    """What a task finds through an in-memory client, of a server that allows less in a call."""

    async def main() -> Section:
        async with client(engine) as connected:
            said = Status.model_validate((await connected.call_tool("status", {})).structured_content)
            less = said.model_copy(update={"limits": said.limits.model_copy(update=limits)})
            return await task.measure(Session(connected, less))

    return anyio.run(main)


def values(section: Section) -> dict[str, float]:
    return {figure.name: figure.value for figure in section.figures}


def refusal(read: Callable[[], Task]) -> str:
    """The one sentence about bad data."""
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_command_prints_all_figures_and_what_they_were_measured_on(data_dir: Path, tmp_path: Path) -> None:
    pairs = csv_file(tmp_path / "pairs.csv", [("one", "other", "score"), *PAIRS])
    rows = csv_file(tmp_path / "rows.csv", [("category", "text"), *((label, text) for text, label in [*ROWS, ROWS[0]])])
    finished = run(data_dir, "--sts", pairs, "--labelled", rows, "--examples", "2")
    assert (finished.returncode, finished.stderr) == (0, "")
    head, *sections = finished.stdout.split("\n\n")
    for line in (r"mcp \d", r"mcp .* scipy \d", r"mcp-server-embeddings \d", r"model all-MiniLM-L6-v2@\w{8}: "):
        assert re.search(rf"^{line}", head, re.MULTILINE)
    assert head.endswith(f"--labelled {rows} --examples 2")
    assert [section.splitlines()[0] for section in sections] == [
        "pairs.csv: 12 pairs, cosines rounded to 4 decimals",
        "rows.csv, columns 'text' and 'category': 20 different texts (1 repeated ones left out), 4 labels, seed 0",
    ]
    found = {
        name: float(value) for name, value in re.findall(r"^  (\S.*?) {2,}(\d\.\d{4})\b", finished.stdout, re.MULTILINE)
    }
    assert found["Spearman"] > 0.8
    assert found["Pearson"] > 0.8
    assert math.isclose(sum(value for name, value in found.items() if "band" in name), 1, abs_tol=1e-3)
    assert found["zero-shot accuracy"] >= 0.9
    assert found["2-shot accuracy"] >= 0.75
    assert "12 texts, method means" in sections[1]
    assert found["V-measure, number of labels given"] > 0.7


def test_nothing_to_measure_is_refused_with_what_to_give(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["quality"])
    with pytest.raises(SystemExit, match="2"):
        quality()
    assert "give --sts or --labelled" in capsys.readouterr().err


def test_a_bad_file_ends_in_one_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", "--sts", str(tmp_path / "none.csv")])
    assert quality() == 2
    assert capsys.readouterr() == (
        "",
        f"quality: {tmp_path / 'none.csv'} cannot be read: No such file or directory; give one that can\n",
    )


def test_what_the_server_refuses_ends_likewise(data_dir: Path, tmp_path: Path) -> None:
    pairs = csv_file(tmp_path / "pairs.csv", PAIRS)
    finished = run(data_dir, "--sts", pairs, "--model", "nobody/nothing")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("quality: the server refused a call of similarity: model 'nobody/nothing'")
    assert finished.stderr.count("\n") == 1


def test_a_header_is_told_from_a_row_of_data(tmp_path: Path) -> None:
    assert len(Sts.read(csv_file(tmp_path / "bare.csv", PAIRS)).pairs) == len(PAIRS)
    assert len(Sts.read(csv_file(tmp_path / "headed.csv", [("a", "b", "human"), *PAIRS])).pairs) == len(PAIRS)
    bare = Labelled.read(csv_file(tmp_path / "bare.csv", ROWS), 1, 0)
    assert bare.title.startswith("bare.csv, first two columns, no header: 20 different")
    headed = Labelled.read(csv_file(tmp_path / "headed.csv", [("sentence", "theme"), *ROWS]), 1, 0)
    assert headed.title.startswith("headed.csv, columns 'sentence' and 'theme': 20 different")
    assert headed.rows == bare.rows


def test_examples_are_drawn_by_the_seed_and_never_scored(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "rows.csv", [*ROWS, *ROWS, (ROWS[0][0], "garden")])
    drawn = [Labelled.read(path, 2, seed)._split() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for shown, held_out in drawn:
        assert sorted(row.label for row in shown) == sorted(2 * list(THEMES))
        assert not {row.text for row in shown} & {row.text for row in held_out}
        assert len(shown) + len(held_out) == len(ROWS)


def test_calls_as_small_as_can_be_give_the_same_labels(engine: Engine, tmp_path: Path) -> None:
    labelled = Labelled.read(csv_file(tmp_path / "rows.csv", ROWS), 4, 0)
    whole, small = values(measured(engine, labelled)), values(measured(engine, labelled, texts=21))
    assert whole.keys() == small.keys()
    assert all(value == small[name] for name, value in whole.items() if "shot" in name)


def test_texts_are_split_by_number_and_by_characters() -> None:
    limits = Limits(texts=4, characters=10, answer_characters=1)
    assert parts(["a"] * 5, ["b"], limits) == [slice(0, 3), slice(3, 5)]
    assert parts(["aaaa", "aaa", "aaa", "aaaaaaa"], ["bbb"], limits) == [slice(0, 2), slice(2, 3), slice(3, 4)]
    for beside in (["b"] * 4, ["bbbb"]):
        with pytest.raises(InputError, match=r"do not fit into one call .*; give fewer labels"):
            parts(["aaaaaaa"], beside, limits)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "b")], "line 1 of {} has 2 columns; wanted: text, text, human score as a number"),
        ([("a", "b", "1"), ("c", "d", "much")], "line 2 of {} has the score 'much'; wanted: "),
        ([("a", "b", "1"), ("c", "d", "nan")], "line 2 of {} has the score 'nan'; wanted: "),
        ([("a", "b", "1"), (" ", "d", "2")], "line 2 of {} has an empty text; wanted: "),
        ([("a", "b", "1"), ("c", "d", "1.0")], "{} has 2 pairs and not two different human scores"),
        ([], "{} is empty; give "),
    ],
)
def test_a_bad_file_of_pairs_is_refused_in_words(rows: list[tuple[str, ...]], words: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "pairs.csv", rows)
    assert refusal(lambda: Sts.read(path)).startswith(words.format(path))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("text",), ("a",)], "line 1 of {} has 1 columns, the first line 1; wanted: the columns text and label"),
        ([("text", "label"), ("a", "b", "c")], "line 2 of {} has 3 columns, the first line 2; wanted: "),
        ([("text", "label"), ("a", "")], "line 2 of {} has no label; "),
        ([("text", "label")], "{} has fewer than 2 labels: []; give texts of 2 or more"),
        (
            [("text", "label"), ("a", "x"), ("b", "y"), ("c", "y")],
            "{} has too few different texts of the label 'x', 1; ",
        ),
    ],
)
def test_a_bad_file_of_labels_is_refused_in_words(rows: list[tuple[str, ...]], words: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path / "rows.csv", rows)
    assert refusal(lambda: Labelled.read(path, 1, 0)).startswith(words.format(path))


def test_each_metric_is_the_one_computed_by_hand() -> None:
    # ranks 1 2 3 4 against 1 3 2 4: 1 - 6 * 2 / (4 * 15); deviations give 13 / sqrt(5 * 50)
    assert correlations([1, 2, 3, 4], [1, 3, 2, 10]) == pytest.approx((0.8, 13 / math.sqrt(250)))
    # F1 of a is 1/2, of b 2/3, of c 0
    assert accuracy_and_macro_f1(["a", "b", "b", "a"], ["a", "a", "b", "c"]) == pytest.approx((1 / 2, 7 / 18))
    assert coverage_and_accuracy(["a", None, "b", "c"], ["a", "a", "b", "b"]) == pytest.approx((3 / 4, 2 / 3))
    assert coverage_and_accuracy([None], ["a"]) == pytest.approx((0, math.nan), nan_ok=True)
    # two outliers, each alone: homogeneity 1, completeness 1 - 0.5 ln 2 / (1.5 ln 2) = 2/3
    assert v_measure([[0, 1]], ["a", "a", "b", "b"]) == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))
