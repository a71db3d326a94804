"""Models built from their files: damaged files, files that change, and what the first start does not do."""

import json
import re
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from audit import Audit
from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.agreement import measure_agreement
from mcp_server_embeddings.engine.artifact import refusal
from mcp_server_embeddings.engine.encoder import Agreement, EncoderInput
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.measured import cached_measurement
from mcp_server_embeddings.engine.native.tensors import Tensors
from mcp_server_embeddings.errors import ModelChangedError, ModelLoadError
from mcp_server_embeddings.vectors.scores import Vectors
from wire import PATIENCE, ServerProcess, client_environment, error_text

pytestmark = pytest.mark.usefixtures("own_process")


@pytest.fixture
def own_folder(bge_folder: Path, tmp_path: Path) -> Path:
    """A model of one's own to damage."""
    return shutil.copytree(bge_folder, tmp_path / "model")


def loaded(folder: Path, tmp_path: Path) -> Engine:
    return Engine(Settings(model=str(folder), data_dir=tmp_path / "data", engine="compiled", no_cache=True))


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def edit_first_module(folder: Path, **values: object) -> None:
    first, *rest = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    (folder / "modules.json").write_text(json.dumps([{**first, **values}, *rest]), encoding="utf-8")


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, folder / "model.safetensors")


def with_a_tensor_of_another_shape(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.weight"] = np.zeros(63, np.float32)
    save_file(tensors, folder / "model.safetensors")


def short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def with_a_header_longer_than_the_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


def with_a_header_that_is_no_json(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:8] + b"[" + path.read_bytes()[9:])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


DAMAGE: dict[Callable[[Path], object], str] = {
    without_a_tensor: r"lack the tensor 'encoder.layer.1.output.dense.bias' that config.json requires",
    with_a_tensor_of_another_shape: r"'embeddings.LayerNorm.weight' has the shape \(63,\), config.json says \(64,\)",
    short: "lies outside the file",
    with_a_header_longer_than_the_file: "the header is longer than the file",
    with_a_header_that_is_no_json: "is not a valid safetensors file",
    empty: "is not a valid safetensors file",
    lambda folder: edit(folder / "config.json", num_hidden_layers=1_000_000): (
        "config.json' says num_hidden_layers = 1,000,000, at most 1,000 is possible"
    ),
    lambda folder: edit(folder / "config.json", num_hidden_layers=3): "lack the tensor 'encoder.layer.2.",
    lambda folder: edit(folder / "config.json", hidden_size=128): r"has the shape .*, config.json says",
    lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"): "is not valid JSON",
    lambda folder: edit_first_module(folder, path="../outside"): "names the path '../outside' outside the model",
    lambda folder: edit_first_module(folder, path="/outside"): "names the path '/outside' outside the model",
    lambda folder: (folder / "modules.json").write_text("{}", encoding="utf-8"): "does not list modules",
}


@pytest.mark.fault
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_model_is_an_error_that_names_the_fault(
    damage: Callable[[Path], object], own_folder: Path, tmp_path: Path
) -> None:
    damage(own_folder)
    with loaded(own_folder, tmp_path) as engine, pytest.raises(ModelLoadError, match=DAMAGE[damage]):
        engine.embedder().identity()


def test_a_configuration_with_a_million_layers_is_refused_by_every_engine(own_folder: Path, tmp_path: Path) -> None:
    edit(own_folder / "config.json", num_hidden_layers=1_000_000, model_type="deberta-v2")
    for engine_name in ("auto", "compiled", "reference"):
        settings = Settings(model=str(own_folder), data_dir=tmp_path / "data", engine=engine_name)
        with Engine(settings) as engine, pytest.raises(ModelLoadError, match="num_hidden_layers = 1,000,000"):
            engine.embedder().identity()


@pytest.mark.fault
def test_weights_that_change_on_disk_while_in_use_are_an_error_and_then_loaded_again(
    own_folder: Path, tmp_path: Path
) -> None:
    path = own_folder / "model.safetensors"
    before = path.read_bytes()
    with loaded(own_folder, tmp_path) as engine:
        embedder = engine.embedder()
        embedder.calibration()  # by then this test is the only one to encode
        first = embedder.embed(["Apple", "Orange"]).vectors
        with path.open("r+b") as file:  # in place: the same file, whose mapped pages change
            file.seek(len(before) // 4)
            file.write(bytes(len(before) // 2))
        with pytest.raises(ModelChangedError, match=r"'model.safetensors' was changed on disk .* send this call again"):
            embedder.embed(["Apple", "Orange"])
        path.write_bytes(before)
        np.testing.assert_array_equal(embedder.embed(["Apple", "Orange"]).vectors, first)


@pytest.mark.fault
def test_weights_that_are_replaced_are_another_model(own_folder: Path, tmp_path: Path) -> None:
    with loaded(own_folder, tmp_path) as engine:
        engine.embedder().calibration()
        before = engine.embedder().identity()
        other = {name: tensor * 0.5 for name, tensor in load_file(own_folder / "model.safetensors").items()}
        save_file(other, own_folder / "new")
        (own_folder / "new").replace(own_folder / "model.safetensors")
        with pytest.raises(ModelChangedError):
            engine.embedder().embed(["a"])
        assert engine.embedder().identity().sha256 != before.sha256


SHORTENED = """
import sys
from pathlib import Path
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import ModelChangedError
model, data = map(Path, sys.argv[1:])
with Engine(Settings(model=str(model), data_dir=data, no_cache=True)) as engine:
    embedder = engine.embedder()
    embedder.calibration()
    (model / "model.safetensors").write_bytes(b"")
    try:
        embedder.embed(["Apple"])
    except ModelChangedError:
        print("refused")
"""


@pytest.mark.fault
def test_weights_that_are_shortened_while_in_use_do_not_end_the_process(own_folder: Path, tmp_path: Path) -> None:
    """Touching a page beyond the end of a mapped file raises SIGBUS."""
    finished = subprocess.run(
        [sys.executable, "-c", SHORTENED, str(own_folder), str(tmp_path / "data")],
        env=client_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (0, "refused\n"), finished.stderr


class ChangedOnce(FakeEncoder):
    """Its files change while the reference set is encoded: one batch of it takes long, and a call notices first."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = 2
        self.first = threading.Lock()
        self.measuring = threading.Event()
        self.noticed = threading.Event()

    def encode(self, pieces: Sequence[EncoderInput]) -> Vectors:
        if "a call" in {piece.text for piece in pieces}:
            raise ModelChangedError("changed")
        if self.first.acquire(blocking=False):
            self.measuring.set()
            assert self.noticed.wait(PATIENCE)
        return super().encode(pieces)


def test_what_a_replaced_model_left_behind_does_not_end_its_successor(tmp_path: Path) -> None:
    changed, good = ChangedOnce(), FakeEncoder()
    encoders: list[FakeEncoder] = [good, changed]
    others = set(threading.enumerate())
    with Engine(
        Settings(data_dir=tmp_path, cache_dir=tmp_path, no_cache=True), lambda *_: encoders.pop().load()
    ) as engine:
        (first,) = {thread for thread in threading.enumerate() if thread.name == "model-loader"} - others
        assert changed.measuring.wait(PATIENCE)
        with pytest.raises(ModelChangedError):
            engine.embedder().embed(["a call"])
        assert engine.embedder().embed(["a call"]).vectors.shape == (1, 64)
        changed.noticed.set()
        first.join(PATIENCE)
        assert not first.is_alive()
        assert engine.status().state == "ready"
        assert engine.embedder().embed(["a call"]).vectors.shape == (1, 64)
    assert encoders == []


def test_an_agreement_that_is_not_finite_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    measured: list[Agreement] = []

    def measure() -> Agreement:
        measured.append(Agreement(float("nan"), float("nan"), float("nan")))
        return measured[-1]

    for _ in range(2):
        assert np.isnan(cached_measurement(tmp_path / "agreement.json", Agreement, measure).minimum_cosine)
    assert len(measured) == 1


def test_mapped_tensors_outlive_the_object_that_mapped_them(bge_folder: Path) -> None:
    tensor = Tensors(bge_folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    expected = load_file(bge_folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(tensor, expected)
    assert tensor.base is not None, "a copy of the file's memory was made"


@pytest.mark.skipif(sys.platform != "linux", reason="reads resident pages from /proc")
def test_released_tensors_leave_memory_and_are_read_again(own_folder: Path) -> None:
    path = own_folder / "model.safetensors"
    tensors = Tensors(path)
    table = tensors["embeddings.word_embeddings.weight"]
    before = float(table.sum())
    assert resident_kilobytes(path) > 0
    tensors.release()
    assert resident_kilobytes(path) == 0
    assert float(table.sum()) == before


def resident_kilobytes(path: Path) -> int:
    """Of the mappings of a file in this process."""
    mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text("utf-8"), flags=re.MULTILINE)
    sizes = [re.findall(r"^Rss:\s+(\d+)", one, re.MULTILINE) for one in mappings if str(path) in one.partition("\n")[0]]
    return sum(int(size) for (size,) in sizes)


@pytest.mark.parametrize("precision", ["exact", "bf16", "int8"])
def test_an_agreement_that_is_not_finite_refuses_the_graph(precision: str) -> None:
    nan = float("nan")
    assert "not finite" in refusal(precision, Agreement(nan, nan, nan))  # type: ignore[arg-type]
    assert refusal("exact", Agreement(1.0, 1.0, 1.0)) == ""


class BrokenEncoder(FakeEncoder):
    """Gives NaN for one text of a batch."""

    def encode(self, pieces: Sequence[EncoderInput]) -> Vectors:
        vectors = super().encode(pieces)
        vectors[len(vectors) // 2] = np.nan
        return vectors


def test_vectors_that_are_not_finite_give_an_agreement_that_is_not() -> None:
    assert np.isnan(measure_agreement(BrokenEncoder(), FakeEncoder(), FakeEncoder().load().counter).minimum_cosine)


@pytest.mark.slow
def test_the_first_start_on_a_machine_starts_no_child_and_measures_nothing(tmp_path: Path, audit: Audit) -> None:
    environment = {**audit.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        server.handshake()
        answer = server.call("similarity", {"left": ["Apple"], "right": ["Orange"]})
        assert answer["structuredContent"]["pairs"], error_text(answer)
        assert server.call("status", {})["structuredContent"]["engine"] == "compiled"
    assert audit.events("program"), "the hook was not in the server"
    assert audit.events("child") == []
    assert not (tmp_path / "cache" / "mcp-server-embeddings").exists()
