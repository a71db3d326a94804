"""A command for each tool: options from the declaration, sources as operands, answers as tables or JSON."""

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calls import call, structured
from mcp_server_embeddings.cli.commands import main_parser
from mcp_server_embeddings.cli.main import main
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.tools.declaration import declared_tools
from scripts import run as run_script
from wire import PATIENCE, PROGRAM, client_environment

pytestmark = pytest.mark.usefixtures("warm_commands")

TICKETS = """ticket,message,year
T0,My card is lost and I need a new one,2020
T1,"I lost my card, please send another",2021
T2,How do I get a loan for a house?,2022
T3,The loan rate is too high for me,2023
"""
LABELS = "card: a payment card that is lost\nloan: borrowing money\n"

Command = Callable[..., str]


@pytest.fixture(scope="module")
def tickets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table and labels."""
    folder = tmp_path_factory.mktemp("tickets")
    (folder / "tickets.csv").write_text(TICKETS, encoding="utf-8")
    (folder / "labels.txt").write_text(LABELS, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tickets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same as the current folder."""
    monkeypatch.chdir(tickets)
    return tickets


@pytest.fixture(scope="module")
def allowed_engine(data_dir: Path, tickets: Path) -> Iterator[Engine]:
    """May read the folder."""
    with Engine(Settings(data_dir=data_dir, allow_dir=(tickets,))) as engine:
        yield engine


@pytest.fixture
def command(data_dir: Path, embedder: Embedder, folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process that must go well; what it printed."""
    del folder
    embedder.calibration("retrieval")

    def run(*arguments: str | Path) -> str:
        status = main([*map(str, arguments), "--data-dir", str(data_dir)])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    return run


def piped(data_dir: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with a text on standard input."""
    return subprocess.run(
        [*PROGRAM, *arguments, "--data-dir", str(data_dir)],
        env=client_environment(),
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


def test_every_tool_has_a_command_with_an_option_or_operand_for_each_parameter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = set(main_parser().commands)
    for tool in declared_tools().values():
        name = tool.name.replace("collection_", "").replace("add", "index")
        assert name in commands
        if name == "index":
            continue
        with pytest.raises(SystemExit):
            main([name, "--help"])
        printed = capsys.readouterr().out
        for field in tool.arguments.model_fields:
            operand = {"collection": "NAME", "source": "SOURCE", "left_source": "LEFT", "right_source": "RIGHT"}
            shown = (operand.get(field, f"--{field.replace('_', '-')}"), field.upper(), field.upper().removesuffix("S"))
            assert any(form in printed for form in shown), (name, field)


def test_parsing_a_served_start_imports_neither_tools_nor_rich() -> None:
    script = (
        "import sys; from mcp_server_embeddings.cli.commands import main_parser; main_parser().parse_args([]); "
        "print([m for m in sys.modules if m.startswith(('rich', 'pydantic', 'numpy', 'mcp_server_embeddings.tools'))])"
    )
    assert run_script(script).strip() == "[]"


def test_a_table_is_labelled_by_a_file_of_labels_and_saved_in_the_current_folder(
    command: Command, folder: Path
) -> None:
    arguments = ("classify", "tickets.csv#message", "--id-field", "ticket", "--labels", "labels.txt")
    printed = command(*arguments, "--save-as", "labelled.csv")
    assert "T0, T1" in printed
    assert "My card is lost and I need a new one" in printed
    rows = list(csv.DictReader(io.StringIO((folder / "labelled.csv").read_text(encoding="utf-8"))))
    assert [(row["id"], row["year"], row["label"]) for row in rows] == [
        ("T0", "2020", "card"),
        ("T1", "2021", "card"),
        ("T2", "2022", "loan"),
        ("T3", "2023", "loan"),
    ]


def test_the_output_folder_can_be_named(command: Command, folder: Path) -> None:
    arguments = ("cluster", "tickets.csv", "--save-as", "themes.jsonl")
    command(*arguments, "--output-dir", folder / "out")
    assert (folder / "out" / "themes.jsonl").exists()
    command("cluster", "tickets.csv", "--save-as", folder / "other" / "themes.jsonl")
    assert (folder / "other" / "themes.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "operands", "arguments"),
    [
        ("cluster", ["tickets.csv#message"], {"source": "tickets.csv#message"}),
        (
            "deduplicate",
            ["tickets.csv", "--threshold=0.7", "--keep", "first"],
            {"source": "tickets.csv", "threshold": 0.7, "keep": "first"},
        ),
        (
            "classify",
            ["tickets.csv", "--labels", "card,loan", "--no-abstain", "--where", '{"year": {"gte": 2021}}'],
            {"source": "tickets.csv", "labels": ["card", "loan"], "abstain": False, "where": {"year": {"gte": 2021}}},
        ),
        ("similarity", ["--left", "Apple", "--right", "Orange"], {"left": ["Apple"], "right": ["Orange"]}),
        ("search", ["tickets.csv", "a loan", "--top", "1"], {"source": "tickets.csv", "query": "a loan", "top": 1}),
        ("search", ["tickets.csv", "a loan", "a card"], {"source": "tickets.csv", "queries": ["a loan", "a card"]}),
        ("read", ["tickets.csv", "2", "3"], {"source": "tickets.csv", "ids": ["2", "3"]}),
        ("condense", ["tickets.csv", "--count=2"], {"source": "tickets.csv", "count": 2}),
        ("align", ["tickets.csv", "tickets.csv"], {"left_source": "tickets.csv", "right_source": "tickets.csv"}),
        ("embed", ["--texts", "a", "--texts", "b"], {"texts": ["a", "b"]}),
    ],
)
def test_json_is_the_structured_content_of_the_same_call(
    command: Command, allowed_engine: Engine, tool: str, operands: list[str], arguments: dict[str, object]
) -> None:
    printed = json.loads(command(tool, *operands, "--json"))
    assert printed == structured(call(allowed_engine, tool, arguments))


@pytest.mark.parametrize(
    ("operands", "expected"),
    [
        (["cluster", "tickets.csv"], "My card is lost and I need a new one"),
        (["deduplicate", "tickets.csv#message"], "1, 2"),
        (["align", "tickets.csv", "tickets.csv"], "4, 4"),
        (["read", "tickets.csv", "2"], "I lost my card, please send another\n"),
        (["condense", "tickets.csv", "--count=1"], "selected: "),
        (["similarity", "--left", "Pay in 30 days.", "--right", "Pay in 60 days."], "30 days → 60 days"),
        (["search", "tickets.csv", "a loan", "lost card"], "lost card"),
        (["embed", "--texts", "a"], "vectors: 1 × 384 numbers"),
        (["status"], "state idle"),
    ],
)
def test_an_answer_is_shown_as_a_table(command: Command, operands: list[str], expected: str) -> None:
    assert expected in command(*operands)


@pytest.mark.slow
def test_lines_on_standard_input_are_texts_with_positions(data_dir: Path) -> None:
    for operands in (["deduplicate"], ["deduplicate", "-"]):
        finished = piped(data_dir, "a cat\n\na dog\na cat\n", *operands, "--json")
        assert (finished.returncode, finished.stderr) == (0, "")
        assert json.loads(finished.stdout)["groups"] == [[0, 2]]


@pytest.mark.slow
def test_json_lines_on_standard_input_bring_their_ids(data_dir: Path) -> None:
    lines = '{"id": "x", "text": "a cat"}\n{"id": "y", "text": "a cat"}\n'
    assert json.loads(piped(data_dir, lines, "deduplicate", "--json").stdout)["groups"] == [["x", "y"]]
    found = json.loads(piped(data_dir, lines, "search", "-", "pets", "--json").stdout)
    assert {hit["id"] for hit in found["hits"]} == {"x", "y"}


def test_empty_standard_input_is_told(data_dir: Path) -> None:
    finished = piped(data_dir, "\n", "cluster")
    assert finished.returncode == 2
    assert finished.stderr.startswith("mcp-server-embeddings: no source was named and standard input is empty; ")


@pytest.mark.slow
def test_a_collection_goes_before_a_folder_of_the_same_name(command: Command, folder: Path) -> None:
    (folder / "cli-same").mkdir()
    (folder / "cli-same" / "a.txt").write_text("in the folder", encoding="utf-8")
    command("index", "cli-same", "tickets.csv#message")
    assert "in the folder" not in command("search", "cli-same", "folder")
    assert "in the folder" in command("search", "./cli-same", "folder")


@pytest.mark.slow
def test_items_and_collections_are_removed(command: Command) -> None:
    command("index", "cli-remove", "tickets.csv#message", "--id-field", "ticket")
    assert "removed 1" in command("remove", "cli-remove", "T0")
    assert "removed 3" in command("remove", "cli-remove", "--all")
    assert "cli-remove" not in command("collections")


def test_questions_are_read_from_a_file(command: Command, folder: Path) -> None:
    (folder / "questions.txt").write_text("a loan\na lost card\n", encoding="utf-8")
    found = json.loads(command("search", "tickets.csv", "--queries", "questions.txt", "--json"))
    assert [one["query"] for one in found["results"]] == ["a loan", "a lost card"]


def test_examples_are_read_from_a_table(command: Command, folder: Path) -> None:
    (folder / "known.csv").write_text("text,label\nwhere is my card,card\nborrow money,loan\n", encoding="utf-8")
    found = json.loads(command("classify", "tickets.csv", "--examples", "known.csv", "--json"))
    assert (found["method"], found["counts"]) == ("means", {"card": 2, "loan": 2})
