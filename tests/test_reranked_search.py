"""A search with a reranker: hits in the order of ``sentence_transformers.CrossEncoder``, within a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import CrossEncoder

from calls import call, error, structured
from fakes import FakeEncoder
from mcp_server_embeddings.cli.answer import say_answer
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.reranker_calibration import calibrated
from mcp_server_embeddings.errors import CallCancelledError
from mcp_server_embeddings.tools.explaining import matched_words
from mcp_server_embeddings.tools.results import Hit, SearchResult
from mcp_server_embeddings.vectors.scores import Scores
from test_rerankers import bert
from waiting import wait_until

PLENTY = 20_000
"""Milliseconds in which every candidate is scored, on a busy machine too."""

QUERY = "how do I get my money back"
TEXTS = [
    "Refunds are paid within five days.",
    "The bike has a red frame.",
    "Money is returned to the card that paid.",
    "Apples grow on trees.",
    "Back pain is treated with exercise.",
    "Our shop opens at nine.",
    "Write to support to cancel an order.",
    "Gift cards cannot be exchanged for money.",
]
MATCHED = {
    "Money is returned to the card that paid.": ["money"],
    "Gift cards cannot be exchanged for money.": ["money"],
}
"""Words of the query in each text."""

MANY = [f"Note {number}: {text}" for number in range(5) for text in TEXTS]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder with random weights."""
    return bert(tmp_path_factory.mktemp("reranked") / "random-reranker")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file for each text."""
    folder = tmp_path_factory.mktemp("files")
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reranking(reranker: Path, files: Path, data_dir: Path) -> Iterator[Engine]:
    """The default model with the reranker."""
    settings = Settings(data_dir=data_dir, reranker=str(reranker), rerank_ms=PLENTY, allow_dir=(files,))
    with Engine(settings) as engine:
        call(engine, "collection_add", {"collection": "reranked", "texts": TEXTS})
        yield engine


@pytest.fixture(scope="module")
def relevance(reranker: Path) -> Callable[[str, list[str]], list[float]]:
    """What ``CrossEncoder`` gives."""
    model = CrossEncoder(str(reranker), device="cpu", local_files_only=True)
    return lambda query, texts: [float(one) for one in model.predict([(query, text) for text in texts])]


def search(engine: Engine, **arguments: Any) -> dict[str, Any]:
    return structured(call(engine, "search", {"query": QUERY, "full": True, "top": len(TEXTS), **arguments}))


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
@pytest.mark.parametrize("of", ["texts", "collection", "folder"])
def test_hits_are_in_the_order_of_sentence_transformers(
    of: str, mode: str, reranking: Engine, files: Path, relevance: Callable[[str, list[str]], list[float]]
) -> None:
    arguments = {"texts": TEXTS} if of == "texts" else {"source": "reranked" if of == "collection" else str(files)}
    found = search(reranking, mode=mode, **arguments)
    scores = [hit["score"] for hit in found["hits"]]
    expected = relevance(QUERY, [hit["text"] for hit in found["hits"]])
    assert len(scores) == len(TEXTS)
    assert np.ptp(expected) > 0.01
    assert np.diff(expected).max() <= 1e-5
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert all(hit["band"] for hit in found["hits"])
    assert not any("reranked" in note for note in found.get("notes", []))


def test_every_query_of_a_call_is_reranked(
    reranking: Engine, relevance: Callable[[str, list[str]], list[float]]
) -> None:
    arguments = {"queries": [QUERY, "fruit"], "texts": TEXTS, "top": 3}
    for one in structured(call(reranking, "search", arguments))["results"]:
        scores = np.array(relevance(one["query"], TEXTS))
        np.testing.assert_allclose(scores[[hit["id"] for hit in one["hits"]]], np.sort(scores)[::-1][:3], atol=1e-5)


def test_keyword_search_needs_no_model_and_is_not_reranked(reranking: Engine, engine: Engine) -> None:
    arguments = {"query": QUERY, "texts": TEXTS, "mode": "keyword"}
    assert structured(call(reranking, "search", arguments)) == structured(call(engine, "search", arguments))


def test_varied_hits_are_chosen_by_the_rerankers_scores(reranking: Engine) -> None:
    scores = [hit["score"] for hit in search(reranking, texts=TEXTS, top=4, diversity=0.5)["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_thirty_candidates_are_reranked_and_the_others_follow(reranking: Engine, engine: Engine) -> None:
    found, before = (search(each, texts=MANY, top=len(MANY)) for each in (reranking, engine))
    scores = [hit["score"] for hit in found["hits"]]
    assert [score >= 0 for score in scores] == [True] * 30 + [False] * 10
    assert scores == sorted(scores, reverse=True)
    ids, ids_before = ([hit["id"] for hit in each["hits"]] for each in (found, before))
    assert set(ids[:30]) == set(ids_before[:30])
    assert ids[30:] == ids_before[30:]
    (note,) = (note for note in found["notes"] if "reranked" in note)
    assert note.startswith("30 of 40 candidates were reranked (at most 30 a query, in 20,000 ms); a score below 0")


def test_without_time_the_order_stays_and_the_answer_says_so(reranker: Path, engine: Engine, data_dir: Path) -> None:
    with Engine(Settings(data_dir=data_dir, reranker=str(reranker), rerank_ms=0)) as hurried:
        found, before = (search(each, texts=TEXTS) for each in (hurried, engine))
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in before["hits"]]
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert all(-1 < score < 0 for score in scores)
    assert found["notes"][0].startswith("0 of 8 candidates were reranked (at most 30 a query, in 0 ms)")


def test_scores_lie_alike_whatever_the_logits_of_a_model(tmp_path: Path) -> None:
    def score(scale: float, offset: float) -> Callable[[Sequence[tuple[str, str]]], Scores]:
        return lambda pairs: np.array(
            [offset + scale * len(set(query.split()) & set(passage.split())) for query, passage in pairs], float
        )

    narrow = calibrated("narrow", tmp_path, score(1, 0))
    wide = calibrated("wide", tmp_path, score(20, 7))
    logits = np.linspace(-1, 3, 9)
    np.testing.assert_allclose(narrow.relevance(logits), wide.relevance(20 * logits + 7))
    assert (np.diff(narrow.relevance(logits)) > 0).all()
    kept = calibrated("wide", tmp_path, score(1, 0))
    assert kept == wide
    for path in tmp_path.glob("reranker-*.json"):
        path.write_text("{", encoding="utf-8")
    assert calibrated("wide", tmp_path, score(20, 7)) == wide


def held(reranker: Path, tmp_path: Path, rerank_ms: int) -> tuple[FakeEncoder, Engine]:
    """An engine whose only stream is held by its encoder's gate from the next text on."""
    fake = FakeEncoder()
    engine = Engine(Settings(data_dir=tmp_path, reranker=str(reranker), rerank_ms=rerank_ms, no_cache=True), fake.load)
    embedder = engine.embedder()
    embedder.calibration()
    assert embedder.reranks()
    fake.gate.clear()
    return fake, engine


def test_what_waits_in_the_queue_over_its_time_is_not_reranked(reranker: Path, tmp_path: Path) -> None:
    fake, engine = held(reranker, tmp_path, rerank_ms=1)
    with engine, ThreadPoolExecutor(1) as other:
        bulk = other.submit(engine.embedder().embed, ["bulk"])
        wait_until(lambda: engine.status().queue.pieces_waiting == 0 and not bulk.done(), "a held stream")
        call = Call()
        assert np.isnan(engine.embedder(call).rerank(QUERY, TEXTS).scores).all()
        assert (call.done, call.total) == (0, 0)
        fake.gate.set()
        bulk.result()


def test_a_cancelled_call_is_not_reranked(reranker: Path, tmp_path: Path) -> None:
    fake, engine = held(reranker, tmp_path, rerank_ms=PLENTY)
    with engine, ThreadPoolExecutor(2) as others:
        bulk = others.submit(engine.embedder().embed, ["bulk"])
        wait_until(lambda: engine.status().queue.calls_waiting == 1, "a held stream")
        wait_until(lambda: engine.status().queue.pieces_waiting == 0, "a batch")
        call = Call()
        search = others.submit(engine.embedder(call).rerank, QUERY, TEXTS)
        wait_until(lambda: engine.status().queue.pieces_waiting == len(TEXTS), "pairs in the queue")
        call.cancel()
        with pytest.raises(CallCancelledError):
            search.result()
        assert engine.status().queue.pieces_waiting == 0
        fake.gate.set()
        bulk.result()


def test_status_names_the_reranker_and_its_state(reranking: Engine, reranker: Path) -> None:
    search(reranking, texts=TEXTS)
    assert structured(call(reranking, "status", {}))["reranker"] == f"{reranker}: ready"


def test_a_missing_reranker_is_an_error_of_searches_that_says_how_to_fetch_it(engine: Engine, data_dir: Path) -> None:
    name = "cross-encoder/ms-marco-MiniLM-L6-v2"
    with Engine(Settings(data_dir=data_dir, reranker=name)) as lacking:
        reason = error(call(lacking, "search", {"query": QUERY, "texts": TEXTS}))
        assert f"'{name}' is not on this machine" in reason
        assert f"`mcp-server-embeddings pull {name}`" in reason
        assert structured(call(lacking, "status", {}))["reranker"].startswith(f"{name}: failed, model '{name}'")
        arguments = {"query": QUERY, "texts": TEXTS, "mode": "keyword"}
        assert structured(call(lacking, "search", arguments)) == structured(call(engine, "search", arguments))
        assert structured(call(lacking, "embed", {"texts": ["a"]}))["dimensions"] == 384


def test_a_model_that_is_no_cross_encoder_is_refused_as_a_reranker(bge_folder: Path, data_dir: Path) -> None:
    with Engine(Settings(data_dir=data_dir, reranker=str(bge_folder))) as wrong:
        reason = error(call(wrong, "search", {"query": QUERY, "texts": TEXTS}))
    assert "'bge-like' cannot be used as a reranker: it is a SentenceTransformer" in reason


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
@pytest.mark.parametrize("of", ["texts", "collection"])
def test_a_hit_is_explained_by_the_numbers_of_each_step(of: str, mode: str, reranking: Engine) -> None:
    arguments = {"texts": TEXTS} if of == "texts" else {"source": "reranked"}
    found = search(reranking, mode=mode, explain=True, **arguments)
    steps = {
        "hybrid": {"words", "cosine", "meaning", "fusion", "rerank"},
        "semantic": {"cosine", "meaning", "rerank"},
        "keyword": {"words"},
    }[mode]
    calibration = reranking.embedder().calibration("retrieval")
    for hit in found["hits"]:
        explained = hit["explain"]
        assert set(explained) - {"matched"} == steps
        assert explained.get("matched", []) == (MATCHED.get(hit["text"], []) if mode != "semantic" else [])
        assert hit["score"] == explained["words" if mode == "keyword" else "rerank"]
        if mode != "keyword":
            assert explained["meaning"] == pytest.approx(
                float(calibration.relative(np.array(explained["cosine"]))), abs=1e-3
            )
            assert hit["band"] == calibration.band(explained["cosine"])


def test_hits_are_not_explained_unasked_and_fusion_is_their_score_without_a_reranker(engine: Engine) -> None:
    assert not any("explain" in hit for hit in search(engine, texts=TEXTS)["hits"])
    hits = search(engine, texts=TEXTS, explain=True)["hits"]
    assert [hit["explain"]["fusion"] for hit in hits] == [hit["score"] for hit in hits]
    assert not any("rerank" in hit["explain"] for hit in hits)


def test_matched_words_are_those_that_the_search_by_words_looks_up() -> None:
    texts = ["The foxes are in the garden with the cat.", "The card is in the shop.", "getUserName is called here."]
    assert matched_words("where is the red fox in a garden", texts) == [["fox", "garden"], [], []]
    assert matched_words("user name", texts) == [[], [], ["user", "name"]]


def test_the_command_shows_the_numbers_as_columns(capsys: pytest.CaptureFixture[str]) -> None:
    hit = Hit(id=7, score=0.5, text="the text", explain={"words": 1.25, "matched": ["red"]})
    say_answer(SearchResult(model="m", hits=[hit]))
    heading, _, row, *_ = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "score", "words", "matched", "text"]
    assert row.split() == ["7", "0.500", "1.250", "red", "the", "text"]
