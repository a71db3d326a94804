"""The tool ``condense``, and the sentences it cuts a text into."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import TEXTS, THEMES, sentences
from fakes import FakeEncoder
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.selecting import Reader
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.tools.coercion import Id
from mcp_server_embeddings.tools.condense import condense
from mcp_server_embeddings.tools.paragraphs import paragraphs
from mcp_server_embeddings.tools.results import CondenseResult
from mcp_server_embeddings.tools.sentences import MAX_PASSAGE, passages
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.coverage import best_cover
from mcp_server_embeddings.vectors.scores import Scores

DOCUMENT = " ".join(TEXTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that may be read."""
    made = tmp_path / "docs"
    made.mkdir()
    return made


@pytest.fixture
def sources(folder: Path, tmp_path: Path) -> Sources:
    """Where sources are looked up."""
    return Sources(open_store(Settings(data_dir=tmp_path / "data")), Reader([folder]))


@pytest.fixture
def fake_embedder(tmp_path: Path) -> Iterator[Embedder]:
    """Encodes by words."""
    with Engine(Settings(data_dir=tmp_path), FakeEncoder().load) as engine:
        yield engine.embedder()


def theme(position: Id) -> int:
    return int(position) // 5


def chosen(found: CondenseResult) -> list[str]:
    """The texts that were chosen."""
    return [TEXTS[int(position)] for position in found.selected]


def test_the_chosen_stand_for_all_themes_in_the_original_order(embedder: Embedder) -> None:
    found = condense(embedder, TEXTS, count=4)
    assert found.selected == sorted(found.selected)
    assert sorted(theme(i) for i in found.selected) == [0, 1, 2, 3]


@settings(max_examples=30)
@given(max_tokens=st.integers(12, 250))
def test_the_budget_is_never_exceeded_and_the_tokens_are_those_of_the_tokenizer(
    embedder: Embedder, max_tokens: int
) -> None:
    found = condense(embedder, TEXTS, max_tokens=max_tokens)
    assert found.tokens <= max_tokens
    assert found.text.splitlines() == chosen(found)
    assert found.tokens == sum(embedder.count_tokens(chosen(found)))
    assert sum(embedder.count_tokens([found.text])) <= max_tokens
    assert found.selected


@settings(max_examples=10)
@given(order=st.permutations(range(len(TEXTS))))
def test_permuting_the_texts_permutes_the_choice(embedder: Embedder, order: list[int]) -> None:
    plain, permuted = condense(embedder, TEXTS, count=5), condense(embedder, [TEXTS[i] for i in order], count=5)
    assert sorted(order[int(i)] for i in permuted.selected) == plain.selected
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


def test_many_items_a_little_like_a_query_do_not_outweigh_the_few_that_are_about_it(embedder: Embedder) -> None:
    found = condense(embedder, [*TEXTS, *sentences(200)], count=5, query="how long does the battery last")
    assert found.selected == [5, 6, 7, 8, 9]


def test_a_long_text_is_condensed_to_its_sentences_word_for_word(embedder: Embedder) -> None:
    found = condense(embedder, [DOCUMENT], count=4)
    assert found.selected == [0]
    kept = [text for text in TEXTS if text in found.text]
    assert found.text == " ".join(kept)
    assert len(kept) == 4


def test_copies_are_chosen_once(embedder: Embedder) -> None:
    found = condense(embedder, [TEXTS[0]] * 50 + [TEXTS[6]] * 2, count=10)
    assert found.selected == [0, 50]
    assert found.coverage == 1


matrices = st.integers(1, 7).flatmap(
    lambda n: arrays(np.float64, (n, n), elements=st.floats(0, 1).map(lambda x: round(x, 2)))
)


@settings(max_examples=200)
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
    assert found.coverage >= (1 - 1 / math.e) / 2 * best - 1e-9
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


PAGE = """\
---
title: Report
---

Quarterly report
================

# Introduction

The pump runs at 3.5 bar, as Dr. Smith et al. found in Fig. 2, and it
uses approx. 12.75 litres of water in an hour of full load, e.g. in the
summer months when the fields are dry.

Results and outlook

| pump | litres |
| --- | --- |
| one | 12.75 |

- The second pump was replaced in March after
  a long series of small leaks.
- New valves

```
reset --all pumps. now.
```

All rights reserved by the water company.
"""


PUMP = (
    "The pump runs at 3.5 bar, as Dr. Smith et al. found in Fig. 2, and it uses approx. 12.75 litres of water in an "
    "hour of full load, e.g. in the summer months when the fields are dry."
)


def test_paragraphs_are_prose_on_one_line_each() -> None:
    assert paragraphs(PAGE) == [
        PUMP,
        "The second pump was replaced in March after a long series of small leaks.",
        "All rights reserved by the water company.",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("my red\ncar", ["my red car"]),
        (
            "A title of a paper\nWe show that the method works for every kind of data.",
            ["We show that the method works for every kind of data."],
        ),
        ("The sentence was wrapped before a\nName.", ["The sentence was wrapped before a Name."]),
        ("A well-\nknown word.", ["A well-known word."]),
        ("这是第一\n行。", ["这是第一行。"]),
        ("> Quoted words\n> go on here.", ["Quoted words go on here."]),
        ("1. Open the door.\n2. Close it.", ["Open the door.", "Close it."]),
        ("# only a heading", []),
        ("no sentence at all", ["no sentence at all"]),
        ("\r\nWindows line\r\nends too.\r\n", ["Windows line ends too."]),
    ],
)
def test_lines_are_joined_where_they_were_wrapped(text: str, found: list[str]) -> None:
    assert paragraphs(text) == found


@settings(max_examples=300)
@given(text=st.text(alphabet=st.sampled_from("ab A.!?。\n\t-1#|`>=😀é"), max_size=80))
def test_paragraphs_repeat_only_what_is_there(text: str) -> None:
    for paragraph in paragraphs(text):
        assert "\n" not in paragraph
        assert paragraph == paragraph.strip() != ""
        # Marks of quotes and of items of lists are left out inside a paragraph too.
        assert not Counter(paragraph.replace(" ", "")) - Counter("".join(text.split()))


def documents() -> dict[Id, str]:
    """Documents of a heading, five wrapped sentences, and the same words below."""
    footer = "Written by the editors of the weekly bulletin, all rights reserved."
    return {
        f"{name}.md": f"# All about {name}\n\n" + "\n".join(textwrap.wrap(" ".join(texts), 60)) + f"\n\n{footer}\n"
        for name, texts in THEMES.items()
    }


def test_a_digest_has_neither_headings_nor_boilerplate_nor_line_ends_inside_sentences(embedder: Embedder) -> None:
    found = condense(embedder, documents(), max_tokens=60)
    assert found.tokens <= 60
    assert found.selected == [f"{name}.md" for name in THEMES]
    for line, texts in zip(found.text.splitlines(), THEMES.values(), strict=True):
        assert [text for text in texts if text in line]
        assert "".join(text for text in texts if text in line).replace(" ", "") == line.replace(" ", "")


def test_decimals_and_abbreviations_do_not_end_a_sentence(embedder: Embedder) -> None:
    found = condense(embedder, [PAGE], count=3)
    assert found.text == " ".join(paragraphs(PAGE))


def test_a_long_sentence_is_kept_as_one(embedder: Embedder) -> None:
    long = "The council decided that " + "the old bridge over the river is repaired, " * 12 + "and nothing else."
    found = condense(embedder, [f"{long} See Figs. 2 and 3 for the plan. It costs approx. 3.5 million."], count=3)
    assert found.text == f"{long} See Figs. 2 and 3 for the plan. It costs approx. 3.5 million."
    assert condense(embedder, [f"{long} It costs approx. 3.5 million."], count=1).text in (
        long,
        "It costs approx. 3.5 million.",
    )


def test_a_digest_of_documents_has_no_fragments(embedder: Embedder) -> None:
    texts = [f"{name}\n\n{' '.join(theme_texts)}\n\nSee also\n\nand so on" * 2 for name, theme_texts in THEMES.items()]
    found = condense(embedder, texts, max_tokens=200)
    for name in THEMES:
        assert f"{name} " not in found.text.split(". ")
    assert "See also" not in found.text
    assert "and so on" not in found.text


def test_short_items_are_chosen_whole_without_their_headings(embedder: Embedder) -> None:
    found = condense(
        embedder, {"a": "# Refunds\n\nYou get a refund\nin 30 days. Write to us.", "b": "Cats sleep."}, count=2
    )
    assert found.text == "You get a refund in 30 days. Write to us.\nCats sleep."
    assert found.selected == ["a", "b"]


def test_items_without_sentences_are_still_represented(embedder: Embedder) -> None:
    words = "the quick brown fox jumps over lazy dogs and " * 20
    found = condense(embedder, {"words": words, "list": "- red apples of the south\n- blue plums\n" * 20}, count=50)
    assert found.selected == ["words", "list"]


def test_equal_documents_are_no_boilerplate(embedder: Embedder) -> None:
    found = condense(embedder, [DOCUMENT] * 5, count=30)
    assert found.selected == [0]
    assert found.coverage == 1


def test_a_folder_is_condensed_by_paths(embedder: Embedder, sources: Sources, folder: Path) -> None:
    for name, text in documents().items():
        (folder / str(name)).write_text(text, encoding="utf-8")
    found = condense(embedder, source="*.md", max_tokens=60, sources=sources)
    assert found.folder == f"{folder}/"
    assert sorted(map(str, found.selected)) == sorted(f"{name}.md" for name in THEMES)
    assert "All about" not in found.text
    few = condense(embedder, source="*.md", ids=["garden.md"], count=1, sources=sources)
    assert few.selected == ["garden.md"]
    assert few.text in THEMES["garden"]


@pytest.mark.slow
def test_without_max_tokens_a_digest_fits_an_answer_and_says_so(embedder: Embedder) -> None:
    texts = [f"{text} This is variant number {number} of it." for number in range(40) for text in TEXTS]
    found = condense(embedder, texts, count=800)
    assert len(found.text) < 8_000
    assert any("kept to" in note for note in found.notes)


def test_one_item_of_one_sentence_is_nothing_to_choose_from(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="nothing to choose from"):
        condense(embedder, ["Only one sentence."], count=1)


@pytest.mark.slow
def test_a_sample_stands_for_very_many_items(fake_embedder: Embedder) -> None:
    found = condense(fake_embedder, {f"id {n}": f"item {n} of the list" for n in range(1_999)}, count=3)
    assert found.notes == []
    long: dict[Id, str] = {
        n: " ".join(f"Sentence {n} {m} is about word{n}." for m in range(12)) * 2 for n in range(800)
    }
    found = condense(fake_embedder, long, count=3)
    assert "10,000 of 10,400 sentences were considered, an even sample" in found.notes
    found = condense(fake_embedder, long, count=3, query="word250.")
    assert any("nearest the query" in note for note in found.notes)
