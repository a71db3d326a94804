"""Print the requirements in pyproject.toml, with those for development and documentation; see ``make lock``."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
groups = project["dependency-groups"]
wanted = [*project["project"]["dependencies"], *groups["dev"], *groups["docs"]]
sys.stdout.write("\n".join(wanted) + "\n")
