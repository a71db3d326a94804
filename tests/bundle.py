"""The MCP bundle: a folder for ``mcpb pack``, made from the project's metadata and settings.

``python tests/bundle.py WHEEL FOLDER`` writes the folder: the wheel, a script that starts it, ``manifest.json`` and
``pyproject.toml``. The packages are those of ``requirements.lock`` without PyTorch, which the default model does not
need; the host's uv fetches them once. Where there is a network, as in ``make packages``, ``uv lock`` adds their hashes.
"""

import json
import shutil
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from mcp_server_embeddings.config import Settings, default, variable
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from mcp_server_embeddings.tools.declaration import declared_tools

ROOT = Path(__file__).parents[1]
START = "server.py"
PLATFORMS = ("darwin", "linux", "win32")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SLIM = "sentence-transformers; python_version < '0'"
"""An override for uv that leaves out the package and its dependencies."""

SHOWN = {
    "model": "Model",
    "precision": "Precision",
    "allow_dir": "Folders that may be read",
    "output_dir": "Folder for results",
}
"""Settings that the host asks for when the bundle is installed, with their titles."""


def manifest() -> dict[str, Any]:
    """Return the content of ``manifest.json``."""
    settings = {field.name: field for field in fields(Settings) if field.name in SHOWN}
    single = [field for field in settings.values() if not _multiple(field)]
    arguments = [f"${{user_config.{field.name}}}" for field in settings.values() if _multiple(field)]
    return {
        "manifest_version": "0.4",
        "name": DISTRIBUTION,
        "display_name": "Embeddings",
        "version": VERSION,
        "description": PROJECT["description"],
        "author": {"name": f"the {DISTRIBUTION} developers"},
        "server": {
            "type": "uv",
            "entry_point": START,
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--quiet", "--directory", "${__dirname}", START, *arguments],
                "env": {variable(field): f"${{user_config.{field.name}}}" for field in single},
            },
        },
        "tools": [
            {"name": tool.name, "description": f"{tool.description.partition('. ')[0]}."}
            for tool in declared_tools().values()
        ],
        "keywords": PROJECT["keywords"],
        "license": PROJECT["license"],
        "compatibility": {
            "platforms": list(PLATFORMS),
            "runtimes": {"python": python_range(",").replace(",", " ")},
        },
        "user_config": {name: _user_setting(field) for name, field in settings.items()},
    }


def python_range(separator: str) -> str:
    """Return the range of the Python versions that the tests run with."""
    prefix = "Programming Language :: Python :: 3."
    minor = max(int(name.removeprefix(prefix)) for name in PROJECT["classifiers"] if name.startswith(prefix))
    return f"{PROJECT['requires-python']}{separator}<3.{minor + 1}"


def _multiple(field: "Field[object]") -> bool:
    return field.type == tuple[Path, ...]


def _user_setting(field: "Field[object]") -> dict[str, Any]:
    """Return the entry of a setting in ``user_config``."""
    common = {"title": SHOWN[field.name], "description": field.metadata["help"]}
    value = default(field)
    if _multiple(field):
        return {"type": "directory", **common, "multiple": True, "required": False, "default": []}
    if field.type == Path | None:
        return {"type": "directory", **common, "required": False}
    return {"type": "string", **common, "required": False, "default": value}


def project(wheel: str, platforms: Sequence[str]) -> str:
    """Return ``pyproject.toml``: the wheel, the versions that the tests ran with, and the omitted package."""
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8").split()
    return f"""[project]
name = "{DISTRIBUTION}-bundle"
version = "{VERSION}"
requires-python = "{python_range(",")}"
dependencies = ["{DISTRIBUTION}[int8]"]

[tool.uv]
package = false
environments = {json.dumps([f"sys_platform == '{platform}'" for platform in platforms])}
override-dependencies = {json.dumps([SLIM])}
constraint-dependencies = {json.dumps(locked, indent=4)}

[tool.uv.sources]
{DISTRIBUTION} = {{ path = "{wheel}" }}
"""


def write_bundle(wheel: Path, folder: Path, platforms: Sequence[str] = PLATFORMS) -> None:
    """Write all files of the bundle for these platforms into a folder that does not exist yet."""
    folder.mkdir(parents=True)
    for file in (wheel, ROOT / "deploy" / "mcpb" / START, ROOT / "LICENSE"):
        shutil.copy(file, folder)
    (folder / "pyproject.toml").write_text(project(wheel.name, platforms), encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_bundle(Path(sys.argv[1]), Path(sys.argv[2]))
