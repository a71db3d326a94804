"""Every example is executed or validated, and the documents say what the code says."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mcp_server_embeddings.clients.command import launch
from mcp_server_embeddings.clients.files import ClientFile
from mcp_server_embeddings.clients.table import CLIENTS
from readme import PAGES, README, client_examples, with_tables
from tools_page import PAGE, page_server, shown, with_answers
from wire import PATIENCE, ServerProcess, client_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CONFIGURATIONS = sorted((EXAMPLES / "clients").iterdir())


def run(script: Path, data_dir: Path) -> str:
    """A script's standard output."""
    return subprocess.run(
        [sys.executable, str(script)],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE,
        env=client_environment(HOME=str(data_dir)),
    ).stdout


def test_fruit_prints_the_two_well_known_scores(data_dir: Path) -> None:
    output = run(EXAMPLES / "fruit.py", data_dir)
    assert "384 numbers" in output
    assert re.search(r"Apple and Orange: +0\.3726", output)
    assert re.search(r"Apple and Lightning: +0\.4251", output)


def test_fruit_declares_what_it_needs_inline() -> None:
    source = (EXAMPLES / "fruit.py").read_text(encoding="utf-8")
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", source, re.MULTILINE)
    assert block is not None
    declared = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))
    assert any(name.startswith("mcp-server-embeddings") for name in declared["dependencies"])
    assert "async def embed(text: str) -> list[float]:" in source
    assert "async def get_similarity(text1: str, text2: str) -> float:" in source


def test_the_demo_prints_times_percentiles_and_bands(data_dir: Path) -> None:
    output = run(EXAMPLES / "demo.py", data_dir)
    assert re.search(r"\d\.\d{3} s  Apple ~ Orange: 0\.3726, percentile 99\.94, weak", output)
    assert re.search(r"\d\.\d{3} s  Apple ~ Lightning: 0\.4251, percentile 99\.98, weak", output)


def test_a_session_on_files_labels_finds_duplicates_and_joins(data_dir: Path) -> None:
    output = run(EXAMPLES / "files.py", data_dir)
    assert "  16 rows in labelled.csv\n" in output
    assert "  T103 is also T108\n" in output
    assert "P4 = S2: Screen cleaner, 250 ml / Cleaning fluid for screens, 500 ml (250 ml → 500 ml)\n" in output
    assert "only ours: Notebook stand made of aluminium\n  only theirs: Office chair with arm rests\n" in output
    assert "Written: joined.csv, labelled.csv\n" in output


def test_the_examples_of_clients_are_what_install_writes() -> None:
    assert {path: path.read_text(encoding="utf-8") for path in CONFIGURATIONS} == client_examples()


def test_a_client_configuration_starts_a_server_that_answers(data_dir: Path) -> None:
    files = [ClientFile.read(CLIENTS[path.stem], path) for path in CONFIGURATIONS]
    (found,) = {launch(file.entry("embeddings")) for file in files}
    assert found is not None
    program = Path(sys.executable).with_name(found.command[0])
    with ServerProcess(data_dir, *found.command[1:], program=(str(program),)) as server:
        assert server.handshake()["serverInfo"]["name"] == "mcp-server-embeddings"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_settings_and_tools_are_those_of_the_code(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == with_tables(page)
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200


def test_the_readmes_python_runs(data_dir: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    output = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=client_environment() | {"XDG_DATA_HOME": str(data_dir)},
    ).stdout
    assert "score=0.4251" in output


def test_the_readmes_first_answer_is_what_the_server_says(data_dir: Path) -> None:
    found = re.search(r"```text\n> (\w+) +(\{.*?\})\n(\{.*?\n\})\n```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    with page_server(data_dir) as server:
        answer = server.call(found[1], json.loads(found[2]))["structuredContent"]
    assert shown(answer) == found[3]


def test_the_page_of_the_tools_shows_what_the_server_answers(data_dir: Path) -> None:
    """Other processors round differently, so numbers may differ by their last digits."""
    page = PAGE.read_text(encoding="utf-8")
    with page_server(data_dir) as server:
        now = with_answers(page, server)
    number = r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
    assert re.sub(number, "#", now) == re.sub(number, "#", page)
    shown, given = ([float(found.replace(",", "")) for found in re.findall(number, text)] for text in (page, now))
    assert shown == pytest.approx(given, rel=0.02, abs=0.02)


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.stem)
def test_links_between_the_documents_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8"))
    for target, section in links:
        found = (page.parent / target) if target else page
        assert found.exists(), target
        assert not section or section in sections(found), f"{target}#{section}"


def sections(page: Path) -> list[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings]
