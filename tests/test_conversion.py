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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from audit import Audit
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.artifact import artifact_folder, load_or_convert
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import LoadedEncoder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.locate import locate
from mcp_server_embeddings.engine.registry import load_encoder
from mcp_server_embeddings.errors import ModelLoadError
from test_parity import AGREEMENT, TEXTS, cosines
from waiting import wait_until
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, error_text

pytestmark = pytest.mark.usefixtures("own_process")

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


class ConvertingError(Exception):
    """A conversion is about to begin."""


def refuse_to_convert(stage: str) -> None:
    if stage.startswith(CONVERTING):
        raise ConvertingError


def kept_in(folder: Path, model: Path, **options: Any) -> Settings:
    """Settings of a user who keeps everything in one folder."""
    return Settings(model=str(model), data_dir=folder, cache_dir=folder, **options)


@dataclass(frozen=True)
class Command:
    """The command ``compile`` run twice at once on one cache folder."""

    cache_dir: Path
    outputs: tuple[str, str]
    audit: Audit


@pytest.fixture(scope="module")
def command(converting_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """It leaves a conversion and a calibration of the model."""
    audit, cache_dir = Audit(tmp_path_factory.mktemp("audit")), tmp_path_factory.mktemp("converted")
    environment = client_environment(MCP_EMBEDDINGS_CACHE_DIR=str(cache_dir), **audit.environment)

    def compiled() -> str:
        return subprocess.run(
            [*PROGRAM, "compile", str(converting_folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        ).stdout

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.submit(compiled), threads.submit(compiled)
        return Command(cache_dir, (one.result(), other.result()), audit)


@pytest.fixture(scope="module")
def converted_dir(command: Command) -> Path:
    """A cache folder with the conversion and the calibration of the model."""
    return command.cache_dir


@pytest.fixture
def own_dir(converted_dir: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    shutil.copytree(converted_dir, tmp_path / "data")
    return tmp_path / "data"


def test_two_compile_at_once_say_how_near_it_is_and_convert_once(command: Command) -> None:
    first, second = command.outputs
    assert first.startswith("converting is ready: engine compiled, precision exact\n")
    assert "agreement with exact vectors: lowest cosine 1.000000, mean 1.000000" in first
    assert "nearest probe kept 100.0%" in first
    assert second == first
    assert len([child for child in command.audit.events("child") if CONVERTER in child]) == 1
    assert len(conversions(command.cache_dir)) == 1


def assert_stays_offline(audit: Audit) -> None:
    """No process opened a socket, the converter included, or imported the telemetry of OpenVINO."""
    assert any(CONVERTER in program for program in audit.events("program")), "the hook was not in the child"
    assert audit.events("telemetry") == []
    assert audit.events("network") == []
    assert audit.events("socket") == []


def test_a_conversion_opens_no_socket_and_leaves_telemetry_unimported(command: Command) -> None:
    assert_stays_offline(command.audit)


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

    def reached() -> bool:
        status = server.call("status", {})["structuredContent"]
        assert status["state"] in ("idle", "warming"), status
        return stage in status["detail"]

    wait_until(reached, stage, pause=0.05)


SMALL_CALL = {"left": ["a", "b"]}


def begin(server: ServerProcess) -> int:
    """Send a call that needs the model; its id."""
    return server.send("tools/call", server.call_params("similarity", SMALL_CALL, token="t"))


def result_of(server: ServerProcess, request: int) -> dict[str, Any]:
    """The result of that call, however long it goes on in the background."""
    result: dict[str, Any] = server.answer(request)["result"]
    while result.get("structuredContent", {}).get("running"):
        result = server.call("similarity", SMALL_CALL)
    return result


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


@pytest.mark.harden  # two commands do above
def test_two_servers_that_start_cold_at_once_convert_once_and_open_no_socket(
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
        for server in servers:
            server.handshake()
        requests = [begin(server) for server in servers]
        for server, request in zip(servers, requests, strict=True):
            assert result_of(server, request)["structuredContent"]["pairs"]
            assert server.call("status", {})["structuredContent"]["engine"] == "compiled"
        assert len([child for child in audit.events("child") if CONVERTER in child]) == 1
        waiting = [
            server for server in servers if "waiting for another process that converts the model" in stages(server)
        ]
        assert len(waiting) == 1
    assert_stays_offline(audit)
    (left,) = conversions(data)
    assert ".tmp-" not in left.name


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.harden)])
def test_a_server_killed_while_converting_takes_its_child_with_it_and_the_next_start_cleans_up(
    converting_folder: Path, tmp_path: Path, again: bool
) -> None:
    model, cache_dir = shutil.copytree(converting_folder, tmp_path / "v1.5 [new]"), tmp_path / "cache"
    with ServerProcess(tmp_path, "--model", str(model), "--cache-dir", str(cache_dir)) as server:
        server.handshake()
        begin(server)
        wait_for_stage(server, "tracing it")
        (child,) = converters(cache_dir)
        server.process.kill()
        server.finish()
    wait_for_end(child)
    assert converters(cache_dir) == []
    (left_over,) = conversions(cache_dir)
    assert ".tmp-" in left_over.name
    if not again:
        with pytest.raises(ConvertingError):
            load_or_convert(locate(str(model)), "exact", left_over.parent, refuse_to_convert)
        assert conversions(cache_dir) == []
        return
    with Engine(kept_in(cache_dir, model, engine="compiled", no_cache=True)) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
    (left,) = conversions(cache_dir)
    assert ".tmp-" not in left.name
    assert sorted(path.name for path in left.parent.iterdir()) == [left.name, f"{left.name}.lock"]


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("engine_name", ["auto", "compiled"])
def test_a_converter_that_is_killed_is_named_and_auto_answers_without_it(
    engine_name: str, converting_folder: Path, tmp_path: Path
) -> None:
    with ServerProcess(
        tmp_path, "--model", str(converting_folder), "--engine", engine_name, "--cache-dir", str(tmp_path)
    ) as server:
        server.handshake()
        request = begin(server)
        wait_for_stage(server, f"{CONVERTING}: loading it")
        (child,) = converters(tmp_path)
        os.kill(child, signal.SIGKILL)
        result = result_of(server, request)
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


@pytest.mark.fault
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
def test_a_damaged_conversion_is_not_used(
    name: str, damage: Callable[[Path], None], own_dir: Path, converting_folder: Path
) -> None:
    model = locate(str(converting_folder))
    (folder,) = conversions(own_dir)
    assert load_or_convert(model, "exact", folder.parent, refuse_to_convert).folder == folder
    damage(folder / name)
    with pytest.raises(ConvertingError):
        load_or_convert(model, "exact", folder.parent, refuse_to_convert)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.harden  # that it would be is checked above
def test_a_damaged_conversion_is_made_again(
    own_dir: Path, converting_folder: Path, converting_embedder: Embedder
) -> None:
    (folder,) = conversions(own_dir)
    overwrite_middle(folder / "model.bin")
    loader = Loader()
    with Engine(kept_in(own_dir, converting_folder, engine="compiled", no_cache=True), loader) as engine:
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


@pytest.mark.fault
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
