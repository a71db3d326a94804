"""The workflow of CI, read as text: the names in it that change elsewhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


def test_linux_runs_on_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (matrix,) = re.findall(r"python: \[(.+)\]", WORKFLOW)
    prefix = "Programming Language :: Python :: "
    versions = [name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(prefix + "3.")]
    assert re.findall(r'"(3\.\d+)"', matrix) == versions
    assert project["requires-python"] == f">={versions[0]}"


def test_every_file_in_the_workflow_exists() -> None:
    named = re.findall(r"\btests/[\w./-]+|\brequirements\.lock|\bexamples/[\w./*-]+", WORKFLOW)
    assert [name for name in named if not list(ROOT.glob(name))] == []
    assert "tests/test_reading.py" in named
