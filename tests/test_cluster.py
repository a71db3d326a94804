"""The tool ``cluster``."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import COMPONENTS, TEXTS, sentences
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, json_length
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.results import Cluster, ClusterResult
from mcp_server_embeddings.tools.sentences import headline
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.vectors.clustering import clustered, distinct_points, ward_tree
from mcp_server_embeddings.vectors.scores import Vectors

matrices = st.integers(2, 12).flatmap(lambda n: arrays(np.float32, (n, 4), elements=st.sampled_from(COMPONENTS)))


def positions(entry: Cluster) -> list[int]:
    return [int(member.id) for member in entry.members]


def parts(found: ClusterResult) -> set[frozenset[int]]:
    return {frozenset(positions(entry)) for entry in found.clusters}


def test_the_themes_are_found_without_being_counted(embedder: Embedder) -> None:
    found = cluster(embedder, TEXTS, members=20)
    themes = [set(range(5 * i, 5 * i + 5)) for i in range(4)]
    for part in parts(found):
        assert any(part <= theme for theme in themes)
    assert 4 <= len(found.clusters) <= 7


def test_as_many_clusters_as_asked_for(embedder: Embedder) -> None:
    for number in (1, 2, 4, 20):
        assert len(cluster(embedder, TEXTS, clusters=number).clusters) == number
    found = cluster(embedder, TEXTS, clusters=4, members=20)
    assert parts(found) == {frozenset(range(5 * i, 5 * i + 5)) for i in range(4)}
    assert [entry.id for entry in found.clusters] == [0, 1, 2, 3]


@settings(max_examples=15)
@given(order=st.permutations(range(len(TEXTS))), number=st.sampled_from([None, 3, 4]))
def test_permuting_the_texts_permutes_the_clusters(embedder: Embedder, order: list[int], number: int | None) -> None:
    plain = cluster(embedder, TEXTS, clusters=number, members=20)
    permuted = cluster(embedder, [TEXTS[i] for i in order], clusters=number, members=20)
    assert {frozenset(order[i] for i in part) for part in parts(permuted)} == parts(plain)
    assert permuted.outliers == plain.outliers


@pytest.mark.slow
@settings(max_examples=100)
@given(vectors=matrices, asked=st.integers(0, 12))
def test_clusters_and_outliers_are_a_partition(vectors: Vectors, asked: int) -> None:
    tree = ward_tree(vectors)
    number = min(asked, distinct_points(tree)) or None
    found = clustered(vectors, tree, number, weak=0.9, close=0.97)
    every = [position for group in found.groups for position in group.members] + found.outliers
    assert sorted(every) == list(range(len(vectors)))
    assert number is None or len(found.groups) == number
    sizes = [len(group.members) for group in found.groups]
    assert sizes == sorted(sizes, reverse=True)
    assert all(-1 <= group.cohesion <= 1 + 1e-9 for group in found.groups)


@settings(max_examples=15)
@given(chosen=st.sets(st.integers(0, len(TEXTS) - 1), min_size=2), number=st.sampled_from([None, 1, 2]))
def test_sizes_add_up_to_the_number_of_items(embedder: Embedder, chosen: set[int], number: int | None) -> None:
    found = cluster(embedder, {position: TEXTS[position] for position in chosen}, clusters=number, members=50)
    assert sum(entry.size for entry in found.clusters) + found.outliers == len(chosen)
    every = [position for entry in found.clusters for position in positions(entry)]
    assert len(every) == len(set(every)) == sum(entry.size for entry in found.clusters)
    assert set(every) <= chosen
    assert all(one.size >= other.size for one, other in pairwise(found.clusters))


def test_members_are_nearest_the_centre_first(embedder: Embedder) -> None:
    entry = cluster(embedder, TEXTS, clusters=4, members=20).clusters[0]
    vectors = embedder.embed([TEXTS[i] for i in positions(entry)]).vectors.astype(np.float64)
    nearness = vectors @ vectors.mean(axis=0)
    assert list(nearness) == sorted(nearness, reverse=True)
    assert len(entry.members) == entry.size


def test_terms_tell_a_cluster_from_the_others_and_hold_no_stop_words(embedder: Embedder) -> None:
    for entry in cluster(embedder, TEXTS, clusters=4, members=20).clusters:
        theme = " ".join(TEXTS[i] for i in positions(entry)).lower()
        others = " ".join(text for i, text in enumerate(TEXTS) if i not in positions(entry)).lower()
        assert len(entry.terms) == 5
        assert all(term in theme for term in entry.terms)
        assert not set(entry.terms) & {"the", "and", "my", "all", "of", "in"}
        assert entry.terms[0] not in others


def test_a_text_near_nothing_is_an_outlier(embedder: Embedder) -> None:
    found = cluster(embedder, [*TEXTS, "Prime numbers are infinite in number."], members=21)
    assert found.outliers == 1
    assert 20 not in {position for entry in found.clusters for position in positions(entry)}


def test_texts_that_are_all_close_are_one_cluster(embedder: Embedder) -> None:
    texts = ["The meeting is on Friday.", "The meeting takes place on Friday.", "Our meeting is on Friday."]
    found = cluster(embedder, texts)
    assert [entry.size for entry in found.clusters] == [3]


def test_three_unrelated_texts_are_no_cluster_at_all(embedder: Embedder) -> None:
    found = cluster(embedder, ["Tomatoes need sun.", "Prime numbers are infinite.", "He lost the court case."])
    assert (found.clusters, found.outliers) == ([], 3)


@pytest.mark.slow
def test_two_thousand_texts_are_grouped_and_fit_an_answer(embedder: Embedder) -> None:
    found = cluster(embedder, sentences(2000))
    assert sum(entry.size for entry in found.clusters) + found.outliers == 2000
    assert json_length(found) <= ANSWER_CHARACTERS
    assert all(1 <= len(entry.members) <= 3 for entry in found.clusters)


def test_every_cluster_is_listed_with_fewer_members_where_not_all_fit(embedder: Embedder) -> None:
    twenty = cluster(embedder, sentences(400), clusters=20)
    assert [len(entry.members) for entry in twenty.clusters] == [3] * 20
    fifty = cluster(embedder, sentences(400), clusters=50, members=10)
    assert len(fifty.clusters) == 50
    shown = max(len(entry.members) for entry in fifty.clusters)
    assert shown in {1, 2}
    assert fifty.notes == [f"{shown} members of each cluster fit, not 10; save_as writes every item"]
    hundreds = cluster(embedder, sentences(400), clusters=300)
    assert len(hundreds.clusters) < 300
    assert f"{300 - len(hundreds.clusters)} smaller clusters do not fit" in hundreds.notes[0]
    assert max(map(json_length, (twenty, fifty, hundreds))) <= ANSWER_CHARACTERS


def test_twenty_clusters_with_three_long_titles_each_take_seven_thousand_characters(embedder: Embedder) -> None:
    title = "and what the investigation of the wing section showed at several speeds"
    texts: dict[str | int, str] = {
        f"paper{at:04}.txt": f"{text.rstrip('.')} {title}\n\nAn abstract." for at, text in enumerate(sentences(200))
    }
    found = cluster(embedder, texts, clusters=20)
    assert [len(entry.members) for entry in found.clusters if entry.size >= 3] == [3] * sum(
        entry.size >= 3 for entry in found.clusters
    )
    assert len(found.clusters) == 20
    assert json_length(found) <= 7_000
    assert all(len(member.text) >= 48 for entry in found.clusters for member in entry.members)


def test_three_members_that_fit_are_shown_to_who_asks_for_three(embedder: Embedder) -> None:
    texts: dict[str | int, str] = {
        f"health-topic-{at:04}.txt": f"{text[:-1]} and more of what the others said about it. It ended there."
        for at, text in enumerate(sentences(200))
    }
    three, five = (cluster(embedder, texts, clusters=20, members=members) for members in (3, 5))
    assert [entry.members for entry in three.clusters] == [entry.members for entry in five.clusters]
    assert max(len(entry.members) for entry in three.clusters) == 3
    assert three.notes == []
    assert five.notes == ["3 members of each cluster fit, not 5; save_as writes every item"]


def test_a_member_shows_its_title_or_first_sentence_and_copies_once(embedder: Embedder) -> None:
    texts: dict[str | int, str] = {
        "a.md": "# Returning a parcel\n\nYou may send it back within 30 days.",
        "b.md": "Late parcels\n\nWe are sorry when a parcel is late.",
        "c.md": "Hello. The parcel came two\nweeks late. We were not amused.",
        "d.md": "# Returning a parcel\n\nYou may send it back within 30 days.",
    }
    (entry,) = cluster(embedder, texts, clusters=1, members=4).clusters
    assert entry.size == 4
    assert {member.text for member in entry.members} == {
        "Returning a parcel",
        "Late parcels",
        "Hello. The parcel came two weeks late.",
    }


def test_two_levels_divide_clusters_and_leave_the_first_level_as_it_is(embedder: Embedder) -> None:
    flat = cluster(embedder, TEXTS, clusters=2, members=20)
    deep = cluster(embedder, TEXTS, clusters=2, members=20, levels=2)
    assert [entry.model_copy(update={"parts": []}) for entry in deep.clusters] == flat.clusters
    assert any(entry.parts for entry in deep.clusters)
    for entry in deep.clusters:
        assert [part.id for part in entry.parts] == [f"{entry.id}.{at}" for at in range(len(entry.parts))]
        assert len(entry.parts) != 1
        assert sum(part.size for part in entry.parts) <= entry.size
        assert {member.id for part in entry.parts for member in part.members} <= set(positions(entry))
    large = cluster(embedder, sentences(1000), clusters=20, levels=2)
    assert json_length(large) <= ANSWER_CHARACTERS
    assert len(large.clusters) == 20


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Refunds\n\nYou get your money back.", "Refunds"),
        ("Refunds\n=======\nYou get your money back.", "Refunds"),
        ("You get your money back within\n30 days. Write to us.", "You get your money back within 30 days."),
        ("Hi there. My card is lost. Help.", "Hi there. My card is lost."),
        ("no end and no title", "no end and no title"),
        ("\n\n  A title  \n\nText.", "A title"),
        ("---\n---", "---"),
    ],
)
def test_headlines(text: str, shown: str) -> None:
    assert headline(text) == shown


@settings(max_examples=50)
@given(text=st.text(max_size=200))
def test_a_headline_is_never_blank_where_the_text_is_not(text: str) -> None:
    assert bool(headline(text).strip()) == bool(text.strip())


def test_contractions_and_words_of_every_cluster_are_no_terms() -> None:
    groups = [
        ["The app doesn't start and they've noticed.", "Der Start der App ist langsam."],
        ["My parcel's late, it hasn't come.", "Das Paket ist da, der Bote nicht."],
    ]
    terms = {term for group in distinguishing_terms(groups) for term in group}
    assert {"start", "app"} <= terms
    assert not terms & {"doesn", "hasn", "ve", "der", "ist"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clusters": 0}, "1 to 20"),
        ({"clusters": 21}, "1 to 20"),
        ({"members": 0}, "1 to 50"),
        ({"levels": 3}, "1 to 2"),
        ({"tag": "theme"}, "use save_as"),
        ({"save_as": "a.csv"}, "needs output_dir"),
    ],
)
def test_bad_input_names_the_fix(embedder: Embedder, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cluster(embedder, TEXTS, **arguments)  # type: ignore[arg-type]


def test_one_item_has_no_groups(embedder: Embedder) -> None:
    with pytest.raises(InputError, match="has 1 item"):
        cluster(embedder, [TEXTS[0]])
