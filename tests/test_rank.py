"""The tool ``rank``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import QUESTIONS, TEXTS, THEMES
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.rank import rank
from mcp_server_embeddings.tools.similarity import similarity
from mcp_server_embeddings.vectors.scores import scores

QUERY = "my order has not come"


def test_hits_are_the_nearest_texts_best_first(embedder: Embedder) -> None:
    found = rank(embedder, QUERY, TEXTS, top=4)
    cosines = scores(embedder.embed(TEXTS).vectors, embedder.embed([QUERY]).vectors, "cosine")[:, 0]
    assert [hit.index for hit in found.hits] == [int(row) for row in np.argsort(-cosines)[:4]]
    assert {TEXTS[hit.index] for hit in found.hits[:2]} <= set(THEMES["delivery"])
    assert found.more == len(TEXTS) - 4
    assert not found.no_match


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(len(TEXTS))))
def test_permuting_the_texts_permutes_the_hits(embedder: Embedder, order: list[int]) -> None:
    plain = [hit.index for hit in rank(embedder, QUERY, TEXTS).hits]
    permuted = rank(embedder, QUERY, [TEXTS[i] for i in order])
    assert [order[hit.index] for hit in permuted.hits] == plain


@settings(max_examples=20, deadline=None)
@given(top=st.integers(1, len(TEXTS)))
def test_a_smaller_top_gives_the_beginning_of_a_larger_one(embedder: Embedder, top: int) -> None:
    every = rank(embedder, QUERY, TEXTS, top=len(TEXTS), diversity=0.4).hits
    assert rank(embedder, QUERY, TEXTS, top=top, diversity=0.4).hits == every[:top]


def test_nothing_above_weak_is_no_match_and_the_nearest_are_still_shown(embedder: Embedder) -> None:
    found = rank(embedder, "the chemistry of polymers", TEXTS)
    assert found.no_match
    assert len(found.hits) == 5
    assert {hit.band for hit in found.hits} <= {"unrelated", "weak"}


def test_no_match_looks_at_all_texts_and_not_only_at_the_hits(embedder: Embedder) -> None:
    """With diversity 1 the first hit is the nearest, so one hit decides; the others are not what it is about."""
    found = rank(embedder, QUERY, TEXTS, diversity=1.0)
    assert found.hits[0].index == rank(embedder, QUERY, TEXTS, top=1).hits[0].index
    assert not found.no_match


def test_diversity_puts_repeats_behind_what_is_new(embedder: Embedder) -> None:
    texts = [
        "My package has not arrived.",
        "My package has not arrived yet.",
        "The parcel was damaged.",
        "Tomatoes need sun.",
    ]
    query = "complaints about packages"
    assert {hit.index for hit in rank(embedder, query, texts, top=2).hits} == {0, 1}
    assert {hit.index for hit in rank(embedder, query, texts, top=2, diversity=0.5).hits} != {0, 1}


def test_a_span_is_the_sentence_to_quote_with_its_place(embedder: Embedder) -> None:
    text = "We had fine weather.  The courier lost our parcel on the way! Then we went home. 😀 It rained."
    (hit,) = rank(embedder, "where is the parcel", [text], spans=True).hits
    assert hit.span is not None
    assert text[hit.span.start : hit.span.end] == hit.snippet == "The courier lost our parcel on the way!"
    assert hit.span.score > hit.score


def test_a_span_of_a_text_without_sentence_ends_is_short_enough_to_quote(embedder: Embedder) -> None:
    text = "green apples and pears " * 200 + "a violin concerto in the evening " + "green apples and pears " * 200
    (hit,) = rank(embedder, "classical music", [text], spans=True).hits
    assert hit.span is not None
    assert "violin" in hit.snippet
    assert hit.span.end - hit.span.start <= 320
    assert rank(embedder, "classical music", [text]).usage.windowed == [0]


def test_queries_and_documents_have_their_prompts_and_their_own_calibration(bge_embedder: Embedder) -> None:
    """The bge-like model has a prompt for queries: a score must be read against queries with that prompt."""
    texts = ["apples and pears", "violins and cellos"]
    found = rank(bge_embedder, "fruit", texts)
    query = bge_embedder.embed(["fruit"], role="query").vectors
    documents = bge_embedder.embed(texts, role="document").vectors
    expected = scores(documents, query, "cosine")[:, 0]
    assert [hit.score for hit in found.hits] == sorted((round(float(score), 4) for score in expected), reverse=True)
    retrieval = bge_embedder.calibration("retrieval")
    best = max(float(score) for score in expected)
    assert found.hits[0].percentile == retrieval.percentile(best)


def test_the_bands_of_a_search_begin_lower_than_those_between_texts(embedder: Embedder) -> None:
    """A question and its answer score lower than two wordings of one thing."""
    _, between_texts, _, _ = embedder.calibration().edges
    _, in_search, _, _ = embedder.calibration("retrieval").edges
    scored = [rank(embedder, question, [answer]).hits[0].score for question, answer in QUESTIONS]
    assert sum(score < between_texts for score in scored) >= 10
    assert sum(score < in_search for score in scored) <= 4


def test_an_answer_in_other_words_is_a_match_although_it_scores_low(embedder: Embedder) -> None:
    found = rank(embedder, "how long does the battery last", ["The battery is empty after two hours."])
    assert found.hits[0].score < embedder.calibration().edges[1]
    assert (found.hits[0].band, found.no_match) == ("related", False)


def test_a_blank_query_is_refused(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="query is empty"):
        rank(embedder, " \n", TEXTS)


@pytest.mark.parametrize("count", [3, 7, 9, 60])
def test_equal_texts_are_in_the_order_of_the_list(embedder: Embedder, count: int) -> None:
    """A matrix product gives equal rows results that differ in the last bit, by where they stand."""
    texts = ["The cat sleeps."] * count
    for diversity in (0.0, 0.5):
        hits = rank(embedder, "bank", texts, top=count, diversity=diversity).hits
        assert [hit.index for hit in hits] == list(range(count))
    pairs = similarity(embedder, ["bank"], texts, top=count).pairs
    assert [pair.right for pair in pairs] == list(range(count))


def test_many_short_sentences_are_searched_in_larger_passages_and_counted(embedder: Embedder) -> None:
    text = " ".join(f"Item {number} is red." for number in range(2500)) + " The violin concerto begins at eight."
    found = rank(embedder, "classical music", [text], spans=True)
    (hit,) = found.hits
    assert hit.span is not None
    assert "violin concerto" in hit.snippet
    assert 100 < len(hit.snippet) <= 320
    assert found.usage.texts == 2
    assert found.usage.tokens > 2 * sum(embedder.count_tokens([text])) * 0.9
