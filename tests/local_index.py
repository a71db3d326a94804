"""A package index on disk, made from the packages of this environment, to install from without a download.

Each wheel has the package's real metadata but, in place of its code, a ``.pth`` file that points to links to the code
in this environment. So resolving is real and takes a second, and only resolved packages can be imported.
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
    """A folder with wheels, and the home of a user who installs from it."""

    wheels: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make uv and pip install from this index only."""
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
    """Make an index of this environment's packages and of ``packages``, which are files."""
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
    """Add a wheel whose ``.pth`` file points to links to the modules of the package, and to no others."""
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
