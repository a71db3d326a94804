"""The tool ``condense``, and the sentences it cuts a text into."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import TEXTS, THEMES
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.condense import condense
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE, passages
from mcp_server_embeddings.vectors.coverage import best_cover
from mcp_server_embeddings.vectors.scores import Scores

DOCUMENT = " ".join(TEXTS)


def theme(position: int) -> int:
    return position // 5


def test_the_chosen_stand_for_all_themes_in_the_original_order(embedder: Embedder) -> None:
    found = condense(embedder, TEXTS, count=4)
    assert found.selected == sorted(found.selected)
    assert sorted(theme(i) for i in found.selected) == [0, 1, 2, 3]


@settings(max_examples=30, deadline=None)
@given(max_tokens=st.integers(12, 250))
def test_the_budget_is_never_exceeded_and_the_tokens_are_those_of_the_tokenizer(
    embedder: Embedder, max_tokens: int
) -> None:
    found = condense(embedder, TEXTS, max_tokens=max_tokens, top=20)
    assert found.tokens <= max_tokens
    assert found.tokens == sum(embedder.count_tokens([TEXTS[i] for i in found.selected]))
    assert found.selected


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(len(TEXTS))))
def test_permuting_the_texts_permutes_the_choice(embedder: Embedder, order: list[int]) -> None:
    plain, permuted = condense(embedder, TEXTS, count=5), condense(embedder, [TEXTS[i] for i in order], count=5)
    assert sorted(order[i] for i in permuted.selected) == plain.selected
    assert permuted.coverage == pytest.approx(plain.coverage, abs=1e-4)


def test_more_texts_stand_for_more(embedder: Embedder) -> None:
    coverage = [condense(embedder, TEXTS, count=count).coverage for count in range(1, 21)]
    assert coverage == sorted(coverage)
    assert coverage[-1] == 1


def test_both_budgets_hold_together(embedder: Embedder) -> None:
    found = condense(embedder, TEXTS, count=6, max_tokens=30)
    assert len(found.selected) <= 6
    assert found.tokens <= 30


def test_a_query_chooses_what_matters_for_it(embedder: Embedder) -> None:
    found = condense(embedder, TEXTS, count=3, query="how long does the battery last")
    assert {theme(i) for i in found.selected} == {1}
    assert not found.no_match
    assert condense(embedder, TEXTS, count=3, query="the chemistry of polymers").no_match


def test_a_long_text_is_condensed_to_sentences_with_their_places(embedder: Embedder) -> None:
    found = condense(embedder, DOCUMENT, count=4)
    assert found.passages is not None
    quoted = [DOCUMENT[passage.start : passage.end] for passage in found.passages]
    assert quoted == [TEXTS[i] for i in found.selected] == [passage.snippet for passage in found.passages]


def test_copies_are_chosen_once(embedder: Embedder) -> None:
    found = condense(embedder, [TEXTS[0]] * 50 + [TEXTS[6]] * 2, count=10)
    assert found.selected == [0, 50]
    assert found.coverage == 1


matrices = st.integers(1, 7).flatmap(
    lambda n: arrays(np.float64, (n, n), elements=st.floats(0, 1).map(lambda x: round(x, 2)))
)


@settings(max_examples=200, deadline=None)
@given(half=matrices, budget=st.integers(1, 40), data=st.data())
def test_a_cover_is_worth_at_least_the_guaranteed_share_of_the_best(
    half: Scores, budget: int, data: st.DataObject
) -> None:
    likeness = (half + half.T) / 2
    np.fill_diagonal(likeness, 1)
    size = len(half)
    costs = np.array(data.draw(st.lists(st.integers(1, 20), min_size=size, max_size=size)))
    weights = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=size, max_size=size)))
    weights[0] = 1.0
    found = best_cover(likeness, weights, costs, budget=budget, count=size)
    assert costs[found.rows].sum() <= budget
    best = 0.0
    for chosen in range(1, 2**size):
        rows = [row for row in range(size) if chosen >> row & 1]
        if costs[rows].sum() <= budget:
            best = max(best, float(weights @ likeness[:, rows].max(axis=1) / weights.sum()))
    assert found.coverage >= (1 - 1 / np.e) / 2 * best - 1e-9
    assert found.coverage <= best + 1e-9


@settings(max_examples=300)
@given(text=st.text(alphabet=st.sampled_from("ab .!?。\n\t-1😀é"), max_size=60))
def test_passages_hold_every_visible_character_once_and_in_order(text: str) -> None:
    places = passages(text)
    assert all(start < end for start, end in places)
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    assert "".join("".join(text[start:end].split()) for start, end in places) == "".join(text.split())


def test_passages_are_sentences_in_many_languages() -> None:
    text = 'Dr. Smith left, e.g. early. "Really?" she asked. 这是第一句。这是第二句！ Das ist z.B. einer. Ende'
    assert [text[start:end] for start, end in passages(text)] == [
        "Dr. Smith left, e.g. early.",
        '"Really?" she asked.',
        "这是第一句。",
        "这是第二句！",
        "Das ist z.B. einer.",
        "Ende",
    ]


def test_a_passage_is_never_too_long_to_quote() -> None:
    for text in ("word " * 1000, "x" * 5000, "字" * 5000):
        assert max(end - start for start, end in passages(text)) <= MAX_PASSAGE


def test_a_budget_below_the_shortest_text_is_refused_with_its_size(embedder: Embedder) -> None:
    shortest = min(embedder.count_tokens(TEXTS))
    with pytest.raises(InputError, match=f"give {shortest} or more"):
        condense(embedder, TEXTS, max_tokens=shortest - 1)
    assert len(condense(embedder, TEXTS, max_tokens=shortest).selected) == 1


def test_themes_are_five_texts_each() -> None:
    assert {len(texts) for texts in THEMES.values()} == {5}


def test_quotes_without_end_are_cut_as_quickly_as_prose() -> None:
    """sentencex alone takes a minute for this, and no other thread runs meanwhile."""
    text = '{"key": "value, (more [and"}, ' * 40_000
    places = passages(text)
    assert "".join(text[start:end].replace(" ", "") for start, end in places) == text.replace(" ", "")


def test_lines_are_cut_at_their_ends_and_words_at_any_white_space() -> None:
    log = "\n".join(f"{number:04} the pump was switched on" for number in range(100))
    assert all(log[start : start + 4].isdecimal() for start, _ in passages(log))
    tabs = "\t".join(f"word{number}" for number in range(500))
    assert all(text.startswith("word") for text in (tabs[start:end] for start, end in passages(tabs)))


def test_a_single_text_is_one_text_in_the_usage(embedder: Embedder) -> None:
    found = condense(embedder, DOCUMENT, count=2, query="battery")
    assert found.usage.texts == 2
    assert found.usage.windowed == []
    chinese = "这是一个很长的句子没有停顿" * 30 + "。" + "短句。"
    assert condense(embedder, chinese, count=1).usage.windowed == [0]
