"""The tool ``cluster``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corpus import COMPONENTS, TEXTS, sentences
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.tools.cluster import cluster
from mcp_server_embeddings.tools.results import ClusterResult
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.vectors.clustering import clustered, distinct_points, ward_tree
from mcp_server_embeddings.vectors.scores import Vectors

matrices = st.integers(2, 12).flatmap(lambda n: arrays(np.float32, (n, 4), elements=st.sampled_from(COMPONENTS)))


def parts(found: ClusterResult) -> set[frozenset[int]]:
    return {frozenset(entry.members) for entry in found.clusters}


def test_the_themes_are_found_without_being_counted(embedder: Embedder) -> None:
    found = cluster(embedder, TEXTS, top=20)
    themes = [set(range(5 * i, 5 * i + 5)) for i in range(4)]
    for entry in found.clusters:
        assert any(set(entry.members) <= theme for theme in themes)
    assert 4 <= len(found.clusters) <= 7


def test_as_many_clusters_as_asked_for(embedder: Embedder) -> None:
    for number in (1, 2, 4, 20):
        assert len(cluster(embedder, TEXTS, clusters=number, top=20).clusters) == number
    found = cluster(embedder, TEXTS, clusters=4, top=20)
    assert [set(entry.members) for entry in found.clusters] == [set(range(5 * i, 5 * i + 5)) for i in range(4)]


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(TEXTS))), number=st.sampled_from([None, 3, 4]))
def test_permuting_the_texts_permutes_the_clusters(embedder: Embedder, order: list[int], number: int | None) -> None:
    plain = cluster(embedder, TEXTS, clusters=number, top=20)
    permuted = cluster(embedder, [TEXTS[i] for i in order], clusters=number, top=20)
    assert {frozenset(order[i] for i in part) for part in parts(permuted)} == parts(plain)
    assert sorted(order[i] for i in permuted.outliers) == plain.outliers


@settings(max_examples=100, deadline=None)
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


def test_the_exemplar_is_nearest_the_centre_and_cohesion_the_mean_of_pairs(embedder: Embedder) -> None:
    entry = cluster(embedder, TEXTS, clusters=4, top=20).clusters[0]
    vectors = embedder.embed([TEXTS[i] for i in entry.members]).vectors.astype(np.float64)
    centre = vectors.mean(axis=0)
    assert entry.exemplar == entry.members[int(np.argmax(vectors @ centre))]
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    assert entry.cohesion == pytest.approx(pairs.mean(), abs=1e-4)


def test_terms_tell_a_cluster_from_the_others_and_hold_no_stop_words(embedder: Embedder) -> None:
    for entry in cluster(embedder, TEXTS, clusters=4, top=20).clusters:
        theme = " ".join(TEXTS[i] for i in entry.members).lower()
        others = " ".join(text for i, text in enumerate(TEXTS) if i not in entry.members).lower()
        assert len(entry.terms) == 5
        assert all(term in theme for term in entry.terms)
        assert not set(entry.terms) & {"the", "and", "my", "all", "of", "in"}
        assert entry.terms[0] not in others


def test_a_text_near_nothing_is_an_outlier(embedder: Embedder) -> None:
    found = cluster(embedder, [*TEXTS, "Prime numbers are infinite in number."], top=21)
    assert found.outliers == [20]
    assert found.outlier_count == 1


def test_texts_that_are_all_close_are_one_cluster(embedder: Embedder) -> None:
    texts = ["The meeting is on Friday.", "The meeting takes place on Friday.", "Our meeting is on Friday."]
    found = cluster(embedder, texts)
    assert [entry.size for entry in found.clusters] == [3]


def test_three_unrelated_texts_are_no_cluster_at_all(embedder: Embedder) -> None:
    found = cluster(embedder, ["Tomatoes need sun.", "Prime numbers are infinite.", "He lost the court case."])
    assert (found.clusters, found.outliers) == ([], [0, 1, 2])


def test_two_thousand_texts_are_grouped_whatever_is_listed(embedder: Embedder) -> None:
    found = cluster(embedder, sentences(2000), top=2000)
    assert sum(entry.size for entry in found.clusters) + found.outlier_count == 2000
    assert all(len(entry.members) == entry.size for entry in found.clusters)
    short = cluster(embedder, sentences(2000))
    assert len(short.clusters) + short.more == len(found.clusters)


def test_contractions_and_words_of_every_cluster_are_no_terms() -> None:
    groups = [
        ["The app doesn't start and they've noticed.", "Der Start der App ist langsam."],
        ["My parcel's late, it hasn't come.", "Das Paket ist da, der Bote nicht."],
    ]
    terms = {term for group in distinguishing_terms(groups) for term in group}
    assert {"start", "app"} <= terms
    assert not terms & {"doesn", "hasn", "ve", "der", "ist"}
