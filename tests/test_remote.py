"""The encoder on another machine: whose vectors, how much of a text, and what becomes of failures."""

import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import numpy as np
import pytest
from starlette.responses import Response

from calls import call, error, structured
from fakes import tokenizer
from mcp_server_embeddings.config import ENGINE_KEY, Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.identity import Prompts
from mcp_server_embeddings.engine.remote.client import RemoteClient, _retry_after
from mcp_server_embeddings.engine.remote.probe import _outcome
from mcp_server_embeddings.errors import (
    CallCancelledError,
    ModelChangedError,
    OperatorError,
    RemoteEngineError,
    RemoteRefusalError,
    RemoteUnavailableError,
    TextTooLongError,
)
from mcp_server_embeddings.relay.starting import engine_address
from remote_server import RemoteServer, in_float16, refusal, remote_server, turned
from scripts import run
from test_parity import of_words
from waiting import wait_until
from wire import PATIENCE, ServerProcess, error_text

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Refunds are paid within five days.", "The bike has a red frame.", "Ein Fahrrad 🚲", "a cat"]
SECRET = "sk-crown-jewels"


@pytest.fixture
def remote(embedder: Embedder) -> Iterator[RemoteServer]:
    with remote_server(embedder) as server:
        yield server


@pytest.fixture(scope="module")
def module_server(
    embedder: Embedder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RemoteServer, Engine]]:
    with remote_server(embedder) as server, started(server, tmp_path_factory.mktemp("remote")) as engine:
        engine.embedder().calibration()
        yield server, engine


@pytest.fixture
def calm(module_server: tuple[RemoteServer, Engine]) -> Iterator[RemoteServer]:
    """A server that answers nobody until a test does, with ``engine``."""
    server, _ = module_server
    server.bodies.clear()
    yield server
    server.faults.clear()
    server.most_texts = 10_000


@pytest.fixture
def there(module_server: tuple[RemoteServer, Engine]) -> Embedder:
    """One caller of the engine that is ready."""
    return module_server[1].embedder()


def started(remote: RemoteServer, data_dir: Path) -> Engine:
    """An engine that caches no vectors, so that every text is asked for."""
    return Engine(
        Settings(engine="openai", engine_url=remote.url, engine_model=MODEL, data_dir=data_dir, no_cache=True)
    )


def digest(remote: RemoteServer, data_dir: Path) -> str:
    """The identity under which a server's vectors are stored."""
    with started(remote, data_dir) as engine:
        return engine.embedder().identity().digest


@pytest.mark.slow
def test_vectors_percentiles_and_bands_are_those_of_the_model_here(
    remote: RemoteServer, embedder: Embedder, tmp_path: Path
) -> None:
    with started(remote, tmp_path) as engine:
        there = engine.embedder()
        cosines = np.sum(there.embed(TEXTS).vectors * embedder.embed(TEXTS).vectors, axis=1)
        assert cosines.min() >= 0.9999
        assert there.identity().normalised
        assert there.calibration().edges == pytest.approx(embedder.calibration().edges, abs=0.005)
        assert there.calibration("retrieval").edges == pytest.approx(embedder.calibration("retrieval").edges, abs=0.005)
    assert {body["encoding_format"] for body in remote.bodies} == {"base64"}
    assert {body["model"] for body in remote.bodies} == {MODEL}


def test_a_server_that_knows_no_base64_is_asked_for_numbers(
    remote: RemoteServer, embedder: Embedder, tmp_path: Path
) -> None:
    remote.base64 = False
    with started(remote, tmp_path) as engine:
        vectors = engine.embedder().embed(TEXTS).vectors
    assert np.array_equal(vectors, embedder.embed(TEXTS).vectors)
    assert all("encoding_format" not in body for body in remote.bodies)


LONG = {
    "english": of_words(400),
    "german": "Die Versicherungsgesellschaft hat den Antrag auf Kostenübernahme der Behandlung abgelehnt, weil die "
    "Beitragsrückstände nicht beglichen wurden. " * 8,
    "russian": "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему. " * 6,
    "keys": " ".join(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(1, 25)),
    "japanese": "猫が窓のそばで眠っている。" * 30,
}


@pytest.mark.parametrize("kind", LONG)
def test_where_the_server_cuts_is_found_and_nothing_longer_is_sent(
    kind: str, remote: RemoteServer, tmp_path: Path
) -> None:
    with started(remote, tmp_path) as engine:
        limit = engine.embedder().identity().max_tokens
        assert limit is not None
        assert 128 < limit < 256
        assert f"silently ignores the part of a text beyond about {limit} tokens" in engine.status().note
        remote.bodies.clear()
        embedded = engine.embedder().embed([LONG[kind]])
    assert embedded.windowed == (0,)
    model = tokenizer(Prompts(), 256)
    assert max(text.tokens for text in model.tokenize(remote.texts, "symmetric", "error")) <= 256
    text = LONG[kind].strip()
    assert any(text.startswith(part) for part in remote.texts)
    assert any(text.endswith(part) for part in remote.texts)


def test_where_the_server_refuses_is_found_too(remote: RemoteServer, tmp_path: Path) -> None:
    remote.refuses_long = True
    with started(remote, tmp_path) as engine:
        assert engine.embedder().embed([LONG["english"]]).windowed == (0,)
        limit = engine.embedder().identity().max_tokens
        assert f"refuses texts of more than about {limit} tokens" in engine.status().note
        with pytest.raises(TextTooLongError, match=f"has about [0-9]+ tokens, the model reads about {limit}"):
            engine.embedder().embed([LONG["english"]], long_text="error")


def test_a_server_that_was_set_to_cut_sooner_is_measured_again(remote: RemoteServer, tmp_path: Path) -> None:
    def limit() -> int | None:
        with started(remote, tmp_path) as engine:
            return engine.embedder().identity().max_tokens

    before = limit()
    assert limit() == before
    short = tokenizer(Prompts(), 128)

    def cut(texts: list[str]) -> list[str]:
        return [text.inputs[0].text for text in short.tokenize(texts, "symmetric", "window")]

    remote.read = cut
    assert 64 < (limit() or 0) < 128 < (before or 0)


def test_one_model_has_one_identity_in_any_precision(remote: RemoteServer, tmp_path: Path) -> None:
    first = digest(remote, tmp_path / "one")
    remote.change = in_float16
    assert digest(remote, tmp_path / "one") == first
    assert digest(remote, tmp_path / "another machine") == first


def test_vectors_of_another_model_of_that_name_are_refused(remote: RemoteServer, tmp_path: Path) -> None:
    with started(remote, tmp_path) as engine:
        structured(call(engine, "collection_add", {"collection": "notes", "texts": TEXTS}))
    remote.change = turned
    with started(remote, tmp_path) as engine:
        refused = error(call(engine, "collection_add", {"collection": "notes", "texts": ["more"]}))
    assert "'notes' holds vectors of the model all-MiniLM-L6-v2@" in refused
    remote.change = lambda vectors: vectors
    with started(remote, tmp_path) as engine:
        structured(call(engine, "collection_add", {"collection": "notes", "texts": ["more"]}))


def test_a_model_that_is_replaced_while_it_serves_is_noticed_by_the_next_call(
    remote: RemoteServer, tmp_path: Path
) -> None:
    with started(remote, tmp_path) as engine:
        first = engine.embedder().identity()
        engine.embedder().calibration()
        remote.change = turned
        with pytest.raises(ModelChangedError, match=r"answers with another model than before .* repeat the call"):
            engine.embedder().embed(TEXTS)
        engine.embedder().embed(TEXTS)
        assert engine.embedder().identity().digest != first.digest


@pytest.mark.parametrize(
    "fault", [refusal(429, Retry_After="0"), refusal(503, Retry_After="Sun, 06 Nov 1994 08:49:37 GMT"), refusal(408)]
)
def test_failures_that_pass_are_waited_for(fault: Response, calm: RemoteServer, there: Embedder) -> None:
    calm.faults = [fault]
    assert there.embed(TEXTS).vectors.shape == (4, 384)
    assert not calm.faults


def test_a_server_that_says_nothing_is_not_waited_for_without_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        client = RemoteClient(url, MODEL, "", 1)
        with pytest.raises(
            RemoteUnavailableError, match=r"did not answer in 0.1 seconds \(ReadTimeout\), asked 2 times"
        ):
            client.embed(["a"], attempts=2, seconds=0.1)
        client.free()


def test_a_server_that_is_busy_while_it_is_probed_is_not_taken_for_one_that_cannot(calm: RemoteServer) -> None:
    client = RemoteClient(calm.url, MODEL, "", 1)
    calm.faults = [refusal(503)] * 4
    with pytest.raises(RemoteUnavailableError, match="answered with status 503"):
        _outcome(client, "a", 64)
    calm.faults = [refusal(500, "input is too large to process")] * 4
    assert _outcome(client, "a", 64) == "refused"
    client.free()


def test_what_was_stored_stays_when_the_server_fails(remote: RemoteServer, tmp_path: Path) -> None:
    with started(remote, tmp_path) as engine:
        structured(call(engine, "collection_add", {"collection": "notes", "texts": TEXTS}))
        engine.embedder().calibration()
        remote.key = SECRET
        assert ENGINE_KEY in error(call(engine, "collection_add", {"collection": "notes", "texts": ["more"]}))
        remote.key = ""
        added = structured(call(engine, "collection_add", {"collection": "notes", "texts": ["more"]}))
    assert added["size"] == 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("2.5", 2.5),
        ("soon", 0),
        ("-1", 0),
        ("nan", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date_that_is_over(value: str, seconds: float) -> None:
    assert asked_to_wait(value) == seconds


def test_retry_after_may_be_a_date_to_come() -> None:
    assert asked_to_wait(format_datetime(datetime.now(UTC) + timedelta(seconds=500))) == pytest.approx(500, abs=120)


def asked_to_wait(value: str) -> float:
    return _retry_after(httpx2.Response(429, headers={"Retry-After": value}))


def test_a_server_that_wants_to_be_left_alone_for_long_is_not_waited_for(calm: RemoteServer, there: Embedder) -> None:
    calm.faults = [refusal(429, "quota exceeded", Retry_After="3600")]
    with pytest.raises(RemoteUnavailableError, match="quota exceeded; it asks to wait 3,600 seconds"):
        there.embed(TEXTS)


def test_a_request_has_at_most_512_texts_as_long_as_none_is_refused(remote: RemoteServer, tmp_path: Path) -> None:
    with started(remote, tmp_path) as engine:
        engine.embedder().calibration()
        for _ in range(2):
            remote.bodies.clear()
            engine.embedder().embed([f"n {number}" for number in range(600)])
            assert sorted(len(body["input"]) for body in remote.bodies) == [89, 513]  # one is known


def test_batches_are_as_many_texts_as_the_server_takes(calm: RemoteServer, there: Embedder, embedder: Embedder) -> None:
    texts = [f"text number {number}" for number in range(200)]
    calm.most_texts = 33
    vectors = there.embed(texts).vectors
    assert np.sum(vectors * embedder.embed(texts).vectors, axis=1).min() >= 0.9999
    assert 25 <= max(len(body["input"]) for body in calm.bodies) <= 33


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Response("<html>", media_type="text/html"), "is not that of OpenAI's /embeddings; correct --engine-url"),
        (Response('{"data": [{"embedding": [0.5]}]}'), r"answered 5 texts with 1 vectors of lengths \[1\]"),
        (Response('{"data": [{"embedding": "AAAA*"}]}'), "is not that of OpenAI's /embeddings"),
        (Response('{"data": []}'), "answered 5 texts with 0 vectors"),
        (Response('{"data": [' + ",".join(['{"embedding": [1e999]}'] * 5) + "]}"), "vectors that are not finite"),
        (Response(status_code=307, headers={"Location": "/v2"}), "answered with status 307; see its log"),
    ],
)
def test_an_answer_without_usable_vectors_says_what_to_do(
    answer: Response, message: str, calm: RemoteServer, there: Embedder
) -> None:
    calm.faults = [answer]
    with pytest.raises(RemoteEngineError, match=message):
        there.embed(TEXTS)


def test_a_wrong_name_or_path_says_what_to_correct(remote: RemoteServer, tmp_path: Path) -> None:
    remote.faults = [refusal(404, "model 'all-MiniLM' not found")] * 2
    with started(remote, tmp_path) as engine, pytest.raises(RemoteRefusalError) as raised:
        engine.embedder().embed(TEXTS)
    assert f"{remote.url} answered with status 404: model 'all-MiniLM' not found; correct --engine" in str(raised.value)


def test_the_key_comes_from_the_environment_and_is_told_to_nobody(
    remote: RemoteServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mcp_server_embeddings")
    remote.key = SECRET
    with started(remote, tmp_path) as engine, pytest.raises(OperatorError) as raised:
        engine.embedder().embed(TEXTS)
    assert "answered with status 401: it wants another key; pass one in the variable " + ENGINE_KEY in str(raised.value)
    monkeypatch.setenv(ENGINE_KEY, SECRET)
    with started(remote, tmp_path) as engine:
        engine.embedder().embed(TEXTS)
        engine.embedder().calibration()
        remote.faults = [refusal(422, f"the request of {SECRET} is wrong")] * 5
        with pytest.raises(RemoteRefusalError, match=r"the request of \*\*\* is wrong"):
            engine.embedder().embed(["a text"])
        shown = [call(engine, "status", {}).model_dump_json(), repr(engine.settings), caplog.text]
    assert not any(SECRET in text or "a red bicycle" in text for text in shown)


def test_waiting_for_a_server_does_not_hold_up_the_end(remote: RemoteServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads, started(remote, tmp_path) as engine:
        engine.embedder().calibration()
        remote.faults = [refusal(503, Retry_After="59")]
        waiting = threads.submit(engine.embedder().embed, TEXTS)
        wait_until(lambda: not remote.faults, "the request is refused")
        engine.close()
        assert isinstance(waiting.exception(PATIENCE), CallCancelledError)


def test_a_server_that_is_not_there_is_named_by_every_call_until_it_is(embedder: Embedder, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    options = ("--engine", "openai", "--engine-url", url, "--engine-model", MODEL)
    with ServerProcess(tmp_path, *options, environment={ENGINE_KEY: SECRET}) as server:
        told = server.handshake()["instructions"]
        assert f"with a model at {url}, to which they are sent" in told
        assert "no text leaves" not in told
        refused = error_text(server.call("embed", {"texts": ["a"]}))
        assert f"the remote engine at {url} cannot be reached (ConnectError: " in refused
        assert refused.endswith("asked 3 times; start that server, or correct --engine-url")
        status = server.call("status", {})["structuredContent"]
        assert (status["device"], status["model"]) == (url, MODEL)
        with remote_server(embedder, port) as remote:
            remote.key = SECRET
            result = server.call("embed", {"texts": ["a"]})["structuredContent"]
            assert result["dimensions"] == 384
            ready = server.call("status", {})["structuredContent"]
            note = ready["notes"][0]
            assert note.startswith(f"texts are sent to {url}; its model silently ignores the part of a text beyond ")
            assert (ready["engine"], ready["device"], ready["state"]) == ("openai", url, "ready")
            digest = server.finished_call("condense", {"texts": ["One. Two. Three."], "max_tokens": 5})
            assert "tokens are estimates, since the model's tokenizer is not on this machine" in digest["notes"]
        assert SECRET not in server.log + str(status) + str(ready)


def test_sessions_with_other_keys_have_engines_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENGINE_KEY, raising=False)
    addresses = {engine_address(Settings()).key}
    for key in ("one", "two"):
        monkeypatch.setenv(ENGINE_KEY, key)
        addresses.add(engine_address(Settings()).key)
    assert len(addresses) == 3


def test_the_http_client_is_imported_where_a_remote_engine_is_used_and_nowhere_else() -> None:
    script = (
        "import sys; from mcp_server_embeddings.engine.engine import Engine\n"
        "print(sorted({'httpx2', 'tenacity'} & set(sys.modules)))"
    )
    assert run(script) == "[]\n"
