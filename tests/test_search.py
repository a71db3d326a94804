"""The tools ``search`` and ``read``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls import call, error, structured, text
from corpus import QUESTIONS, TEXTS, THEMES
from files import tree
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.records import passage_text
from mcp_server_embeddings.tools.collection_add import collection_add
from mcp_server_embeddings.tools.excerpts import best_sentences, by_words
from mcp_server_embeddings.tools.read import read
from mcp_server_embeddings.tools.retrieval import SearchMode
from mcp_server_embeddings.tools.search import search
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.scores import scores
from stores import OpenStore

QUERY = "my order has not come"
MODES: Sequence[SearchMode] = get_args(SearchMode)


def ids(hits: Sequence[Any]) -> list[Any]:
    return [hit.id for hit in hits]


def test_hits_are_the_nearest_texts_best_first(embedder: Embedder) -> None:
    found = search(embedder, QUERY, TEXTS, top=4, mode="semantic")
    cosines = scores(embedder.embed(TEXTS).vectors, embedder.embed([QUERY]).vectors, "cosine")[:, 0]
    assert ids(found.hits) == [int(row) for row in np.argsort(-cosines)[:4]]
    assert [hit.score for hit in found.hits] == [
        round(score, 4) for score in sorted(cosines.tolist(), reverse=True)[:4]
    ]
    assert {TEXTS[key] for key in ids(found.hits)[:2]} <= set(THEMES["delivery"])
    assert not found.no_match


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=10)
@given(order=st.permutations(range(len(TEXTS))))
def test_permuting_the_texts_permutes_the_hits(embedder: Embedder, mode: SearchMode, order: list[int]) -> None:
    plain = ids(search(embedder, QUERY, TEXTS, mode=mode).hits)
    permuted = search(embedder, QUERY, [TEXTS[i] for i in order], mode=mode)
    assert [order[key] for key in ids(permuted.hits)] == plain


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("diversity", [0.0, 0.4, 1.0])
def test_hits_are_in_the_order_of_their_scores(embedder: Embedder, mode: SearchMode, diversity: float) -> None:
    found = search(embedder, "the garden and the battery", TEXTS, mode=mode, diversity=diversity, top=9)
    values = [hit.score for hit in found.hits]
    assert values == sorted(values, reverse=True)
    assert {hit.band is None for hit in found.hits} == {mode == "keyword"}


@settings(max_examples=20)
@given(top=st.integers(1, len(TEXTS)))
def test_a_smaller_top_gives_the_beginning_of_a_larger_one(embedder: Embedder, top: int) -> None:
    every = search(embedder, QUERY, TEXTS, top=len(TEXTS)).hits
    assert search(embedder, QUERY, TEXTS, top=top).hits == every[:top]
    some = set(ids(search(embedder, QUERY, TEXTS, top=top, diversity=0.4).hits))
    assert some < set(ids(search(embedder, QUERY, TEXTS, top=top + 1, diversity=0.4).hits)) or top == len(TEXTS)


def test_nothing_nearer_than_chance_is_no_match_and_the_nearest_are_still_shown(embedder: Embedder) -> None:
    found = search(embedder, "chemistry of polymers", TEXTS)
    assert found.no_match
    assert len(found.hits) == 5
    assert {hit.band for hit in found.hits} <= {"unrelated", "weak"}


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_what_is_asked_of_other_texts_is_no_match_and_of_these_is_one(embedder: Embedder, mode: SearchMode) -> None:
    """Of questions that hardly share a word with their answers, among fifteen texts and before a single one."""
    halves = QUESTIONS[::2], QUESTIONS[1::2]
    wrong, missed = 0, 0
    for these, others in (halves, halves[::-1]):
        answers = [answer for _, answer in these]
        missed += sum(search(embedder, question, answers, mode=mode).no_match for question, _ in these)
        wrong += sum(not search(embedder, question, answers, mode=mode).no_match for question, _ in others)
    assert missed <= 3
    assert wrong <= 3
    assert sum(search(embedder, question, [answer], mode=mode).no_match for question, answer in QUESTIONS) <= 2


def test_hits_that_are_no_nearer_than_chance_are_counted(embedder: Embedder) -> None:
    answers = [answer for _, answer in QUESTIONS]
    found = search(embedder, "how long does the battery last", answers, mode="semantic", top=10)
    assert not found.no_match
    assert found.notes == ["9 of 10 hits are no nearer than chance"]
    assert search(embedder, "how long does the battery last", answers, mode="semantic", top=1).notes == []
    assert search(embedder, "chemistry of polymers", answers).notes == []  # no_match says it of all


def test_a_text_with_all_words_of_the_query_is_a_match_whatever_its_cosine(embedder: Embedder) -> None:
    found = search(embedder, "xk-77", ["Part xk-77 is out of stock.", "We are open on Sunday."])
    assert (found.hits[0].id, found.no_match) == (0, False)


def test_no_match_looks_at_all_texts_and_not_only_at_the_hits(embedder: Embedder) -> None:
    found = search(embedder, QUERY, TEXTS, diversity=1.0)
    assert found.hits[0].id == search(embedder, QUERY, TEXTS, top=1).hits[0].id
    assert not found.no_match


def test_diversity_leaves_repeats_out_for_what_is_new(embedder: Embedder) -> None:
    texts = [
        "My package has not arrived.",
        "My package has not arrived yet.",
        "The parcel was damaged.",
        "Tomatoes need sun.",
    ]
    query = "complaints about packages"
    assert set(ids(search(embedder, query, texts, top=2).hits)) == {0, 1}
    assert set(ids(search(embedder, query, texts, top=2, diversity=0.5).hits)) != {0, 1}


def test_words_are_found_by_their_stems_and_in_any_script(embedder: Embedder) -> None:
    texts = ["A red fox sleeps.", "我们在东京开会", "Die Straße ist lang.", "Nothing of it."]
    for query, found in (("foxes", [0]), ("东京", [1]), ("straße", [2]), ("xylophone", [])):
        answer = search(embedder, query, texts, mode="keyword")
        assert (ids(answer.hits), answer.no_match) == (found, not found)
        assert all(hit.score > 0 for hit in answer.hits)


def test_a_hit_is_shown_by_the_sentences_to_quote(embedder: Embedder) -> None:
    filler = "We had fine weather, and the hotel served breakfast until ten in the morning as it always does. " * 4
    long = f"{filler}The courier lost our parcel on the way! {filler}"
    for mode in MODES:
        (hit,) = search(embedder, "the courier lost a parcel", [long], mode=mode).hits
        assert "The courier lost our parcel on the way!" in hit.text
        assert hit.text in long
        assert len(hit.text) <= 320
    (whole,) = search(embedder, "where is the parcel", [long], full=True).hits
    assert whole.text == long


def test_a_text_without_sentence_ends_is_cut_short_enough_to_quote(embedder: Embedder) -> None:
    long = "green apples and pears " * 200 + "a violin concerto in the evening " + "green apples and pears " * 200
    found = search(embedder, "classical music", [long])
    assert "violin" in found.hits[0].text
    assert len(found.hits[0].text) <= 320
    assert found.notes == ["1 of texts are longer than the model reads; each is the mean of its windows: 0"]


@pytest.mark.slow
def test_many_short_sentences_are_searched_in_larger_passages(embedder: Embedder) -> None:
    long = " ".join(f"Item {number} is red." for number in range(2500)) + " The violin concerto begins at eight."
    (hit,) = search(embedder, "classical music", [long]).hits
    assert "violin concerto" in hit.text
    assert 100 < len(hit.text) <= 320


def test_queries_and_documents_have_their_prompts_and_their_own_calibration(bge_embedder: Embedder) -> None:
    """The bge-like model has a prompt for queries: a score must be read against queries with that prompt."""
    texts = ["apples and pears", "violins and cellos"]
    found = search(bge_embedder, "fruit", texts, mode="semantic")
    query = bge_embedder.embed(["fruit"], role="query").vectors
    documents = bge_embedder.embed(texts, role="document").vectors
    expected = [float(score) for score in scores(documents, query, "cosine")[:, 0]]
    assert [hit.score for hit in found.hits] == sorted((round(score, 4) for score in expected), reverse=True)
    assert found.hits[0].band == bge_embedder.calibration("retrieval").band(max(expected))


def test_the_bands_of_a_search_begin_lower_than_those_between_texts(embedder: Embedder) -> None:
    """A question and its answer score lower than two wordings of one thing."""
    _, between_texts, _, _ = embedder.calibration().edges
    _, in_search, _, _ = embedder.calibration("retrieval").edges
    scored = [search(embedder, question, [answer], mode="semantic").hits[0].score for question, answer in QUESTIONS]
    assert in_search < between_texts - 0.1
    assert sum(score < between_texts for score in scored) >= 10
    assert sum(score < in_search for score in scored) <= 6


def test_an_answer_in_other_words_is_a_match_although_it_scores_low(embedder: Embedder) -> None:
    given = ["The battery is empty after two hours."]
    found = search(embedder, "how long does the battery last", given, mode="semantic")
    assert found.hits[0].score < embedder.calibration().edges[1]
    assert (found.hits[0].band, found.no_match) == ("related", False)


@pytest.mark.parametrize("count", [3, 7, 9, 60])
@pytest.mark.parametrize("mode", MODES)
def test_equal_texts_are_in_the_order_of_the_list(embedder: Embedder, count: int, mode: SearchMode) -> None:
    """A matrix product gives equal rows results that differ in the last bit, by where they stand."""
    texts = ["The cat sleeps at the bank."] * count
    for diversity in (0.0, 0.5):
        assert ids(search(embedder, "bank", texts, top=count, diversity=diversity, mode=mode).hits) == list(
            range(count)
        )
    pairs = similarity(embedder, ["bank"], texts, top=count).pairs
    assert [pair.right for pair in pairs] == list(range(count))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"query": " \n", "texts": TEXTS}, "query is empty"),
        ({"texts": TEXTS}, "pass either query or queries"),
        ({"query": "a", "queries": ["b"], "texts": TEXTS}, "pass either query or queries, not both"),
        ({"queries": ["a", " "], "texts": TEXTS}, "queries is empty or only white space"),
        ({"queries": ["a"] * 21, "texts": TEXTS}, "at most 20"),
        ({"query": "a"}, "pass texts, a list of texts, or source"),
        ({"query": "a", "texts": TEXTS, "source": "b"}, "pass either texts or source, not both"),
        ({"query": "a", "texts": TEXTS, "top": 101}, "1 to 100"),
        ({"query": "a", "texts": TEXTS, "diversity": 1.5}, "0 to 1"),
        ({"query": "a", "texts": TEXTS, "where": {"x": 1}}, "where selects items of a source"),
    ],
)
def test_wrong_searches_are_refused_in_words(engine: Engine, arguments: dict[str, Any], words: str) -> None:
    assert words in error(call(engine, "search", arguments))


@pytest.mark.slow
def test_several_queries_are_answered_as_each_alone_within_one_answer(engine: Engine) -> None:
    questions = [question for question, _ in QUESTIONS[:12]]
    texts = {f"answer {number}": answer for number, (_, answer) in enumerate(QUESTIONS)}
    result = call(engine, "search", {"queries": questions, "texts": texts})
    every = structured(result)["results"]
    assert [one["query"] for one in every] == questions
    assert len(text(result)) <= 16_000
    for number, one in enumerate(every):
        alone = structured(call(engine, "search", {"query": one["query"], "texts": texts}))
        assert one["hits"] == alone["hits"]
        assert one.get("no_match", False) == alone.get("no_match", False)
        assert len({hit["id"] for hit in one["hits"]}) == 5
        assert number == 1 or f"answer {number}" in [hit["id"] for hit in one["hits"]]


PARAGRAPH = "The committee talked about the roof, the windows, the heating and the costs of each for a whole evening. "


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of many passages, with headings, and tables among them."""
    root = tmp_path_factory.mktemp("library").resolve()
    files = {
        f"minutes/{month}.md": f"# Minutes of {month}\n\n## Heating\n\n"
        f"{PARAGRAPH * 8}\n\nThe boiler was replaced in {month} by a heat pump.\n\n## Roof\n\n"
        f"{PARAGRAPH * 8}\n\nTwelve tiles came down in the storm.\n"
        for month in ("January", "February", "March", "April", "May", "June", "July", "August")
    }
    files |= {
        "prices.md": "# Prices\n\n| part | price |\n|------|-------|\n"
        + "".join(f"| part number {number} of the pump | {number} euros |\n" for number in range(60)),
        "tickets.csv": "id,message\nA1,The heat pump is loud.\nA2,The roof leaks.\n",
        "empty-heading.md": "# Chimney\n\n## Sweeping\n\nIt is swept once a year in autumn.\n",
    }
    tree(root, files)
    return root


@pytest.fixture(scope="module")
def sources(library: Path, open_at: OpenStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    store = open_at(tmp_path_factory.mktemp("store"))
    yield Sources(store, Reader([library]))
    store.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_an_item_is_hit_once_however_many_passages_it_has(
    embedder: Embedder, sources: Sources, mode: SearchMode, diversity: float
) -> None:
    found = search(embedder, "heat pump", source="minutes", sources=sources, mode=mode, top=8, diversity=diversity)
    assert len(found.hits) == len(set(ids(found.hits))) == 8
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    assert {hit.heading for hit in found.hits} == {f"Minutes of {str(hit.id)[:-3]} > Heating" for hit in found.hits}


def test_passages_are_embedded_and_found_with_the_title_and_headings_above_them(
    embedder: Embedder, tmp_path: Path
) -> None:
    page = "<title>Kettle manual</title><h1>Care</h1><h2>Cleaning</h2><p>Use vinegar.</p>"
    tree(tmp_path / "pages", {"kettle.html": page, "notes.md": "# Care\n\nUse vinegar."})
    store = open_store(Settings(data_dir=tmp_path / "data"))
    sources = Sources(store, Reader([tmp_path / "pages"]))
    collection_add(embedder, store, "pages", source="*", sources=sources)
    found = search(embedder, "kettle cleaning vinegar", source="pages", mode="keyword", sources=sources)
    assert (found.hits[0].heading, found.hits[0].text) == ("Kettle manual > Care > Cleaning", "Use vinegar.")
    chunks = store.open("pages").first(9)
    expected = embedder.embed([passage_text(chunk.heading, chunk.text) for chunk in chunks], role="document")
    np.testing.assert_allclose(store.open("pages").vectors([one.key for one in chunks]), expected.vectors, atol=1e-6)
    store.close()


@pytest.mark.slow
def test_items_of_few_passages_are_found_behind_one_of_many(embedder: Embedder, sources: Sources) -> None:
    book = "\n\n".join(f"Chapter {number} tells of the heat pump. {PARAGRAPH * 10}" for number in range(120))
    texts = {"book": book, **{f"note {number}": f"A note on the garden, {number}." for number in range(4)}}
    collection_add(embedder, sources.store, "shelf", texts)
    for mode in ("hybrid", "semantic"):
        found = search(embedder, "heat pump", source="shelf", sources=sources, mode=mode)
        assert set(ids(found.hits)) == set(texts)


def test_lines_are_those_of_the_file_and_the_words_are_in_them(
    embedder: Embedder, sources: Sources, library: Path
) -> None:
    found = search(embedder, "what replaced the boiler", source=".", sources=sources, top=11)
    assert found.folder == f"{library}/"
    for hit in found.hits:
        if str(hit.id).startswith("tickets.csv"):
            assert hit.lines is None
            assert hit.page is None
            continue
        assert hit.lines is not None
        first, last = hit.lines
        shown = "\n".join((library / str(hit.id)).read_text(encoding="utf-8").split("\n")[first - 1 : last])
        assert hit.text.removesuffix("…") in shown


def test_no_hit_is_a_bare_heading_or_a_rule(embedder: Embedder, sources: Sources) -> None:
    for query in ("Minutes of March", "Heating", "Prices", "part | price", "Chimney", "Sweeping"):
        for mode in MODES:
            for hit in search(embedder, query, source=".", sources=sources, top=11, mode=mode).hits:
                assert not hit.text.startswith(("#", "|--"))
                assert "#" not in hit.text.split("\n", 1)[0]
                assert len(hit.text) > 30 or str(hit.id).startswith("tickets")


@pytest.mark.parametrize(
    ("given", "heading", "query", "shown"),
    [
        ("# Roof\n\nIt leaks.", "Roof", "roof", "It leaks."),
        ("Roof\n====\n\nIt leaks.\n\n---\n", "Roof", "roof", "It leaks."),
        ("Roof\n\nIt leaks.", "House > Roof", "roof", "It leaks."),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "", "a", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("# Roof", "Roof", "roof", "# Roof"),
        ("Buy milk\n\nCall the plumber", "", "plumber", "Buy milk\n\nCall the plumber"),
        (f"On roofs\n\n{PARAGRAPH.strip()} It has tiles.", "", "roofs", f"On roofs\n\n{PARAGRAPH.strip()}"),
        (f"{PARAGRAPH * 3}\n\n## Tiles\n\nThey are red.", "Roof", "tiles red", "They are red."),
    ],
)
def test_what_a_hit_is_shown_by(given: str, heading: str, query: str, shown: str) -> None:
    ((start, end),) = best_sentences(by_words(query), [given], [heading], 110)
    assert given[start:end] == shown


def test_searching_by_words_needs_no_model_and_neither_does_reading(tmp_path: Path, embedder: Embedder) -> None:
    store = open_store(Settings(data_dir=tmp_path))
    collection_add(embedder, store, "kept", {"a": "A red fox.", "b": "Foxes sleep.", "c": "A bike."}, metadata={"x": 1})
    with Engine(Settings(model=str(tmp_path / "none"), data_dir=tmp_path)) as none:
        found = structured(call(none, "search", {"query": "fox", "source": "kept", "mode": "keyword"}))
        assert {hit["id"] for hit in found["hits"]} == {"a", "b"}
        assert found["model"] == embedder.identity().short
        several = {
            "queries": ["fox", "bike"],
            "source": "kept",
            "mode": "keyword",
            "where": {"x": 1},
            "ids": ["b", "c"],
        }
        answers = structured(call(none, "search", several))["results"]
        assert [[hit["id"] for hit in one["hits"]] for one in answers] == [["b"], ["c"]]
        items = structured(call(none, "read", {"source": "kept", "ids": ["c"]}))["items"]
        assert items == [{"id": "c", "text": "A bike."}]
        assert "none" in error(call(none, "search", {"query": "fox", "source": "kept"}))
    store.close()


def test_items_are_read_whole_by_lines_and_by_passage_with_neighbours(
    embedder: Embedder, sources: Sources, library: Path
) -> None:
    def text_of(key: str, **more: Any) -> str:
        (item,) = read(embedder, ".", [key], sources=sources, **more).items
        assert item.id == key
        whole = (library / key.split("#")[0].split(":")[0]).read_text(encoding="utf-8")
        if item.lines is not None:
            first, last = item.lines
            assert item.text.strip("\n").removesuffix("…") in "\n".join(whole.split("\n")[first - 1 : last])
        return item.text

    march = (library / "minutes/March.md").read_text(encoding="utf-8")
    assert text_of("minutes/March.md") == march
    assert text_of("minutes/March.md:1") == "# Minutes of March"
    assert text_of("minutes/March.md:1-3") == "# Minutes of March\n\n## Heating"
    assert text_of("minutes/March.md:7-999").startswith("The boiler was replaced in March")
    heating = text_of("minutes/March.md#2")
    assert heating.startswith("## Heating")
    around = text_of("minutes/March.md#2", around=1)
    assert around.startswith("# Minutes of March")
    assert heating in around
    assert len(heating) < len(around) < len(march)
    assert text_of("minutes/March.md:7", around=1) in march
    assert "message: The roof leaks." in text_of("tickets.csv:2")
    (row,) = read(embedder, "tickets.csv#message", ["A2"], sources=sources).items
    assert (row.text, row.lines) == ("The roof leaks.", None)


def test_a_hit_can_be_read_by_its_lines(embedder: Embedder, sources: Sources) -> None:
    (hit,) = search(embedder, "twelve tiles in a storm", source="minutes/May.md", sources=sources).hits
    assert hit.lines is not None
    (item,) = read(embedder, "minutes/May.md", [f"{hit.id}:{hit.lines[0]}-{hit.lines[1]}"], sources=sources).items
    assert hit.text in item.text
    assert item.lines == hit.lines


def test_reading_stays_within_the_budget_and_says_what_is_cut(engine: Engine, embedder: Embedder) -> None:
    names = {"long": PARAGRAPH * 200, "short": "A note."}
    call(engine, "collection_add", {"collection": "budget", "texts": names})
    result = call(engine, "read", {"source": "budget", "ids": ["short", "long", "short"]})
    assert len(text(result)) <= 8_000
    first, second = structured(result)["items"]
    assert first["text"] == "A note."
    assert second["text"].removesuffix("…") in names["long"]
    (note,) = structured(result)["notes"]
    assert "long was cut after" in note
    assert "1 more were left out" in note
    small = structured(call(engine, "read", {"source": "budget", "ids": ["long"], "max_tokens": 20}))
    assert len(small["items"][0]["text"]) < 120
    large = structured(call(engine, "read", {"source": "budget", "ids": ["long"], "max_tokens": 50_000}))
    assert large["items"][0]["text"] == names["long"]
    call(engine, "collection_remove", {"collection": "budget", "all": True})


def test_what_cannot_be_read_is_refused_with_what_is_there(embedder: Embedder, sources: Sources) -> None:
    for wrong, words in (
        ("minutes/march.md", "did you mean 'minutes/March.md'"),
        ("minutes/March.md#99", "is not in"),
        ("minutes/March.md:99", "are not in a text of"),
        ("minutes/March.md:9-3", "are not in a text of"),
    ):
        with pytest.raises(InputError, match=words):
            read(embedder, ".", [wrong], sources=sources)
    with pytest.raises(InputError, match="ids is an empty list"):
        read(embedder, ".", [], sources=sources)
