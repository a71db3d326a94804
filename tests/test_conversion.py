"""Models that are converted: how a conversion comes to be, and what becomes of it when things fail."""

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from audit import Audit
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.artifact import artifact_folder
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import LoadedEncoder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.locate import LocatedModel, locate
from mcp_server_embeddings.engine.registry import load_encoder
from mcp_server_embeddings.errors import ModelLoadError
from test_parity import AGREEMENT, TEXTS, cosines
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, error_text

CONVERTER = "mcp_server_embeddings.engine.convert"
CONVERTING = "converting the model (once)"


@dataclass
class Loader:
    """Loads as the server does, and keeps what it said meanwhile."""

    notes: list[str] = field(default_factory=list)

    def __call__(self, settings: Settings, note: Callable[[str], None]) -> LoadedEncoder:
        def noted(text: str) -> None:
            self.notes.append(text)
            note(text)

        return load_encoder(settings, noted)

    @property
    def converted(self) -> bool:
        """Whether a conversion ran."""
        return any("tracing" in note for note in self.notes)


def kept_in(folder: Path, model: Path, **options: Any) -> Settings:
    """Settings of a user who keeps everything in one folder."""
    return Settings(model=str(model), data_dir=folder, cache_dir=folder, **options)


@pytest.fixture(scope="module")
def converted_dir(converting_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the conversion and the calibration of the bge-like model."""
    folder = tmp_path_factory.mktemp("converted")
    with Engine(kept_in(folder, converting_folder, engine="compiled", no_cache=True)) as engine:
        engine.embedder().calibration()
    return folder


@pytest.fixture
def own_dir(converted_dir: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    shutil.copytree(converted_dir, tmp_path / "data")
    return tmp_path / "data"


def test_a_conversion_opens_no_socket_and_leaves_telemetry_unimported(
    audit: Audit, converting_folder: Path, tmp_path: Path
) -> None:
    with ServerProcess(
        tmp_path, "--model", str(converting_folder), "--cache-dir", str(tmp_path), environment=audit.environment
    ) as server:
        server.handshake()
        assert server.call("similarity", {"left": ["a", "b"]})["structuredContent"]["pairs"]
        assert server.call("status", {})["structuredContent"]["engine"] == "compiled"
    assert any(CONVERTER in program for program in audit.events("program")), "the hook was not in the child"
    assert audit.events("telemetry") == []
    assert audit.events("network") == []
    assert audit.events("socket") == []


def test_the_audit_hook_sees_the_telemetry_package_when_it_is_imported(audit: Audit) -> None:
    environment = {**client_environment(), **audit.environment}
    subprocess.run([sys.executable, "-c", "import openvino_telemetry"], env=environment, timeout=PATIENCE, check=True)
    assert audit.events("telemetry")


@pytest.fixture(scope="module")
def converting_embedder(converting_folder: Path, converted_dir: Path) -> Iterator[Embedder]:
    """The converted model, whole."""
    settings = kept_in(converted_dir, converting_folder)
    with Engine(settings) as engine:
        yield engine.embedder()


def conversions(cache_dir: Path) -> list[Path]:
    """The folders of conversions, whole or not."""
    return [path for path in (cache_dir / "compiled").iterdir() if path.is_dir()]


def converters(cache_dir: Path) -> list[int]:
    """Processes that convert into ``cache_dir``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().decode("utf-8", "replace") if process.name.isdecimal() else ""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if CONVERTER in command and str(cache_dir) in command:
            found.append(int(process.name))
    return found


def wait_for_stage(server: ServerProcess, stage: str) -> None:
    """Until the server says that it does ``stage``."""
    while stage not in (status := server.call("status", {})["structuredContent"])["detail"]:
        assert status["state"] in ("idle", "warming"), status


def wait_for_end(*processes: int) -> None:
    """Until these processes are gone."""
    for process in processes:
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(1000 * PATIENCE), f"process {process} goes on"
        os.close(descriptor)


def stages(server: ServerProcess) -> set[str]:
    """What progress notifications said."""
    messages = [json.loads(line) for line in server.lines]
    return {m["params"]["message"] for m in messages if m.get("method") == "notifications/progress"}


def test_two_servers_that_start_cold_at_once_convert_once(
    converting_folder: Path, tmp_path: Path, audit: Audit
) -> None:
    data = tmp_path / "data"
    model = ("--model", str(converting_folder), "--cache-dir", str(data))
    environment = audit.environment
    with (
        ServerProcess(data, *model, environment=environment) as one,
        ServerProcess(data, *model, environment=environment) as other,
    ):
        servers = (one, other)
        requests = []
        for server in servers:
            server.handshake()
            call = server.call_params("similarity", {"left": ["a", "b"]}, token="t")
            requests.append(server.send("tools/call", call))
        for server, request in zip(servers, requests, strict=True):
            assert server.answer(request)["result"]["structuredContent"]["pairs"]
            assert server.call("status", {})["structuredContent"]["engine"] == "compiled"
        assert len([child for child in audit.events("child") if CONVERTER in child]) == 1
        waiting = [
            server for server in servers if "waiting for another process that converts the model" in stages(server)
        ]
        assert len(waiting) == 1
    (left,) = conversions(data)
    assert ".tmp-" not in left.name


def test_a_server_killed_while_converting_takes_its_child_with_it_and_the_next_start_cleans_up(
    converting_folder: Path, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--model", str(converting_folder), "--cache-dir", str(tmp_path)) as server:
        server.handshake()
        wait_for_stage(server, "tracing it")
        (child,) = converters(tmp_path)
        server.process.kill()
        server.finish()
    wait_for_end(child)
    assert converters(tmp_path) == []
    (left_over,) = conversions(tmp_path)
    assert ".tmp-" in left_over.name
    with Engine(kept_in(tmp_path, converting_folder, engine="compiled")) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
    (left,) = conversions(tmp_path)
    assert ".tmp-" not in left.name


@pytest.mark.parametrize("engine_name", ["auto", "compiled"])
def test_a_converter_that_is_killed_is_named_and_auto_answers_without_it(
    engine_name: str, converting_folder: Path, tmp_path: Path
) -> None:
    with ServerProcess(
        tmp_path, "--model", str(converting_folder), "--engine", engine_name, "--cache-dir", str(tmp_path)
    ) as server:
        server.handshake()
        request = server.send("tools/call", server.call_params("similarity", {"left": ["a", "b"]}))
        wait_for_stage(server, f"{CONVERTING}: loading it")
        (child,) = converters(tmp_path)
        os.kill(child, signal.SIGKILL)
        result = server.answer(request)["result"]
        reason = "model 'converting' does not convert: the conversion was ended by SIGKILL"
        if engine_name == "auto":
            assert result["structuredContent"]["pairs"]
            assert server.call("status", {})["structuredContent"]["engine"] == "reference"
        else:
            assert reason in error_text(result)
    if engine_name == "auto":
        assert reason in server.log
        assert "serving with sentence-transformers instead" in server.log
    assert conversions(tmp_path) == []


def overwrite_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.bin", overwrite_middle),
        ("model.bin", truncate),
        ("model.xml", truncate),
        ("manifest.json", truncate),
        ("tokenizer.json", truncate),
        ("tokenizer.json", Path.unlink),
    ],
    ids=["weights", "short weights", "short graph", "short manifest", "short tokenizer", "no tokenizer"],
)
def test_a_damaged_conversion_is_made_again(
    name: str, damage: Callable[[Path], None], own_dir: Path, converting_folder: Path, converting_embedder: Embedder
) -> None:
    (folder,) = conversions(own_dir)
    damage(folder / name)
    loader = Loader()
    settings = Settings(
        model=str(converting_folder), data_dir=own_dir, cache_dir=own_dir, engine="compiled", no_cache=True
    )
    with Engine(settings, loader) as engine:
        vectors = engine.embedder().embed(TEXTS[:5]).vectors
    assert loader.converted
    assert cosines(vectors, converting_embedder.embed(TEXTS[:5]).vectors).min() >= AGREEMENT
    assert conversions(own_dir) == [folder]


def test_a_whole_conversion_is_used_as_it_is(own_dir: Path, converting_folder: Path) -> None:
    loader = Loader()
    with Engine(kept_in(own_dir, converting_folder, no_cache=True), loader) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
        assert engine.status().engine == "compiled"
    assert loader.notes == ["loading the model"]


def test_a_cache_folder_that_cannot_be_written_is_served_without_a_conversion(
    converting_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file-not-folder"
    blocked.write_text("", encoding="utf-8")
    with Engine(kept_in(blocked, converting_folder)) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
        assert engine.status().engine == "reference"
    assert "the converted model cannot be written to" in caplog.text
    with (
        Engine(kept_in(blocked, converting_folder, engine="compiled")) as engine,
        pytest.raises(ModelLoadError, match=r"cannot be written to '.*file-not-folder/compiled': \w+"),
    ):
        engine.embedder().identity()


def test_compile_says_how_near_it_is_and_converts_once(converting_folder: Path, tmp_path: Path, audit: Audit) -> None:
    data = tmp_path / "data"
    environment = client_environment(MCP_EMBEDDINGS_CACHE_DIR=str(data), **audit.environment)

    def compiled() -> tuple[str, int, int]:
        finished = subprocess.run(
            [*PROGRAM, "compile", str(converting_folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        (folder,) = conversions(data)
        children = [child for child in audit.events("child") if CONVERTER in child]
        return finished.stdout, folder.stat().st_mtime_ns, len(children)

    first = compiled()
    assert first[0].startswith("converting is ready: engine compiled, precision exact\n")
    assert "agreement with exact vectors: lowest cosine 1.000000, mean 1.000000" in first[0]
    assert "nearest probe kept 100.0%" in first[0]
    assert first[2] == 1
    assert compiled() == first


def test_weights_precision_and_pooling_decide_the_folder(converting_folder: Path, tmp_path: Path) -> None:
    model = locate(str(converting_folder))
    folder = artifact_folder(model, "exact", tmp_path)
    assert artifact_folder(locate(str(converting_folder)), "exact", tmp_path) == folder
    pooled = shutil.copytree(converting_folder, tmp_path / "pooled" / converting_folder.name)
    (pooling,) = pooled.glob("*Pooling/config.json")
    pooling.write_text(json.dumps({**json.loads(pooling.read_text(encoding="utf-8")), "other": 1}), encoding="utf-8")
    others = {
        artifact_folder(model, "int8", tmp_path),
        artifact_folder(model, "bf16", tmp_path),
        artifact_folder(replace(model, sha256=hashlib.sha256(b"other").hexdigest()), "exact", tmp_path),
        artifact_folder(replace(model, name="other"), "exact", tmp_path),
        artifact_folder(locate(str(pooled)), "exact", tmp_path),
    }
    assert len(others) == 5
    assert folder not in others


def test_a_conversion_that_disagrees_is_refused_and_not_made_again(
    own_dir: Path, converting_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder,) = conversions(own_dir)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["refused"] = "the converted model's vectors differ from those of sentence-transformers"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    loader = Loader()
    with Engine(kept_in(own_dir, converting_folder, no_cache=True), loader) as engine:
        engine.embedder().identity()
        assert engine.status().engine == "reference"
    assert not loader.converted
    assert "vectors differ from those of sentence-transformers; serving with sentence-transformers" in caplog.text
    with (
        Engine(kept_in(own_dir, converting_folder, engine="compiled")) as engine,
        pytest.raises(ModelLoadError, match="vectors differ"),
    ):
        engine.embedder().identity()


def test_a_model_whose_name_has_dots_and_brackets_is_cleaned_up_after(converting_folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(converting_folder, tmp_path / "v1.5 [new]")
    located = LocatedModel(model.name, model, locate(str(model)).sha256)
    folder = artifact_folder(located, "exact", tmp_path / "data" / "compiled")
    left_over = folder.with_name(f"{folder.name}.tmp-1")
    left_over.mkdir(parents=True)
    with Engine(
        Settings(
            model=str(model), data_dir=tmp_path / "data", cache_dir=tmp_path / "data", engine="compiled", no_cache=True
        )
    ) as engine:
        engine.embedder().identity()
    assert sorted(path.name for path in folder.parent.iterdir()) == sorted([folder.name, f"{folder.name}.lock"])
