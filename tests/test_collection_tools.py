"""The tools over a stored collection answer as for the same texts sent, and say which texts they mean."""

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
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.tools.align import align
from mcp_server_embeddings.tools.classify import classify
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.collection_remove import collection_remove
from mcp_server_embeddings.tools.collection_search import collection_search
from mcp_server_embeddings.tools.corpus import opened
from mcp_server_embeddings.tools.deduplicate import deduplicate
from mcp_server_embeddings.tools.embed import embed
from mcp_server_embeddings.tools.rank import rank
from mcp_server_embeddings.tools.results import Result
from mcp_server_embeddings.tools.texts import snippet
from test_answers import INPUTS, MOST_TOKENS, compact, tokens

LABELS = ["lost and found", "buying and selling", "repair work"]
REPEATED = [*TEXTS, TEXTS[3], TEXTS[7], "Totally " + TEXTS[3]]
CALLS: dict[str, dict[str, Any]] = {
    "rank": {"query": "an empty battery"},
    "cluster": {},
    "deduplicate": {"threshold": 0.6},
    "classify": {"labels": LABELS},
    "align": {"left": TEXTS[:5]},
}


def keys(count: int) -> list[str]:
    return [f"text-{number}" for number in range(count)]


def filled(embedder: Embedder, store: CollectionStore, texts: list[str], name: str = "notes") -> Collection:
    """A collection of these texts, in this order."""
    for start in range(0, len(texts), 2000):
        part = texts[start : start + 2000]
        collection_add(embedder, store, name, part, ids=keys(len(texts))[start : start + 2000])
    collection = opened(embedder, store, name)
    assert collection is not None
    return collection


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CollectionStore]:
    store = open_store(Settings(data_dir=tmp_path))
    yield store
    store.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with a data folder of its own, and two collections in it."""
    with Engine(Settings(data_dir=tmp_path_factory.mktemp("served"))) as engine:
        for name, texts in (("repeated", REPEATED), ("many", sentences(600))):
            given = {"collection": name, "texts": texts, "ids": keys(len(texts))}
            structured(call(engine, "collection_add", given))
        for name, texts in (("Chinese", INPUTS["Chinese"]), ("keys", INPUTS["keys"])):
            paths = [f"/home/someone/Documents/2026/projects/notes on {name}/{n}.md" for n in range(len(texts))]
            structured(call(engine, "collection_add", {"collection": name, "texts": texts, "ids": paths}))
        yield engine


def answer(result: Result) -> dict[str, Any]:
    """What was found, without what the call cost and how texts are recalled."""
    found = result.model_dump(exclude={"usage", "recalled"})
    for hit in found.get("hits", []):
        del hit["id"]
    return found


@pytest.mark.parametrize("model", ["embedder", "bge_embedder"])
def test_a_collection_is_answered_for_as_the_same_texts_sent(
    model: str, store: CollectionStore, request: pytest.FixtureRequest
) -> None:
    """With bge only queries have a prompt."""
    embedder: Embedder = request.getfixturevalue(model)
    notes = filled(embedder, store, REPEATED)
    other = [f"About this: {one}" for one in TEXTS[5:15]]
    query = "an empty battery"
    pairs: list[tuple[Result, Result]] = [
        (cluster(embedder, REPEATED, top=50), cluster(embedder, collection=notes, top=50)),
        (deduplicate(embedder, REPEATED, top=50), deduplicate(embedder, collection=notes, top=50)),
        (
            classify(embedder, REPEATED, labels=LABELS, top=50),
            classify(embedder, collection=notes, labels=LABELS, top=50),
        ),
        (align(embedder, REPEATED, other, top=50), align(embedder, right=other, collection=notes, top=50)),
        (align(embedder, other, REPEATED, top=50), align(embedder, other, collection=notes, top=50)),
    ]
    pairs += [
        (
            rank(embedder, query, REPEATED, top=9, diversity=diversity, spans=True),
            rank(embedder, query, collection=notes, top=9, diversity=diversity, spans=True),
        )
        for diversity in (0.0, 0.5)
    ]
    for sent, stored in pairs:
        assert answer(stored) == answer(sent)


def test_stored_vectors_are_used_without_reading_a_token(embedder: Embedder, store: CollectionStore) -> None:
    notes = filled(embedder, store, REPEATED)
    assert cluster(embedder, collection=notes).usage.tokens == 0
    assert deduplicate(embedder, collection=notes).usage.tokens == 0
    ranked = rank(embedder, "an empty battery", collection=notes).usage
    assert (ranked.texts, ranked.tokens) == (1, embedder.embed(["an empty battery"], role="query").tokens)


def test_a_model_with_a_prompt_for_documents_reads_the_stored_texts_anew(tmp_path: Path) -> None:
    from models import save_random_bert

    prompts = {"query": "query: ", "document": "passage: "}
    folder = save_random_bert(tmp_path / "e5-like", pooling="mean", normalise=True, prompts=prompts)
    with Engine(Settings(model=str(folder), data_dir=tmp_path)) as engine:
        embedder, store = engine.embedder(), open_store(Settings(data_dir=tmp_path))
        notes = filled(embedder, store, REPEATED)
        sent, stored = cluster(embedder, REPEATED, top=50), cluster(embedder, collection=notes, top=50)
        assert answer(stored) == answer(sent)
        assert stored.usage.tokens == sent.usage.tokens > 0
        ranked = rank(embedder, "battery", collection=notes, top=20)
        assert answer(ranked) == answer(rank(embedder, "battery", REPEATED, top=20))
        # The same scores as rank's, which reads the query with its prompt.
        found = collection_search(embedder, store, "notes", "battery", mode="semantic", top=20)
        assert {hit.id: hit.score for hit in found.hits} == {hit.id: hit.score for hit in ranked.hits}
        store.close()


def test_each_listed_position_is_recalled_once_by_id_and_beginning(embedder: Embedder, store: CollectionStore) -> None:
    notes = filled(embedder, store, REPEATED)
    clusters = cluster(embedder, collection=notes)
    groups = deduplicate(embedder, collection=notes, threshold=0.6)
    labelled = classify(embedder, collection=notes, labels=LABELS, top=4)
    aligned = align(embedder, TEXTS[:5], collection=notes)
    listed = {
        "cluster": [*(i for one in clusters.clusters for i in one.members), *clusters.outliers],
        "deduplicate": [i for one in groups.groups for i in (one.keep, *(copy.index for copy in one.duplicates))],
        "classify": [0, 1, 2, 3],
        "align": [*(pair.right for pair in aligned.matches), *aligned.right_only],
    }
    for tool, result in (("cluster", clusters), ("deduplicate", groups), ("classify", labelled), ("align", aligned)):
        assert [found.index for found in result.recalled] == listed[tool]
        for found in result.recalled:
            assert (found.id, found.snippet) == (f"text-{found.index}", snippet(REPEATED[found.index]))
    for hit in rank(embedder, "an empty battery", collection=notes).hits:
        assert hit.id == f"text-{hit.index}"


def test_of_texts_that_were_sent_nothing_is_recalled(embedder: Embedder) -> None:
    assert cluster(embedder, TEXTS).recalled == []
    assert deduplicate(embedder, TEXTS, threshold=0.3).recalled == []
    assert classify(embedder, TEXTS, labels=LABELS).recalled == []
    assert align(embedder, TEXTS, TEXTS).recalled == []
    assert {hit.id for hit in rank(embedder, "battery", TEXTS).hits} == {None}


def test_positions_follow_the_chunks_that_are_left(embedder: Embedder, store: CollectionStore) -> None:
    notes = filled(embedder, store, TEXTS)
    rank(embedder, "battery", collection=notes)  # the matrix in memory has all of them now
    collection_remove(embedder, store, "notes", ids=["text-0", "text-4"])
    left = [one for number, one in enumerate(TEXTS) if number not in (0, 4)]
    assert answer(rank(embedder, TEXTS[9], collection=notes, top=20)) == answer(rank(embedder, TEXTS[9], left, top=20))
    assert answer(cluster(embedder, collection=notes)) == answer(cluster(embedder, left))


def test_a_part_of_a_long_text_is_named_by_its_number(embedder: Embedder, store: CollectionStore) -> None:
    long = " ".join(f"Sentence {number} tells of the garden and its tomatoes." for number in range(60))
    collection_add(embedder, store, "long", [long, "The parliament passed the pension law."], ids=["garden", "law"])
    hits = rank(embedder, "sentence 59 about tomatoes", collection=opened(embedder, store, "long"), top=2).hits
    assert all(hit.id is not None and hit.id.startswith("garden#") for hit in hits)


def test_only_rank_takes_more_than_2000_chunks(embedder: Embedder, store: CollectionStore) -> None:
    large = filled(embedder, store, [f"{one} {number}" for number in range(101) for one in TEXTS])
    found = rank(embedder, "an empty battery", collection=large, diversity=0.3, top=7)
    assert (len(found.hits), found.more) == (7, 2013)
    for refused in (
        lambda: cluster(embedder, collection=large),
        lambda: deduplicate(embedder, collection=large),
        lambda: classify(embedder, collection=large, labels=LABELS),
        lambda: align(embedder, TEXTS, collection=large),
    ):
        with pytest.raises(InputError, match=r"'notes' has 2,020 chunks.* at most 2,000; .*collection_search or rank"):
            refused()


@pytest.mark.parametrize("tool", CALLS)
def test_an_empty_collection_is_refused_with_what_to_do(served: Engine, tool: str) -> None:
    call(served, "collection_add", {"collection": "bare", "texts": ["x"], "ids": ["x"]})
    call(served, "collection_remove", {"collection": "bare", "ids": ["x"]})
    refused = error(call(served, tool, {**CALLS[tool], "collection": "bare"}))
    assert "collection 'bare' is empty; put texts into it with collection_add" in refused


@pytest.mark.parametrize("tool", ["rank", "cluster", "deduplicate", "classify"])
def test_both_or_neither_of_texts_and_collection_are_refused(served: Engine, tool: str) -> None:
    neither = error(call(served, tool, CALLS[tool]))
    both = error(call(served, tool, {**CALLS[tool], "texts": TEXTS, "collection": "repeated"}))
    assert "neither of texts and collection came; give one of them" in neither
    assert "both of texts and collection came; give one of them" in both


@pytest.mark.parametrize(
    ("given", "came"),
    [
        ({}, "none of"),
        ({"collection": "repeated"}, "collection of"),
        ({"left": ["a"], "right": ["b"], "collection": "repeated"}, "left and right and collection of"),
    ],
)
def test_align_takes_exactly_two_of_three(served: Engine, given: dict[str, Any], came: str) -> None:
    refused = error(call(served, "align", given))
    assert f"{came} left, right and collection came; give exactly two" in refused


def test_one_text_in_a_collection_has_no_groups(embedder: Embedder, store: CollectionStore) -> None:
    one = filled(embedder, store, ["Only this."])
    with pytest.raises(InputError, match="collection 'notes' has 1 text, which has no groups"):
        cluster(embedder, collection=one)
    with pytest.raises(InputError, match="collection 'notes' has 1 text, which has no duplicate"):
        deduplicate(embedder, collection=one)


@pytest.mark.parametrize("tool", CALLS)
def test_the_words_name_every_recalled_text_by_id_and_beginning(served: Engine, tool: str) -> None:
    result = call(served, tool, {**CALLS[tool], "collection": "repeated"})
    found = structured(result)
    recalled = found["hits"] if tool == "rank" else found["recalled"]
    assert recalled
    for one in recalled:
        assert f'[{one["id"]}] "{one["snippet"]}"' in text(result)


@pytest.mark.parametrize("name", ["many", "Chinese", "keys"])
@pytest.mark.parametrize("tool", CALLS)
def test_an_answer_about_a_collection_stays_small(served: Engine, tool: str, name: str) -> None:
    result = call(served, tool, {**CALLS[tool], "collection": name})
    assert tokens(compact(structured(result))) <= MOST_TOKENS
    assert tokens(text(result)) <= MOST_TOKENS


def test_an_unknown_collection_is_answered_with_the_nearest(served: Engine) -> None:
    assert "'repeated'" in error(call(served, "cluster", {"collection": "repeate"}))


def test_embed_stores_its_texts_too_when_asked(embedder: Embedder, store: CollectionStore) -> None:
    first = embed(embedder, [*TEXTS, TEXTS[0]], save_as="kept", store=store)
    again = embed(embedder, TEXTS[:3], save_as="kept", store=store)
    assert first.saved is not None
    assert first.saved.model_dump() == {"collection": "kept", "added": 20, "updated": 0, "unchanged": 1}
    assert again.saved is not None
    assert (again.saved.added, again.saved.unchanged) == (0, 3)
    assert first.model_dump(exclude={"saved"}) == embed(embedder, [*TEXTS, TEXTS[0]]).model_dump(exclude={"saved"})
    assert embed(embedder, TEXTS).saved is None
    kept = opened(embedder, store, "kept")
    assert rank(embedder, TEXTS[6], collection=kept, top=1).hits[0].index == 6


def test_save_as_needs_a_store_and_a_name(embedder: Embedder, store: CollectionStore) -> None:
    with pytest.raises(InputError, match=r"save_as='kept' came without a store; give store=open_store"):
        embed(embedder, TEXTS, save_as="kept")
    with pytest.raises(InputError, match="is no name; allowed"):
        embed(embedder, TEXTS, save_as="no name", store=store)
    assert store.list() == []


def test_a_client_can_embed_store_and_rank(served: Engine) -> None:
    result = call(served, "embed", {"texts": TEXTS[:2], "save_as": "few"})
    assert structured(result)["saved"] == {"collection": "few", "added": 2, "updated": 0, "unchanged": 0}
    assert "Collection few: 2 added, 0 updated, 0 unchanged." in text(result)
    assert structured(call(served, "rank", {"query": TEXTS[1], "collection": "few"}))["hits"][0]["index"] == 1
