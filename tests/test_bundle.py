"""The MCP bundle: validated, packed and unpacked by the tool of its format, and started as a host starts it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bundle import SHOWN, manifest, write_bundle
from local_index import LocalIndex
from mcp_server_embeddings.program import VERSION
from mcp_server_embeddings.tools.declaration import declared_tools
from wire import PATIENCE, ServerProcess

pytestmark = pytest.mark.slow

CLIENTS = Path(__file__).parent / "clients"


def node(*command: object) -> str:
    """The output of a program of ``tests/clients``."""
    finished = subprocess.run(
        ["node", *map(str, command)], cwd=CLIENTS, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def mcpb(*arguments: object) -> str:
    return node("node_modules/.bin/mcpb", *arguments)


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as a host has it."""
    folder = tmp_path_factory.mktemp("bundle")
    # The index of the tests has no packages for other platforms, for which uv would resolve too.
    write_bundle(wheel, folder / "source", (sys.platform,))
    assert "Manifest schema validation passes" in mcpb("validate", folder / "source")
    mcpb("pack", folder / "source", folder / "embeddings.mcpb")
    mcpb("unpack", folder / "embeddings.mcpb", folder / "unpacked")
    return folder / "unpacked"


def test_the_bundle_has_the_wheel_what_starts_it_and_nothing_else(unpacked: Path, wheel: Path) -> None:
    names = {path.name for path in unpacked.iterdir()}
    assert names == {"LICENSE", "manifest.json", "pyproject.toml", "server.py", wheel.name}
    assert (unpacked / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_manifest_says_what_the_code_declares() -> None:
    said = manifest()
    assert (said["manifest_version"], said["server"]["type"], said["version"]) == ("0.4", "uv", VERSION)
    assert [tool["name"] for tool in said["tools"]] == list(declared_tools())
    assert set(said["user_config"]) == set(SHOWN)
    assert said["compatibility"]["runtimes"]["python"] == ">=3.11 <3.14"


def launched(unpacked: Path, **settings: object) -> tuple[Sequence[str], dict[str, str]]:
    """The command and the variables with which a host starts the bundle."""
    config: dict[str, Any] = json.loads(node("mcpb_config.mjs", unpacked, json.dumps(settings)))
    return (config["command"], *config["args"]), config["env"]


def test_a_host_starts_it_with_the_users_settings_and_it_answers(
    unpacked: Path, index: LocalIndex, tmp_path: Path
) -> None:
    """One of the settings was not made; the host leaves its placeholder."""
    folders = [tmp_path / "notes", tmp_path / "old notes"]
    for folder in folders:
        folder.mkdir()
    command, environment = launched(unpacked, allow_dir=[str(folder) for folder in folders])
    assert environment["MCP_EMBEDDINGS_OUTPUT_DIR"] == "${user_config.output_dir}"
    with ServerProcess(tmp_path, program=command, environment=index.environment | environment) as server:
        server.handshake()
        (pair,) = server.call("similarity", {"left": ["Apple"], "right": ["Orange"]})["structuredContent"]["pairs"]
        assert pair["score"] == 0.3726
        status = server.call("status", {})["structuredContent"]
        assert status["folders"] == [str(folder) for folder in folders]
        assert status["output_folder"] == str(tmp_path / "output")
    assert list(unpacked.glob(".venv/lib/*/site-packages/torch*")) == []
