"""The workflows of CI and of releases: pinned, with few rights, and in step with what they name."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from wire import PATIENCE

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
CI = (FOLDER / "ci.yml").read_text(encoding="utf-8")


def parsed(workflow: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    return content


RELEASE_JOBS: dict[str, Any] = parsed(FOLDER / "release.yml")["jobs"]


def zizmor(*paths: Path) -> "subprocess.CompletedProcess[str]":
    """The workflows seen by a linter for their security, which may not ask the network."""
    program = str(Path(sys.executable).with_name("zizmor"))
    return subprocess.run(
        [program, "--offline", "--no-progress", "--min-severity", "medium", *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_linux_runs_on_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (matrix,) = re.findall(r"python: \[(.+)\]", CI)
    prefix = "Programming Language :: Python :: "
    versions = [name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(prefix + "3.")]
    assert re.findall(r'"(3\.\d+)"', matrix) == versions
    assert project["requires-python"] == f">={versions[0]}"


def test_every_file_in_the_workflow_exists() -> None:
    named = re.findall(r"\btests/[\w./-]+|\brequirements\.lock|\bexamples/[\w./*-]+", CI)
    assert [name for name in named if not list(ROOT.glob(name))] == []
    assert "tests/test_reading.py" in named


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit_and_names_its_version(workflow: Path) -> None:
    used = re.findall(r"^ +(?:- )?uses: (.+)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml", action), action


def test_an_action_has_one_version_in_all_workflows() -> None:
    text = "\n".join(workflow.read_text(encoding="utf-8") for workflow in WORKFLOWS)
    pins = set(re.findall(r"uses: (\S+)@([0-9a-f]{40} # .+)", text))
    assert len({action for action, _ in pins}) == len(pins)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_ends_in_time_and_has_no_rights_that_it_does_not_name(workflow: Path) -> None:
    content = parsed(workflow)
    assert content["permissions"] in ({}, {"contents": "read"})
    for job in content["jobs"].values():
        assert "timeout-minutes" in job or "uses" in job


def test_a_linter_for_the_security_of_workflows_finds_nothing(tmp_path: Path) -> None:
    linted = zizmor(*WORKFLOWS)
    assert linted.returncode == 0, linted.stdout
    loose = tmp_path / ".github" / "workflows" / "loose.yml"
    loose.parent.mkdir(parents=True)
    loose.write_text(re.sub(r"@[0-9a-f]{40}", "@main", CI), encoding="utf-8")
    assert "unpinned-uses" in zizmor(loose).stdout


def test_a_release_publishes_what_was_tested_and_built_without_a_token() -> None:
    assert RELEASE_JOBS["test"]["uses"] == "./.github/workflows/ci.yml"
    assert [RELEASE_JOBS[name]["needs"] for name in ("build", "pypi", "release")] == ["test", "build", "pypi"]
    assert "make packages PYTHON=python" in [step.get("run") for step in RELEASE_JOBS["build"]["steps"]]
    assert RELEASE_JOBS["pypi"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (FOLDER / "release.yml").read_text(encoding="utf-8")
