"""The tools over a stored collection answer as for the same texts sent, with the same ids."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from calls import call, error, structured, text
from corpus import TEXTS, sentences
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import CollectionStore
from mcp_server_embeddings.tools.align import align
from mcp_server_embeddings.tools.classify import classify
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.deduplicate import deduplicate
from mcp_server_embeddings.tools.results import Result
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.sources import Sources
from stores import OpenStore

LABELS = ["lost and found", "buying and selling", "repair work"]
REPEATED = [*TEXTS, TEXTS[3], TEXTS[7], "Totally " + TEXTS[3]]
CALLS: dict[str, dict[str, Any]] = {
    "search": {"query": "an empty battery"},
    "cluster": {},
    "deduplicate": {"threshold": 0.6},
    "classify": {"labels": LABELS},
    "condense": {"count": 3},
}


def by_id(texts: list[str]) -> dict[str | int, str]:
    return {f"text-{number}": one for number, one in enumerate(texts)}


@pytest.fixture
def store(open_at: OpenStore, tmp_path: Path) -> Iterator[CollectionStore]:
    store = open_at(tmp_path)
    yield store
    store.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with a data folder of its own, and two collections in it."""
    with Engine(Settings(data_dir=tmp_path_factory.mktemp("served"))) as engine:
        for name, texts in (("repeated", REPEATED), ("many", sentences(300))):
            structured(call(engine, "collection_add", {"collection": name, "texts": by_id(texts)}))
        yield engine


def answer(result: Result) -> dict[str, Any]:
    """What is answered; of two members that are equally typical, either comes first."""
    found: dict[str, Any] = result.compact()
    for one in found.get("clusters", []):
        one["members"].sort(key=lambda member: member["id"])
    return found


@pytest.mark.parametrize("model", ["embedder", "bge_embedder"])
def test_a_collection_is_answered_for_as_the_same_texts_sent(
    model: str, store: CollectionStore, request: pytest.FixtureRequest
) -> None:
    """With bge only queries have a prompt."""
    embedder: Embedder = request.getfixturevalue(model)
    sent = by_id(REPEATED)
    collection_add(embedder, store, "notes", sent)
    sources = Sources(store, Reader(()))
    stored: dict[str, Any] = {"source": "notes", "sources": sources}
    other = [f"About this: {one}" for one in TEXTS[5:15]]
    pairs: list[tuple[Result, Result]] = [
        (cluster(embedder, sent), cluster(embedder, **stored)),
        (deduplicate(embedder, sent), deduplicate(embedder, **stored)),
        (classify(embedder, sent, labels=LABELS), classify(embedder, labels=LABELS, **stored)),
        (align(embedder, sent, other), align(embedder, right=other, left_source="notes", sources=sources)),
        (align(embedder, other, sent), align(embedder, other, right_source="notes", sources=sources)),
    ]
    pairs += [
        (
            search(embedder, "an empty battery", sent, top=9, diversity=diversity, mode=mode),
            search(embedder, "an empty battery", top=9, diversity=diversity, mode=mode, **stored),
        )
        for diversity in (0.0, 0.5)
        for mode in ("hybrid", "semantic", "keyword")
    ]
    for one, same in pairs:
        assert answer(same) == answer(one)


def test_stored_vectors_are_used_without_encoding_a_text(tmp_path: Path) -> None:
    from fakes import FakeEncoder

    fake = FakeEncoder()
    with Engine(Settings(data_dir=tmp_path, no_cache=True), fake.load) as engine:
        embedder, store = engine.embedder(), open_store(engine.settings)
        collection_add(embedder, store, "notes", by_id(REPEATED))
        embedder.calibration("retrieval")
        embedder.calibration()
        stored: dict[str, Any] = {"source": "notes", "sources": Sources(store, Reader(()))}
        fake.batches.clear()
        cluster(embedder, **stored)
        search(embedder, "an empty battery", **stored)
        assert fake.batches == [["find: an empty battery"]]
        store.close()


def test_what_is_left_is_answered_for_after_a_removal(embedder: Embedder, store: CollectionStore) -> None:
    collection_add(embedder, store, "notes", by_id(TEXTS))
    stored: dict[str, Any] = {"source": "notes", "sources": Sources(store, Reader(()))}
    search(embedder, "battery", **stored)  # the matrix in memory has all of them now
    collection_remove(embedder, store, "notes", ids=["text-0", "text-4"])
    left = {key: one for key, one in by_id(TEXTS).items() if key not in ("text-0", "text-4")}
    for mode in ("hybrid", "semantic", "keyword"):
        found = search(embedder, TEXTS[9], top=20, mode=mode, **stored)
        assert answer(found) == answer(search(embedder, TEXTS[9], left, top=20, mode=mode))
    assert answer(cluster(embedder, **stored)) == answer(cluster(embedder, left))


@pytest.mark.parametrize("tool", CALLS)
def test_only_the_items_that_are_asked_for_are_answered_for(served: Engine, tool: str) -> None:
    ids = [f"text-{number}" for number in (9, 3, 8, 7, 6, 5)]
    given = {**CALLS[tool], "mode": "semantic"} if tool == "search" else CALLS[tool]  # words weigh by the whole source
    some = structured(call(served, tool, {**given, "source": "repeated", "ids": ids}))
    sent = {key: REPEATED[int(key.split("-")[1])] for key in sorted(ids)}
    assert some == structured(call(served, tool, {**given, "texts": sent}))


@pytest.mark.parametrize("tool", CALLS)
def test_an_empty_collection_is_refused(served: Engine, tool: str) -> None:
    call(served, "collection_add", {"collection": "bare", "texts": {"x": "x"}})
    call(served, "collection_remove", {"collection": "bare", "ids": ["x"]})
    assert "collection 'bare' has no items" in error(call(served, tool, {**CALLS[tool], "source": "bare"}))


@pytest.mark.parametrize("tool", CALLS)
def test_both_or_neither_of_texts_and_source_are_refused(served: Engine, tool: str) -> None:
    neither = error(call(served, tool, CALLS[tool]))
    both = error(call(served, tool, {**CALLS[tool], "texts": TEXTS, "source": "repeated"}))
    assert "pass texts, a list of texts, or source" in neither
    assert "pass either texts or source, not both" in both


def test_one_item_in_a_collection_has_no_groups(embedder: Embedder, store: CollectionStore) -> None:
    collection_add(embedder, store, "notes", ["Only this."])
    for tool in (cluster, deduplicate):
        with pytest.raises(InputError, match="has 1 item"):
            tool(embedder, source="notes", sources=Sources(store, Reader(())))


@pytest.mark.parametrize("tool", CALLS)
def test_an_answer_about_a_collection_stays_small(served: Engine, tool: str) -> None:
    assert len(text(call(served, tool, {**CALLS[tool], "source": "many"}))) <= 8_000


@pytest.mark.parametrize("tool", CALLS)
def test_an_unknown_collection_is_answered_with_the_nearest(served: Engine, tool: str) -> None:
    assert "'repeated'" in error(call(served, tool, {**CALLS[tool], "source": "repeate"}))


def test_what_is_probably_a_collection_is_not_taken_for_a_text(served: Engine) -> None:
    message = error(call(served, "cluster", {"texts": ["repeated"]}))
    assert "'repeated', which is the name of a collection; pass source" in message
