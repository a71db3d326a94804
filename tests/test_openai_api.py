"""Programs that speak OpenAI's, Cohere's or Jina's API are served by the same engine as MCP."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import uvicorn
from sentence_transformers import CrossEncoder
from starlette.applications import Starlette

from calls import call, structured
from fakes import FakeEncoder
from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.http.limits import MAX_BODY_BYTES
from mcp_server_embeddings.mcp_layer.http.openai_api import routes
from models import BGE_PROMPT
from test_rerankers import bert
from waiting import wait_until
from wire import PATIENCE

TEXTS = ["Refunds are paid within five days.", "The bike has a red frame.", "Ein Fahrrad 🚲", "a cat"]
QUERY = "how do I get my money back"


@contextmanager
def served(engine: Engine) -> Iterator[httpx2.Client]:
    """The routes in an application of their own, on a thread."""
    app = Starlette(routes=list(routes(Service(engine))))
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", ws="none", log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server listens")
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=PATIENCE, trust_env=False) as http:
        yield http
    server.should_exit = True
    thread.join(PATIENCE)


@pytest.fixture(scope="module")
def http(engine: Engine) -> Iterator[httpx2.Client]:
    """The default model."""
    with served(engine) as client:
        yield client


@pytest.fixture(scope="module")
def client(http: httpx2.Client) -> openai.OpenAI:
    return openai.OpenAI(base_url=str(http.base_url), api_key="none", max_retries=0, http_client=http)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with random weights."""
    return bert(tmp_path_factory.mktemp("reranked") / "random-reranker")


@pytest.fixture(scope="module")
def other(bge_folder: Path, reranker: Path, data_dir: Path) -> Iterator[httpx2.Client]:
    """A model with prompts and shorter vectors, and a reranker that search may not use."""
    settings = Settings(model=str(bge_folder), reranker=str(reranker), rerank_ms=0, data_dir=data_dir)
    with Engine(settings) as engine, served(engine) as client:
        yield client


def post(http: httpx2.Client, path: str, **body: Any) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def refusal(answer: httpx2.Response, status: int = 400) -> dict[str, Any]:
    """The error in an answer, in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    (name, error), *rest = answer.json().items()
    assert (name, rest) == ("error", [])
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    refused: dict[str, Any] = error
    return refused


def embedded(http: httpx2.Client, texts: list[str], **body: Any) -> list[list[float]]:
    return [one["embedding"] for one in post(http, "/embeddings", input=texts, **body)["data"]]


def test_the_openai_client_gets_the_vectors_of_the_tool_embed(client: openai.OpenAI, engine: Engine) -> None:
    """It asks for base64 unless told otherwise."""
    answer = client.embeddings.create(model=DEFAULT_MODEL, input=TEXTS)
    tool = structured(call(engine, "embed", {"texts": TEXTS, "encoding": "base64"}))["vectors"]
    expected = [np.frombuffer(base64.b64decode(row), "<f4") for row in tool]
    np.testing.assert_array_equal(np.array([one.embedding for one in answer.data], np.float32), expected)
    assert [one.index for one in answer.data] == [0, 1, 2, 3]
    assert answer.model == DEFAULT_MODEL


def test_numbers_are_those_of_the_tool_embed(client: openai.OpenAI, engine: Engine) -> None:
    answer = client.embeddings.create(model=DEFAULT_MODEL, input=TEXTS, encoding_format="float", user="someone")
    assert [one.embedding for one in answer.data] == structured(call(engine, "embed", {"texts": TEXTS}))["vectors"]


def test_base64_is_little_endian_float32(http: httpx2.Client) -> None:
    (encoded,) = embedded(http, ["a cat"], encoding_format="base64")
    assert isinstance(encoded, str)
    numbers = np.frombuffer(base64.b64decode(encoded), "<f4")
    np.testing.assert_allclose(numbers, embedded(http, ["a cat"])[0], atol=1e-6)


def test_one_string_is_one_text(client: openai.OpenAI) -> None:
    one, listed = (client.embeddings.create(model="", input=sent).data for sent in ("a cat", ["a cat"]))
    assert [entry.embedding for entry in one] == [entry.embedding for entry in listed]


def test_usage_counts_the_tokens_that_the_model_reads(http: httpx2.Client) -> None:
    """[CLS], a, cat, [SEP]; a text that is sent twice counts twice, read from the cache or not."""
    assert post(http, "/embeddings", input=["a cat"])["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert post(http, "/embeddings", input=["a cat", "a cat"])["usage"]["prompt_tokens"] == 8


def test_a_text_over_the_limit_is_averaged_over_windows_and_named(http: httpx2.Client, engine: Engine) -> None:
    long = "The bike has a red frame. " * 100
    answer = post(http, "/embeddings", input=["a cat", long])
    assert answer["notes"] == ["1 of input are longer than the model reads; each is the mean of its windows: 1"]
    tool = structured(call(engine, "embed", {"texts": [long]}))["vectors"]
    assert answer["data"][1]["embedding"] == tool[0]


def test_half_of_a_character_is_replaced(http: httpx2.Client) -> None:
    cut = http.post("/embeddings", content=rb'{"input": "cut \ud83d"}').json()["data"][0]["embedding"]
    assert cut == embedded(http, ["cut �"])[0]


@pytest.mark.parametrize("name", [DEFAULT_MODEL, "all-MiniLM-L6-v2", "", None])
def test_the_served_model_is_known_by_its_id_and_its_short_name(http: httpx2.Client, name: str | None) -> None:
    assert post(http, "/embeddings", input="a cat", model=name)["model"] == DEFAULT_MODEL


def test_the_identity_that_tools_name_is_accepted_as_a_model(http: httpx2.Client, engine: Engine) -> None:
    assert post(http, "/embeddings", input="a cat", model=engine.embedder().identity().short)["object"] == "list"


def test_another_model_is_not_found_and_the_served_one_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.embeddings.create(model="text-embedding-3-small", input="a cat")
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"
    assert "'text-embedding-3-small' is not served" in str(raised.value)
    assert f"pass '{DEFAULT_MODEL}'" in str(raised.value)


def test_the_served_models_are_listed(client: openai.OpenAI, other: httpx2.Client) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == (DEFAULT_MODEL, "sentence-transformers")
    assert [one["id"] for one in other.get("/models").json()["data"]] == ["bge-like", "random-reranker"]


def test_a_reranker_that_is_not_there_is_not_listed_and_the_model_is(data_dir: Path) -> None:
    with Engine(Settings(data_dir=data_dir, reranker="cross-encoder/none")) as lacking, served(lacking) as http:
        assert [one["id"] for one in http.get("/models").json()["data"]] == [DEFAULT_MODEL]
        error = refusal(http.post("/rerank", json={"query": QUERY, "documents": TEXTS}), 503)
        assert "`mcp-server-embeddings pull cross-encoder/none`" in error["message"]


def test_vectors_are_symmetric_unless_the_input_type_says_otherwise(other: httpx2.Client) -> None:
    prompted, plain, query, document = (
        embedded(other, [text], **extra)
        for text, extra in [
            (BGE_PROMPT + QUERY, {}),
            (QUERY, {"input_type": "symmetric"}),
            (QUERY, {"input_type": "query"}),
            (QUERY, {"input_type": "document"}),
        ]
    )
    assert plain == document == embedded(other, [QUERY])
    assert query == prompted != plain


def test_dimensions_shorten_the_vectors_of_a_model_trained_for_it(other: httpx2.Client) -> None:
    full, short = (np.array(embedded(other, TEXTS, **extra)) for extra in ({}, {"dimensions": 16}))
    assert short.shape == (4, 16)
    np.testing.assert_allclose(short, full[:, :16] / np.linalg.norm(full[:, :16], axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_array_equal(embedded(other, TEXTS, dimensions=64), full)
    assert "allows 16 to 64" in refusal(other.post("/embeddings", json={"input": "a", "dimensions": 8}))["message"]


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        ({}, ["input is missing"]),
        ({"input": []}, ["input is an empty list", "give 1 to 2,000 texts"]),
        ({"input": ["a", " "]}, ["input[1] is empty", "leave blank ones out"]),
        ({"input": [15339, 1917]}, ["input[0] is 15339 (int)", "Token ids are refused", "send the texts"]),
        ({"input": [[15339, 1917]]}, ["input[0] is [15339, 1917] (list)", "Token ids are refused"]),
        ({"input": {"text": "a"}}, ["input is {'text': 'a'} (dict)", "a string or a list of strings"]),
        ({"input": ["a"] * 2_001}, ["2,001 texts in one call", "at most 2,000"]),
        ({"input": "a" * 2_000_001}, ["2,000,001 characters in one call", "at most 2,000,000"]),
        ({"input": "a", "encoding_format": "int8"}, ["encoding_format is 'int8'", "'float' or 'base64'"]),
        ({"input": "a", "dimensions": 64}, ["dimensions=64 is refused", "leave dimensions out"]),
        ({"input": "a", "dimensions": "many"}, ["dimensions is 'many' (str); allowed: a whole number"]),
        ({"input": "a", "input_type": "search_query"}, ["input_type is 'search_query'", "'query', 'document'"]),
        ({"input": "a", "encodingformat": "float"}, ["did you mean 'encoding_format'?"]),
        ([], ["the body is [] (list)", "send one JSON object"]),
    ],
)
def test_a_bad_request_is_refused_with_what_is_allowed(http: httpx2.Client, body: Any, reasons: list[str]) -> None:
    message = refusal(http.post("/embeddings", json=body))["message"]
    assert [reason for reason in reasons if reason not in message] == [], message


def test_a_body_that_is_not_json_is_refused_without_repeating_it(http: httpx2.Client) -> None:
    message = refusal(http.post("/embeddings", content=b"input=secret"))["message"]
    assert "the body is not JSON" in message
    assert "secret" not in message


def test_a_body_over_the_limit_is_refused(http: httpx2.Client) -> None:
    """Sent in parts without a length, and never kept whole."""
    parts = (b" " * 1_000_000 for _ in range(MAX_BODY_BYTES // 1_000_000 + 1))
    message = refusal(http.post("/embeddings", content=parts), 413)["message"]
    assert f"over {MAX_BODY_BYTES:,} bytes" in message


def test_the_largest_request_is_read(http: httpx2.Client) -> None:
    """Two million characters of three bytes each; blank, since a text of that length takes its time."""
    error = refusal(http.post("/embeddings", json={"input": "\u3000" * 2_000_000}))
    assert "input[0] is empty or only white space" in error["message"]


def test_documents_are_reranked_in_the_order_of_sentence_transformers(other: httpx2.Client, reranker: Path) -> None:
    answer = post(other, "/rerank", model="random-reranker", query=QUERY, documents=TEXTS)
    scores = [one["relevance_score"] for one in answer["results"]]
    expected = CrossEncoder(str(reranker), device="cpu", local_files_only=True).predict([(QUERY, t) for t in TEXTS])
    assert [one["index"] for one in answer["results"]] == np.argsort(-expected).tolist()
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert answer["model"] == "random-reranker"
    assert not any("document" in one for one in answer["results"])


def test_every_document_is_scored_and_only_the_first_are_returned(other: httpx2.Client) -> None:
    documents = [{"text": f"Note {number}: {text}"} for number in range(20) for text in TEXTS]
    whole = post(other, "/rerank", query=QUERY, documents=documents)["results"]
    assert sorted(one["index"] for one in whole) == list(range(80))
    first = post(other, "/rerank", query=QUERY, documents=documents, top_n=3, return_documents=True)["results"]
    assert first == [{**one, "document": documents[one["index"]]} for one in whole[:3]]


def test_documents_of_which_not_all_is_read_are_named(other: httpx2.Client) -> None:
    short = post(other, "/rerank", query="a cat", documents=["a dog"])
    assert short["usage"] == {"total_tokens": 7}
    assert "notes" not in short
    answer = post(other, "/rerank", query="a cat", documents=["a dog", "word " * 200])
    assert answer["notes"] == ["1 of documents fill what the model reads; what is beyond was not read: 1"]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"query": " "}, ["query is empty"]),
        ({"documents": []}, ["documents is an empty list"]),
        ({"documents": ["a", ""]}, ["documents[1] is empty"]),
        ({"documents": "a"}, ["documents is 'a' (str)", "a list of strings"]),
        ({"documents": ["a", {"title": "b"}]}, ["documents[1] is {'title': 'b'} (dict)", "objects with text"]),
        ({"documents": ["a"] * 2_001}, ["2,001 texts in one call"]),
        ({"top_n": 0}, ["top_n=0 is out of range", "1 or more"]),
        ({"rank_fields": ["a"]}, ["unknown argument 'rank_fields'"]),
    ],
)
def test_a_bad_rerank_is_refused(other: httpx2.Client, change: dict[str, Any], reasons: list[str]) -> None:
    message = refusal(other.post("/rerank", json={"query": QUERY, "documents": TEXTS, **change}))["message"]
    assert [reason for reason in reasons if reason not in message] == [], message


def test_another_reranker_is_not_found(other: httpx2.Client) -> None:
    body = {"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS}
    assert "pass 'random-reranker'" in refusal(other.post("/rerank", json=body), 404)["message"]


def test_without_a_reranker_the_error_says_what_to_start(http: httpx2.Client) -> None:
    message = refusal(http.post("/rerank", json={"query": QUERY, "documents": TEXTS}))["message"]
    assert "--reranker MODEL" in message


@contextmanager
def held(tmp_path: Path) -> Iterator[tuple[FakeEncoder, Engine, httpx2.Client]]:
    """A server whose model holds every batch until its gate is opened."""
    fake = FakeEncoder()
    with Engine(Settings(data_dir=tmp_path, no_cache=True), fake.load) as engine, served(engine) as http:
        engine.embedder().calibration()
        fake.gate.clear()
        try:
            yield fake, engine, http
        finally:
            fake.gate.set()


def test_other_requests_are_answered_while_one_is_encoded(tmp_path: Path) -> None:
    with held(tmp_path) as (fake, engine, http):
        answers: list[int] = []
        thread = threading.Thread(
            target=lambda: answers.append(http.post("/embeddings", json={"input": "a"}).status_code)
        )
        thread.start()
        wait_until(lambda: engine.status().queue.calls_waiting == 1, "a held request")
        assert [one["id"] for one in http.get("/models").json()["data"]] == ["fake"]
        assert answers == []
        fake.gate.set()
        thread.join(PATIENCE)
        assert answers == [200]


def test_the_work_stops_when_the_client_disconnects(tmp_path: Path) -> None:
    with held(tmp_path) as (fake, engine, http):
        fake.batches.clear()
        connection = HTTPConnection(http.base_url.host, http.base_url.port)
        texts = [f"text {number}" for number in range(2_000)]
        connection.request("POST", "/v1/embeddings", json.dumps({"input": texts}))
        wait_until(lambda: engine.status().queue.calls_waiting == 1, "a held request")
        connection.close()
        wait_until(lambda: engine.status().queue.calls_waiting == 0, "a cancelled call")
        fake.gate.set()
        assert post(http, "/embeddings", input="a")["usage"]["prompt_tokens"] == 3
        assert sum(map(len, fake.batches)) < 1_000


def test_a_crash_is_a_server_error_and_the_text_is_neither_in_it_nor_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with held(tmp_path) as (fake, _, http):
        fake.gate.set()
        fake.fail_on = "secret"
        error = refusal(http.post("/embeddings", json={"input": "a secret"}), 500)
        assert "its log says why" in error["message"]
        assert "the runtime failed" in caplog.text
        assert "secret" not in caplog.text + error["message"]
        assert post(http, "/embeddings", input="a cat")["model"] == "fake"
