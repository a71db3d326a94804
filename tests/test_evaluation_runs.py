"""Golden queries over a collection, and whether a run of ``eval`` is better than the last one."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_server_embeddings.cli.main import main
from mcp_server_embeddings.errors import InputError, StorageError
from mcp_server_embeddings.reading.golden import read_golden_queries
from mcp_server_embeddings.tools.evaluation_results import Difference, Figures, ModeFigures, SetFigures
from mcp_server_embeddings.tools.evaluation_runs import FEWEST, Runs, Subject, compared
from mcp_server_embeddings.vectors.metrics import paired_difference

pytestmark = pytest.mark.usefixtures("warm_commands")

TICKETS = Path(__file__).parents[1] / "examples" / "data" / "tickets.csv"
GOLDEN = "query,id\ncash machine kept my card,T109\ncash machine kept my card,T115\ncharged twice,T102\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, warm_commands: None) -> Path:
    """A data folder with a collection of tickets."""
    folder = tmp_path_factory.mktemp("golden")
    assert main(["index", "tickets", f"{TICKETS}#message", "--data-dir", str(folder)]) == 0
    return folder


def golden(folder: Path, content: str = GOLDEN, name: str = "golden.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def evaluated(folder: Path, path: Path, *options: str, collection: str = "tickets") -> int:
    return main(["eval", str(path), "--collection", collection, "--data-dir", str(folder), *options])


def figures(values: Figures) -> SetFigures:
    mode = ModeFigures(ndcg_at_10=0, recall_at_10=0, mrr_at_10=0, no_match=0, bands={}, by_query=values)
    return SetFigures(
        name="a", documents=1, empty=0, passages=1, queries=len(values), judged=len(values), modes={"hybrid": mode}
    )


def subject(queries: Mapping[str, Mapping[str, int]], *documents: str, path: str = "golden.csv") -> Subject:
    return Subject(Path(path), "notes", documents or ("a", "b"), queries)


def difference(tmp_path: Path, before: list[float], now: list[float]) -> Difference:
    """The nDCG of two runs of as many queries."""
    asked = subject({str(at): {"a": 1} for at in range(len(before))})
    runs = Runs(tmp_path)
    runs.keep(asked, "model@1", figures({str(at): (value, 0, 0) for at, value in enumerate(before)}))
    found = compared(runs.last(asked), figures({str(at): (value, 0, 0) for at, value in enumerate(now)}))
    return found.modes["hybrid"]["nDCG@10"]


def test_golden_queries_are_asked_of_a_collection_and_compared_with_the_last_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = golden(folder)
    assert evaluated(folder, path, "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["sets"][0]["documents"], first["sets"][0]["queries"]) == (16, 2)
    assert first["sets"][0]["modes"]["hybrid"]["recall_at_10"] == 1
    assert "compared" not in first["sets"][0]
    assert evaluated(folder, path, "--compare") == 0
    printed = capsys.readouterr().out
    assert "against the run of " in printed
    assert "hybrid: no clear difference from the last run; nDCG@10 is the same\n" in printed


def test_a_program_gets_the_verdicts_and_the_first_comparison_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = golden(folder, name="new.csv")
    assert evaluated(folder, path, "--compare") == 2
    assert "there is no earlier run of 'new.csv' to compare with; run without --compare once" in capsys.readouterr().err
    assert evaluated(folder, path) == 0
    capsys.readouterr()
    assert evaluated(folder, path, "--compare", "--json") == 0
    compared = json.loads(capsys.readouterr().out)["sets"][0]["compared"]
    assert {metric["verdict"] for mode in compared["modes"].values() for metric in mode.values()} == {"unclear"}
    assert evaluated(folder, path, "--compare", "--queries", "1") == 2
    assert "asked 2 queries, and this run asks 1, which differ" in capsys.readouterr().err


def test_a_kept_run_is_private_and_has_no_text(folder: Path) -> None:
    assert evaluated(folder, golden(folder, name="private.csv")) == 0
    for path in (folder / "evaluations").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not {word for word in ("cash", "charged", "T109") if word in path.read_text(encoding="utf-8")}


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ([0.2] * 20, [0.2] * 10 + [0.6] * 10, "better"),
        ([0.2] * 10 + [0.6] * 10, [0.2] * 20, "worse"),
        ([0.5] * 20, [0.5] * 19 + [1.0], "unclear"),
        ([0.5, 0.6] * 10, [0.6, 0.5] * 10, "unclear"),
        ([0.1] * (FEWEST - 1), [0.9] * (FEWEST - 1), "unclear"),
        ([0.1] * FEWEST, [0.9] * FEWEST, "better"),
    ],
)
def test_the_verdict_is_that_of_the_interval(
    before: list[float], now: list[float], verdict: str, tmp_path: Path
) -> None:
    found = difference(tmp_path, before, now)
    assert found.verdict == verdict
    assert found.difference == pytest.approx(np.mean(now) - np.mean(before))
    assert found.rose == sum(new > old for old, new in zip(before, now, strict=True))


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_the_interval_turns_around_with_the_runs(pairs: list[tuple[float, float]]) -> None:
    before, after = [list(side) for side in zip(*pairs, strict=True)]
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.low - 1e-9 <= there.mean <= there.high + 1e-9
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low), abs=0.02)


def test_the_interval_is_that_of_the_normal_distribution_for_many_queries() -> None:
    draw = np.random.default_rng(1)
    before = draw.normal(0.5, 0.1, 2_000)
    after = before + draw.normal(0.02, 0.1, 2_000)
    found = paired_difference(before.tolist(), after.tolist())
    half = 1.96 * (after - before).std() / np.sqrt(2_000)
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.0005)


def test_what_cannot_be_compared_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    runs, asked = Runs(tmp_path), subject({"a question": {"a": 1}})
    with pytest.raises(
        InputError, match=r"there is no earlier run of 'golden.csv' to compare with; run without --comp"
    ):
        runs.last(asked)
    runs.keep(asked, "model@1", figures({"a question": (1, 1, 1)}))
    assert runs.last(asked).model == "model@1"
    with pytest.raises(InputError, match="asked 1 queries, and this run asks 1, which differ in text or judgements"):
        runs.last(subject({"a question": {"b": 1}}))
    with pytest.raises(InputError, match="searched 2 documents in 'notes', and this run searches 3 in 'notes' with"):
        runs.last(subject({"a question": {"a": 1}}, "a", "b", "c"))
    (kept,) = (tmp_path / "evaluations").iterdir()
    kept.write_bytes(kept.read_bytes()[:-5])
    with pytest.raises(StorageError, match="is damaged or another version's; run without --compare once"):
        runs.last(asked)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("query,item\na,T1\n", "has no column 'id'; "),
        ("query,id\n,T102\n", "row 1 of {path} has no query; fill it in or take it out"),
        ("query,id\nhow,\n", "row 1 of {path} has no id; fill it in or take it out"),
        ("query,id,relevance\nhow,T102,0\n", "row 1 of {path} has the relevance 0; give a whole number from 1 on"),
        ("query,id\n", "no rows below the names of the columns; give a table with the columns query and id"),
    ],
)
def test_bad_golden_queries_are_refused_in_words(content: str, words: str, tmp_path: Path) -> None:
    path = golden(tmp_path, content)
    with pytest.raises(InputError) as caught:
        read_golden_queries(path)
    assert words.format(path=path) in str(caught.value)


def test_grades_and_other_formats_of_tables_are_read(tmp_path: Path) -> None:
    lines = '{"query": "how", "id": 7, "relevance": 2}\n{"query": "how", "id": 8, "relevance": 1}\n'
    assert read_golden_queries(golden(tmp_path, lines, "golden.jsonl")).relevance == {"how": {"7": 2, "8": 1}}


def test_the_command_says_what_is_wrong_with_its_operands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = golden(folder, "query,id\nhow,T999\n", "unknown.csv")
    for operands, words in (
        (
            [str(path), "--collection", "tickets"],
            "names the item 'T999', which is not in the collection 'tickets'; known: T101,",
        ),
        ([str(path), "--collection", "tickes"], "there is no collection 'tickes'; did you mean 'tickets'?"),
        ([str(path)], "is a file, and queries in a file are asked of a collection; add --collection NAME"),
        ([str(folder), "--collection", "tickets"], "came with --collection; give one table with the columns query and"),
        ([str(folder / "missing.csv"), "--collection", "tickets"], "cannot be read: No such file or directory; give a"),
    ):
        assert main(["eval", *operands, "--data-dir", str(folder)]) == 2
        assert words in capsys.readouterr().err
