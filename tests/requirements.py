"""Prints what pyproject.toml asks for, dependencies and development tools, one a line; see ``make lock``."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
sys.stdout.write("\n".join(wanted) + "\n")
