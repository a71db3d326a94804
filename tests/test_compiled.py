"""The compiled engine: what it computes, and what becomes of it when it is idle."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeEncoder
from mcp_server_embeddings.config import Precision, Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import Agreement, LoadedEncoder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.locate import locate
from mcp_server_embeddings.engine.runtime import cpu_can_bf16
from mcp_server_embeddings.errors import ConfigurationError, ModelLoadError
from scripts import run
from test_parity import TEXTS
from wire import PATIENCE, ServerProcess, client_environment

pytestmark = pytest.mark.usefixtures("own_process")

FREED = 50_000_000
"""Bytes that unloading the default model gives back at least; its weights are 90 MB."""

LONG_TEXTS = 32
"""More of them than all streams encode at once."""

PEAK = 700_000_000
"""Bytes that a server may have in memory at most after the largest call of 1,000-character texts."""


@dataclass
class CountingLoader:
    """Gives one fake encoder at each load."""

    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    loads: int = 0

    def __call__(self, *_: object) -> LoadedEncoder:
        self.loads += 1
        return self.encoder.load()


def test_the_default_model_is_served_exactly_by_the_compiled_engine(engine: Engine) -> None:
    engine.embedder().identity()
    found = engine.status()
    assert (found.engine, found.precision, found.device, found.agreement) == ("compiled", "exact", "cpu", None)


@pytest.mark.slow
def test_a_start_runs_without_torch(engine: Engine, data_dir: Path) -> None:
    engine.embedder().calibration()  # by then the conversion is there
    script = (
        "import sys, threading\n"
        "from mcp_server_embeddings.mcp_layer import stdio\n"
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


def agreement_of(precision: Precision, data_dir: Path) -> Agreement:
    """What ``status`` says of the default model, which must answer."""
    with Engine(Settings(precision=precision, data_dir=data_dir, no_cache=True)) as engine:
        vectors = engine.embedder().embed(["Apple", "Orange"]).vectors
        found = engine.status()
    assert (found.engine, found.precision) == ("compiled", precision)
    assert round(float(vectors[0] @ vectors[1]), 1) == 0.4
    assert found.agreement is not None
    return found.agreement


@pytest.mark.slow
def test_int8_says_how_near_it_is(data_dir: Path) -> None:
    int8 = agreement_of("int8", data_dir)
    assert 0.95 <= int8.minimum_cosine < 0.9999
    assert 0.95 <= int8.mean_cosine < 0.9999
    assert 0.95 <= int8.top1_kept <= 1


def test_bf16_says_how_near_it_is_or_that_the_processor_lacks_it(data_dir: Path) -> None:
    if cpu_can_bf16():
        bf16 = agreement_of("bf16", data_dir)
        assert 0.999 < bf16.minimum_cosine < 0.999999
        assert 0.95 <= bf16.top1_kept <= 1
    else:
        with pytest.raises(ModelLoadError, match="no bf16; use --precision exact or int8"):
            agreement_of("bf16", data_dir)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize(("engine_name", "device"), [("reference", "cpu"), ("auto", "cuda"), ("compiled", "cuda:0")])
def test_a_precision_that_only_the_compiled_engine_has_is_refused_elsewhere(
    precision: Precision, engine_name: str, device: str, bge_folder: Path, tmp_path: Path
) -> None:
    model = str(bge_folder)
    settings = Settings(model=model, precision=precision, engine=engine_name, device=device, data_dir=tmp_path)
    with (
        Engine(settings) as engine,
        pytest.raises(ConfigurationError, match="leave out --engine and --device, or use --precision exact"),
    ):
        engine.embedder().identity()


def test_models_with_other_weights_have_other_identities(
    bge_embedder: Embedder, bge_folder: Path, unnormalised_embedder: Embedder, embedder: Embedder
) -> None:
    digests = {each.identity().digest for each in (bge_embedder, unnormalised_embedder, embedder)}
    assert len(digests) == 3
    identity = bge_embedder.identity()
    assert identity.sha256 == locate(str(bge_folder)).sha256
    assert replace(identity, sha256="0" * 64).digest != identity.digest


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


UNLOADED = """
import pathlib, sys, threading, weakref
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.registry import load_encoder

encoders = []

def load(settings, note):
    loaded = load_encoder(settings, note)
    loaded.encoder.encode([EncoderInput("a text", "symmetric", 240, [101, 1037, 102] * 80)] * 2)
    encoders.append(weakref.ref(loaded.encoder))
    print(*memory())
    return loaded

def memory():
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    resident = next(1024 * int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    maps = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return encoders[0]() is not None, any(line.endswith((".bin", ".safetensors")) for line in maps), resident

engine = Engine(Settings(data_dir=pathlib.Path(sys.argv[1]), idle_unload=0.01, no_cache=True), load)
engine.start()
others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
assert [thread.name for thread in others] == ["model-loader"]
others[0].join()
print(*memory(), engine.status().state)
print(engine.embedder().embed(["a"]).vectors.shape, len(encoders))
"""


@pytest.mark.slow
def test_freeing_the_real_model_gives_its_memory_back(engine: Engine, data_dir: Path) -> None:
    """Nothing refers to the encoder, its weights are not mapped, and the system has the memory."""
    engine.embedder().calibration()  # by then conversion and calibration are there
    loaded, idle, _, again = run(UNLOADED, str(data_dir)).splitlines()
    *held, before = loaded.split()
    assert held == ["True", "True"]
    *held, after, state = idle.split()
    assert (held, state) == (["False", "False"], "idle")
    assert int(before) - int(after) > FREED
    assert again == "(1, 384) 2"


@pytest.mark.slow
@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.harden)])
def test_the_largest_call_stays_within_the_promised_memory(engine: Engine, data_dir: Path, count: int) -> None:
    engine.embedder().calibration()
    words = " ".join(TEXTS[-1].split())
    # As many characters as a call may have and as many long texts as the streams hold at once. All others end in a word
    # of over 100 characters, which is one token: the call takes a fraction of the time, and no less memory.
    long = LONG_TEXTS * count // 2000
    texts = [f"{i:04} {words[7 * i :] if i < long else ''}"[:995].ljust(1000, "x") for i in range(count)]
    assert {len(text) for text in texts} == {1000}
    with ServerProcess(data_dir, "--no-cache") as server:
        server.handshake()
        # With a token, so that progress comes: all of it takes longer than the patience for one message.
        found = server.finished_call("embed", {"texts": texts}, token="t")
        assert found["file"]["shape"] == [count, 384]
        lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="utf-8").splitlines()
        peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert peak < PEAK


FIRST_CALLS = """
import sys, threading
from pathlib import Path
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.registry import load_encoder

encoder = load_encoder(Settings(model=sys.argv[1], threads=8), lambda _: None).encoder
together = threading.Barrier(8)
sys.setswitchinterval(1e-6)

def first_call():
    together.wait()
    encoder.encode([EncoderInput("a", "symmetric", 3, [101, 1037, 102])])

threads = [threading.Thread(target=first_call) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, pytest.param(20, marks=pytest.mark.harden)])
def test_all_streams_may_make_their_first_call_at_once(bge_folder: Path, processes: int) -> None:
    """Without the encoder's own first call one process in five hangs here for ever."""
    for _ in range(processes):
        subprocess.run(
            [sys.executable, "-c", FIRST_CALLS, str(bge_folder)], check=True, timeout=PATIENCE, env=client_environment()
        )
