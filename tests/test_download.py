"""Fetching models: real processes and a hub on this machine; no byte comes from elsewhere."""

import hashlib
import itertools
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub import COMMIT, Hub
from models import save_bge_like
from test_rerankers import bert
from wire import PATIENCE, PROGRAM, ServerProcess, client_environment, error_text

pytestmark = pytest.mark.usefixtures("own_process")

MODEL = "someone/bge-like"
WEIGHTS = "model.safetensors"
CHUNK = 10 * 1024 * 1024
"""huggingface_hub keeps what arrived in pieces of this size."""
CALL = {"left": ["a cat"], "right": ["a dog"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are larger than one chunk."""
    return save_bge_like(tmp_path_factory.mktemp("models") / "bge-like", hidden=128, layers=1)


@pytest.fixture(scope="module")
def weights_sha256(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    """A hub with that one model."""
    with Hub() as hub:
        hub.serve(MODEL, folder)
        yield hub


@pytest.fixture
def closed_endpoint() -> str:
    """An address where nobody listens."""
    hub = Hub()
    hub.close()
    return hub.endpoint


def environment(home: Path, endpoint: str, **extra: str) -> dict[str, str]:
    """A Hugging Face cache of its own, and a hub instead of the real one."""
    return {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": str(int(PATIENCE)),
        **extra,
    }


def start(*arguments: str, variables: dict[str, str]) -> subprocess.Popen[str]:
    """The program as a user starts it in a terminal."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        env=client_environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pull(model: str, variables: dict[str, str]) -> str:
    """What a successful pull prints."""
    with start("pull", model, variables=variables) as process:
        output, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, log
    assert log == ""
    return output


def refusal(process: subprocess.Popen[str]) -> str:
    """The one sentence with which the program ends, and nothing besides."""
    with process:
        output, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, log
    assert output == ""
    assert log.startswith("mcp-server-embeddings: ")
    assert log.count("\n") == 1, log
    return log.rstrip("\n")


def refused_pull(model: str, variables: dict[str, str]) -> str:
    """The sentence of a pull that fails."""
    return refusal(start("pull", model, variables=variables))


def status_of(server: ServerProcess) -> dict[str, Any]:
    """What ``status`` answers."""
    status: dict[str, Any] = server.call("status", {})["structuredContent"]
    return status


@pytest.mark.slow
def test_a_pulled_model_serves_without_a_network(hub: Hub, tmp_path: Path, data_dir: Path, weights_sha256: str) -> None:
    output = pull(MODEL, environment(tmp_path, hub.endpoint))
    hub.close()
    snapshot = tmp_path / "hub" / "models--someone--bge-like" / "snapshots" / COMMIT
    assert f"{MODEL} is stored in {snapshot}\n" in output
    assert f"SHA-256 of its weights: {weights_sha256}\n" in output
    offline = environment(tmp_path, hub.endpoint, HF_HUB_OFFLINE="1")
    with ServerProcess(data_dir, "--model", MODEL, environment=offline) as server:
        server.handshake()
        answer = server.call("similarity", CALL)["structuredContent"]
        assert answer["pairs"][0]["band"]
        identity = status_of(server)["identity"]
    assert identity["name"] == MODEL
    assert identity["sha256"] == weights_sha256
    assert identity["pooling"] == "cls"


@pytest.mark.slow
def test_a_pulled_reranker_orders_hits_without_a_network(hub: Hub, tmp_path: Path, data_dir: Path) -> None:
    hub.serve("someone/reranker", bert(tmp_path / "reranker"))
    assert "someone/reranker is stored in" in pull("someone/reranker", environment(tmp_path, hub.endpoint))
    hub.close()
    offline = environment(tmp_path, hub.endpoint, HF_HUB_OFFLINE="1")
    arguments = ("--reranker", "someone/reranker", "--rerank-ms", "20000")
    with ServerProcess(data_dir, *arguments, environment=offline) as server:
        server.handshake()
        asked = {"query": "how is bread baked", "texts": ["Flour and water.", "A red bike."], "explain": True}
        hits = server.finished_call("search", asked)["hits"]
    assert [hit["score"] for hit in hits] == sorted((hit["explain"]["rerank"] for hit in hits), reverse=True)
    assert all(0 < hit["score"] <= 1 for hit in hits)


@pytest.mark.slow
def test_pulling_again_fetches_nothing_and_verifies(hub: Hub, tmp_path: Path) -> None:
    variables = environment(tmp_path, hub.endpoint)
    first = pull(MODEL, variables)
    hub.requests.clear()
    assert pull(MODEL, variables) == first
    assert hub.files_fetched() == set()


@pytest.mark.slow
def test_a_file_damaged_on_disk_is_removed_and_fetched_again(hub: Hub, tmp_path: Path, weights_sha256: str) -> None:
    variables = environment(tmp_path, hub.endpoint)
    pull(MODEL, variables)
    (weights,) = tmp_path.rglob(WEIGHTS)
    weights.resolve().write_bytes(b"damaged")
    assert "removed, run again" in refused_pull(MODEL, variables)
    assert weights_sha256 in pull(MODEL, variables)


@pytest.mark.slow
def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path, weights_sha256: str) -> None:
    hub.cuts[WEIGHTS] = iter([CHUNK + 1_000_000])
    assert weights_sha256 in pull(MODEL, environment(tmp_path, hub.endpoint))
    assert hub.fetched(WEIGHTS) == [None, f"bytes={CHUNK}-"]


@pytest.mark.slow
def test_an_interrupted_pull_is_one_sentence_and_the_next_fetches_only_what_is_missing(
    hub: Hub, tmp_path: Path, weights_sha256: str
) -> None:
    variables = environment(tmp_path, hub.endpoint)
    hub.cuts[WEIGHTS] = itertools.repeat(CHUNK + 1_000_000)
    sentence = refused_pull(MODEL, variables)
    assert "did not answer" in sentence
    assert "run again, finished files are kept" in sentence
    hub.cuts.clear()
    hub.requests.clear()
    assert weights_sha256 in pull(MODEL, variables)
    assert hub.files_fetched() == {WEIGHTS, "modules.json"}


def test_a_pull_stopped_from_the_keyboard_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    hold = hub.hold(WEIGHTS, CHUNK)
    # A shell's background job ignores the signal, and so would its children.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start("pull", MODEL, variables=environment(tmp_path, hub.endpoint))
    signal.signal(signal.SIGINT, previous)
    hold.wait_until_reached()
    process.send_signal(signal.SIGINT)
    assert "was interrupted; run again to finish" in refusal(process)
    assert list(tmp_path.rglob("*.incomplete")) == []


@pytest.mark.slow
def test_corrupted_weights_are_refused_and_removed(hub: Hub, tmp_path: Path, weights_sha256: str) -> None:
    variables = environment(tmp_path, hub.endpoint)
    hub.corrupt.add(WEIGHTS)
    sentence = refused_pull(MODEL, variables)
    assert f"the hub says {weights_sha256}; it was removed, run again" in sentence
    blobs = tmp_path / "hub" / "models--someone--bge-like" / "blobs"
    assert list(tmp_path.rglob(WEIGHTS)) == []
    assert not (blobs / weights_sha256).exists()
    hub.corrupt.clear()
    assert weights_sha256 in pull(MODEL, variables)


def test_a_pull_without_a_network_is_one_sentence(tmp_path: Path, closed_endpoint: str) -> None:
    sentence = refused_pull(MODEL, environment(tmp_path, closed_endpoint))
    assert f"cannot fetch {MODEL!r}: the Hugging Face hub did not answer (ConnectError); check the network" in sentence


@pytest.mark.slow
def test_a_hub_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sentence = refused_pull(MODEL, environment(tmp_path, endpoint, HF_HUB_ETAG_TIMEOUT="1"))
    assert "did not answer (ReadTimeout)" in sentence


def test_a_hub_in_trouble_is_named_with_its_status(hub: Hub, tmp_path: Path) -> None:
    hub.status = 503
    assert "answered with status 503; run again later" in refused_pull(MODEL, environment(tmp_path, hub.endpoint))


def test_a_cache_that_cannot_be_written_is_named(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_bytes(b"")
    sentence = refused_pull(MODEL, environment(home, hub.endpoint))
    assert str(home) in sentence
    assert "cannot be written" in sentence
    assert "set HF_HOME" in sentence


def test_an_unknown_model_is_answered_with_the_nearest_known_one(hub: Hub, tmp_path: Path) -> None:
    sentence = refused_pull("BAAI/bge-bse-en-v1.5", environment(tmp_path, hub.endpoint))
    assert "there is no model 'BAAI/bge-bse-en-v1.5' on the Hugging Face hub" in sentence
    assert "did you mean 'BAAI/bge-base-en-v1.5'?" in sentence


def test_a_malformed_id_is_answered_without_asking_the_hub(hub: Hub, tmp_path: Path) -> None:
    sentence = refused_pull("not/an/id", environment(tmp_path, hub.endpoint))
    assert "there is no model 'not/an/id' on the Hugging Face hub; " in sentence
    assert hub.requests == []


def test_a_gated_model_says_how_to_get_it(hub: Hub, tmp_path: Path) -> None:
    hub.gated.add(MODEL)
    sentence = refused_pull(MODEL, environment(tmp_path, hub.endpoint))
    assert f"model {MODEL!r} is gated: accept its terms" in sentence
    assert "`hf auth login`" in sentence


def test_a_pull_in_offline_mode_says_which_variable_to_unset(hub: Hub, tmp_path: Path) -> None:
    sentence = refused_pull(MODEL, environment(tmp_path, hub.endpoint, HF_HUB_OFFLINE="1"))
    assert f"cannot fetch {MODEL!r}: HF_HUB_OFFLINE is set; unset it and run again" in sentence
    assert hub.requests == []


def test_a_model_without_weights_for_pytorch_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.models["someone/other"] = {"config.json": b"{}", "onnx/model.onnx": b"weights"}
    assert "has no PyTorch weights" in refused_pull("someone/other", environment(tmp_path, hub.endpoint))
    assert hub.files_fetched() == set()


@pytest.mark.slow
def test_a_model_that_needs_code_of_its_own_is_refused_before_anything_is_fetched(
    hub: Hub, folder: Path, tmp_path: Path, data_dir: Path
) -> None:
    model = "nomic-ai/nomic-embed-text-v1.5"
    hub.serve(model, folder)
    variables = environment(tmp_path, hub.endpoint)
    said = f"model {model!r} is refused: it needs code from its own repository"
    instead = "the nearest that works is 'Alibaba-NLP/gte-modernbert-base'"
    for name in (model, "nomic-embed-text-v1.5"):
        sentence = refused_pull(name, variables)
        assert said in sentence
        assert instead in sentence
    with ServerProcess(data_dir, "--model", model, "--download", environment=variables) as server:
        server.handshake()
        sentence = error_text(server.call("similarity", CALL))
    assert said in sentence
    assert instead in sentence
    assert hub.requests == []


def test_pull_takes_no_folder(folder: Path, hub: Hub, tmp_path: Path) -> None:
    assert "is a folder; pull takes a Hugging Face id" in refused_pull(str(folder), environment(tmp_path, hub.endpoint))
    assert hub.requests == []


def test_the_bundled_model_is_not_pulled(hub: Hub, tmp_path: Path) -> None:
    output = pull("all-MiniLM-L6-v2", environment(tmp_path, hub.endpoint))
    assert output.startswith("sentence-transformers/all-MiniLM-L6-v2 is stored in ")
    assert hub.requests == []


def test_copies_for_other_runtimes_are_not_fetched(hub: Hub, folder: Path, tmp_path: Path) -> None:
    unwanted = {
        "onnx/model.onnx": b"weights",
        "onnx/config.json": b"{}",
        "openvino/openvino_model.bin": b"weights",
        "pytorch_model.bin": b"weights",
        "README.md": b"# Model",
        ".gitattributes": b"",
    }
    hub.serve(MODEL, folder, extra=unwanted)
    pull(MODEL, environment(tmp_path, hub.endpoint))
    wanted = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - set(unwanted)
    assert hub.files_fetched() == wanted


@pytest.mark.slow
def test_a_snapshot_is_used_only_when_all_its_files_are_there(hub: Hub, folder: Path, tmp_path: Path) -> None:
    variables = environment(tmp_path, hub.endpoint)
    hub.serve("BAAI/bge-small-en-v1.5", folder, extra={"2_Dense/model.safetensors": b"weights"})
    hub.corrupt.add(WEIGHTS)
    refused_pull("bge-small-en-v1.5", variables)
    assert "2_Dense/model.safetensors" in hub.files_fetched()
    assert not is_marked("BAAI/bge-small-en-v1.5", variables)
    hub.corrupt.clear()
    pull("bge-small-en-v1.5", variables)
    assert is_marked("BAAI/bge-small-en-v1.5", variables)


def test_a_plain_transformer_is_whole_without_modules(hub: Hub, tmp_path: Path) -> None:
    variables = environment(tmp_path, hub.endpoint)
    hub.models["BAAI/bge-small-en-v1.5"] = {"config.json": b"{}", WEIGHTS: b"weights"}
    pull("BAAI/bge-small-en-v1.5", variables)
    assert is_marked("BAAI/bge-small-en-v1.5", variables)


@pytest.mark.slow
def test_a_snapshot_that_another_program_left_without_the_modules_is_not_used(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    variables = environment(tmp_path, hub.endpoint)
    hub.serve("BAAI/bge-small-en-v1.5", folder)
    pull("BAAI/bge-small-en-v1.5", variables)
    (modules,) = tmp_path.rglob("modules.json")
    modules.unlink()
    assert not is_marked("BAAI/bge-small-en-v1.5", variables)


def is_marked(model: str, variables: dict[str, str]) -> bool:
    """Whether ``models`` says that a model is on this machine."""
    with start("models", variables=variables) as process:
        output, _ = process.communicate(timeout=PATIENCE)
    (line,) = (line for line in output.splitlines() if f" {model} " in line)
    return line.startswith("*")


@pytest.mark.slow
def test_a_missing_model_is_found_by_the_next_call_once_it_was_pulled(hub: Hub, tmp_path: Path, data_dir: Path) -> None:
    variables = environment(tmp_path, hub.endpoint)
    with ServerProcess(data_dir, "--model", MODEL, environment=variables) as server:
        server.handshake()
        sentence = error_text(server.call("similarity", CALL))
        assert f"run `mcp-server-embeddings pull {MODEL}`" in sentence
        status = status_of(server)
        assert (status["state"], status["detail"]) == ("failed", sentence)
        assert hub.requests == []
        pull(MODEL, variables)
        assert server.call("similarity", CALL)["structuredContent"]["pairs"]
        assert status_of(server)["state"] == "ready"


@pytest.mark.slow
def test_a_failed_download_is_one_sentence_and_the_server_stays_up(
    tmp_path: Path, data_dir: Path, closed_endpoint: str
) -> None:
    variables = environment(tmp_path, closed_endpoint)
    with ServerProcess(data_dir, "--model", MODEL, "--download", environment=variables) as server:
        server.handshake()
        sentence = error_text(server.call("similarity", CALL))
        assert f"cannot fetch {MODEL!r}: the Hugging Face hub did not answer (ConnectError)" in sentence
        status = status_of(server)
        assert (status["state"], status["detail"]) == ("failed", sentence)
        assert server.request("ping") == {}
        assert "Traceback" not in server.log


@pytest.mark.slow
def test_a_download_while_serving_reports_and_then_answers(hub: Hub, tmp_path: Path, data_dir: Path) -> None:
    hold = hub.hold(WEIGHTS, CHUNK)
    variables = environment(tmp_path, hub.endpoint)
    with ServerProcess(data_dir, "--model", MODEL, "--download", environment=variables) as server:
        server.handshake()
        waiting = server.send("tools/call", server.call_params("similarity", CALL, token="wait"))
        hold.wait_until_reached()
        status = status_of(server)
        assert status["state"] == "downloading"
        assert status["detail"].startswith(f"downloading {MODEL}: ")
        assert status["detail"].endswith(" MB")
        progress = server.next_message()
        assert progress["method"] == "notifications/progress"
        assert progress["params"]["progressToken"] == "wait"
        assert progress["params"]["message"].startswith(f"downloading {MODEL}")
        hold.released.set()
        assert server.answer(waiting)["result"]["structuredContent"]["pairs"]
        assert status_of(server)["state"] == "ready"


@pytest.mark.slow
def test_nothing_is_asked_of_the_hub_before_the_handshake_is_answered(
    hub: Hub, folder: Path, tmp_path: Path, data_dir: Path
) -> None:
    arguments = ("--model", MODEL, "--download")
    silent_home, greeted_home = tmp_path / "silent", tmp_path / "greeted"
    with (
        Hub() as other,
        ServerProcess(data_dir, *arguments, environment=environment(silent_home, hub.endpoint)) as silent,
        ServerProcess(data_dir, *arguments, environment=environment(greeted_home, other.endpoint)) as greeted,
    ):
        other.serve(MODEL, folder)
        asked_of_other = other.hold("config.json", 0)
        asked = hub.hold("config.json", 0)
        greeted.handshake()
        asked_of_other.wait_until_reached()
        # The server that started later has come to fetching; the one without a handshake has asked nothing.
        assert hub.requests == []
        silent.handshake()
        asked.wait_until_reached()


@pytest.mark.slow
def test_a_model_that_is_there_is_never_downloaded(hub: Hub, tmp_path: Path, data_dir: Path) -> None:
    variables = environment(tmp_path, hub.endpoint)
    pull(MODEL, variables)
    hub.requests.clear()
    with ServerProcess(data_dir, "--model", MODEL, "--download", environment=variables) as server:
        server.handshake()
        assert server.call("similarity", CALL)["structuredContent"]["pairs"]
    assert hub.requests == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "missing",
    [
        "./no/such",
        pytest.param("/no/such/folder", marks=pytest.mark.harden),
        pytest.param("~/no-such-folder", marks=pytest.mark.harden),
    ],
)
def test_a_folder_that_does_not_exist_is_never_looked_up_on_the_hub(
    hub: Hub, tmp_path: Path, data_dir: Path, missing: str
) -> None:
    variables = environment(tmp_path, hub.endpoint)
    with ServerProcess(data_dir, "--model", missing, "--download", environment=variables) as server:
        server.handshake()
        assert "does not exist; pass a folder" in error_text(server.call("similarity", CALL))
    assert hub.requests == []
