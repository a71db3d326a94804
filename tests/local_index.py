"""An index on disk of the packages that the tests run with, to install from without a download.

Each package is a wheel with its own metadata and, in place of its code, the way to that of this environment. So what is
resolved, asked for and left out is real, and takes a second; only what has been resolved can be imported.
"""

import os
import shutil
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

import uv

from mcp_server_embeddings.program import DISTRIBUTION
from wire import client_environment

WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True)
class LocalIndex:
    """A folder with wheels, and a home of a user who installs from it."""

    wheels: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What makes uv and pip install from the index and nothing else."""
        programs = (str(self.home / "bin"), str(Path(uv.find_uv_bin()).parent), os.environ["PATH"])
        return client_environment(
            HOME=str(self.home),
            PATH=os.pathsep.join(programs),
            PIP_CONFIG_FILE=os.devnull,
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PIP_FIND_LINKS=str(self.wheels),
            PIP_NO_INDEX="1",
            UV_CACHE_DIR=str(self.home / "cache"),
            UV_FIND_LINKS=str(self.wheels),
            UV_NO_INDEX="1",
            UV_OFFLINE="1",
            UV_PYTHON=sys.executable,
            UV_TOOL_BIN_DIR=str(self.home / "bin"),
            UV_TOOL_DIR=str(self.home / "tools"),
        )


def make_index(folder: Path, *packages: Path) -> LocalIndex:
    """An index of this environment's packages and those given as files."""
    index = LocalIndex(folder / "wheels", folder / "home")
    index.wheels.mkdir(parents=True)
    index.home.mkdir()
    for distribution in distributions():
        if distribution.name != DISTRIBUTION:
            _add(distribution, index.wheels, folder / "code")
    for package in packages:
        shutil.copy(package, index.wheels)
    return index


def _add(distribution: Distribution, wheels: Path, code: Path) -> None:
    """A wheel that leads to links to the modules of a package, and to no others."""
    stem = f"{distribution.name.replace('-', '_')}-{distribution.version}"
    links = code / stem
    links.mkdir(parents=True)
    tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        target = Path(str(distribution.locate_file(top)))
        if target.suffix not in (".pth", ".dist-info") and target.exists():
            (links / top).symlink_to(target)
    info = f"{stem}.dist-info"
    files = {
        f"{info}/METADATA": distribution.read_text("METADATA") or "",
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": distribution.read_text("entry_points.txt") or "",
        f"{stem}.pth": f"{links}\n",
    }
    _write(wheels / f"{stem}-py3-none-any.whl", files, f"{info}/RECORD")


def _write(wheel: Path, files: Mapping[str, str], record: str) -> None:
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(record, "".join(f"{name},,\n" for name in (*files, record)))
