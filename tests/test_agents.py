"""The agents of examples/agents do their task, each in its own environment, with the real server."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wire import PATIENCE, client_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
AGENTS = ROOT / "examples" / "agents"
FRAMEWORKS = ["pydantic_ai", "langchain"]

CRASH = "The app crashes whenever I open a large PDF file."
SYNC = "Notes no longer sync between my phone and my laptop."
THEMES = {
    "It would be nice if search also looked inside tags.": {
        "It would be nice if search also looked inside tags.": "feature request",
        "Search is wonderfully fast now, I love it!": "praise",
        "Search finds nothing when a word has an accent.": "unsure",
    },
    "Reading a PDF next to my notes is a joy, thank you.": {
        "Reading a PDF next to my notes is a joy, thank you.": "praise",
        "Please let me highlight passages in PDF files.": "feature request",
        CRASH: "bug report",
    },
    "Syncing to my new phone took seconds, fantastic work!": {
        "Syncing to my new phone took seconds, fantastic work!": "praise",
        "Could you add sync with a network drive?": "feature request",
        SYNC: "bug report",
    },
}


def run(framework: str, data_dir: Path) -> str:
    """What an agent prints."""
    python = ROOT / f".venv-{framework.replace('_', '-')}" / "bin" / "python"
    assert python.exists(), f"{python} is missing: run `make setup`"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [python, AGENTS / f"{framework}_agent.py"],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE,
        env=client_environment(PATH=path, MCP_EMBEDDINGS_DATA_DIR=str(data_dir)),
    ).stdout


@pytest.fixture(scope="module")
def reports(data_dir: Path) -> dict[str, str]:
    """What each agent prints; it runs once."""
    return {framework: run(framework, data_dir) for framework in FRAMEWORKS}


@pytest.fixture(params=FRAMEWORKS)
def report(request: pytest.FixtureRequest, reports: dict[str, str]) -> str:
    """What one agent prints."""
    return reports[request.param]


def paragraphs(report: str, heading: str) -> dict[str, str]:
    """The lines below each heading of this form, by what the form's group found."""
    return {found[1]: found[2] for found in re.finditer(rf"^{heading}\n((?:  .+\n)+)", report, re.MULTILINE)}


def test_an_agent_calls_deduplicate_then_cluster_then_classify_and_nothing_else(report: str) -> None:
    assert report.splitlines()[-1] == "Tools called: deduplicate cluster classify"


def test_an_agent_reports_each_rewording_as_a_repeat_of_the_text_it_keeps(report: str) -> None:
    (lines,) = paragraphs(report, "(12 pieces of feedback, 2 of them repeats:)").values()
    assert lines.splitlines() == [
        f'  "The app crashes every time I open a large PDF." repeats "{CRASH}"',
        f'  "My notes no longer sync between phone and laptop." repeats "{SYNC}"',
    ]


def test_an_agent_groups_what_is_left_by_theme_and_labels_every_text_or_says_that_it_is_unsure(report: str) -> None:
    themes = {
        exemplar: {text: label for label, text in re.findall(r'^  (.+?): "(.+)"$', lines, re.MULTILINE)}
        for exemplar, lines in paragraphs(report, 'Theme "(.+)"').items()
    }
    assert themes == THEMES


def test_an_agent_names_the_text_of_no_theme_apart(report: str) -> None:
    assert paragraphs(report, "(No theme)") == {"No theme": '  "Do you sell gift vouchers?"\n'}


def test_agents_that_read_text_and_structured_content_report_the_same(reports: dict[str, str]) -> None:
    assert reports["langchain"] == reports["pydantic_ai"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_agent_declares_bounded_dependencies_inline_and_its_lock_keeps_to_them(framework: str) -> None:
    source = (AGENTS / f"{framework}_agent.py").read_text(encoding="utf-8")
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", source, re.MULTILINE)
    assert block is not None
    declared = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))["dependencies"]
    lock = (AGENTS / f"{framework}.lock").read_text(encoding="utf-8")
    locked = {canonicalize_name(name): version for name, version in re.findall(r"^(\S+)==(\S+)$", lock, re.MULTILINE)}
    assert len(locked) == len(lock.splitlines())
    for requirement in map(Requirement, declared):
        assert {bound.operator for bound in requirement.specifier} == {">=", "<"}
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])
