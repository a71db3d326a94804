"""What themes a list of texts has."""

from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.answer_budget import AnswerBudget, Entry
from mcp_server_embeddings.tools.corpus import Corpus, corpus_of
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.parameters import StoredTexts, Texts, Top
from mcp_server_embeddings.tools.results import Cluster, ClusterResult, Usage
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.tools.texts import check_size
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.clustering import Group, distinct_points, grouped, ward_tree
from mcp_server_embeddings.vectors.scores import scores

_OUTLIERS_SHARE = 0.2
"""Of the answer, at most, for outliers."""


@tool(
    title="Group texts by theme",
    description=(
        "Groups texts by theme. Use it to see what a list is about: feedback, tickets, search results. Not for kinds "
        "you can name: use classify; not for repeats: use deduplicate. Returns clusters with size, members by "
        "position, exemplar (the most typical text), terms and cohesion, and outliers that fit none. Name a theme "
        "from its exemplar and terms."
    ),
    purpose="find the kinds there are",
)
def cluster(
    embedder: Embedder,
    texts: Annotated[Texts | None, Field(description="texts to group")] = None,
    *,
    collection: StoredTexts = None,
    clusters: Annotated[
        int | None, Field(description="how many; absent: chosen", json_schema_extra={"minimum": 1})
    ] = None,
    top: Top = None,
) -> ClusterResult:
    """Group texts by theme. Deterministic; how the number is chosen and what an outlier is: ``grouped``.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts with 2,000,000 characters in all.
        collection: In place of ``texts``: its chunks, 2 to 2,000.
        clusters: How many, up to the number of different texts; None to have it chosen.
        top: How many clusters, members of each and outliers to list, 1 to 2,000; None for as many as fit a small
            answer.

    Returns:
        Clusters, largest first, numbered from 0. Each text is in one of them or an outlier. The exemplar is the
        member nearest the centre; ``terms`` are the words that tell the cluster from the others; the band of a
        cluster is that of its cohesion.

    Raises:
        InputError: There is one text, ``clusters`` is out of range, a text is blank, or see ``corpus_of``.
        OperatorError: The model cannot be used.
    """
    room = AnswerBudget(top)
    corpus = corpus_of(texts, collection)
    _check(corpus, clusters)
    embedded = corpus.embed(embedder)
    calibration = embedder.calibration()
    tree = ward_tree(embedded.vectors)
    _check_distinct(clusters, distinct_points(tree))
    weak, _, close, _ = calibration.edges
    cosines = scores(embedded.vectors, embedded.vectors, "cosine")
    grouping = grouped(embedded.vectors, cosines, tree, clusters, weak=weak, close=close)
    terms = distinguishing_terms([[corpus.texts[member] for member in group.members] for group in grouping.groups])

    def shown(members: int) -> list[Cluster]:
        pairs = enumerate(zip(grouping.groups, terms, strict=True))
        return [_cluster(number, group, words, calibration, members) for number, (group, words) in pairs]

    outliers = grouping.outliers[: room.take(corpus.entries(grouping.outliers, ","), _OUTLIERS_SHARE)]
    listed, members = room.take_members(
        lambda members: [_entry(entry, corpus) for entry in shown(members)],
        max((len(group.members) for group in grouping.groups), default=0),
    )
    entries = shown(members)[:listed]
    return ClusterResult(
        model=embedder.identity().short,
        usage=Usage.of(embedded),
        more=len(grouping.groups) - listed,
        clusters=entries,
        outliers=outliers,
        outlier_count=len(grouping.outliers),
        recalled=corpus.recalled([*(member for entry in entries for member in entry.members), *outliers]),
    )


def _check(corpus: Corpus, clusters: int | None) -> None:
    check_size(corpus.sent)
    texts = len(corpus.texts)
    if texts < 2:
        raise InputError(f"{corpus.name} has 1 text, which has no groups; give 2 or more")
    if clusters is not None and not 1 <= clusters <= texts:
        raise InputError(
            f"clusters={clusters} is out of range for {texts:,} texts; allowed: 1 to {texts:,}, or leave it out to "
            "have the number chosen"
        )


def _check_distinct(clusters: int | None, points: int) -> None:
    if clusters is not None and clusters > points:
        raise InputError(
            f"clusters={clusters} is more than there are different meanings among these texts, {points:,}; give 1 to "
            f"{points:,}, or leave it out to have the number chosen"
        )


def _entry(entry: Cluster, corpus: Corpus) -> Entry:
    """Of texts that were sent, the words name the exemplar alone; members are positions."""
    stored = corpus.source is not None
    return corpus.entry(entry.model_dump_json(), [entry.exemplar, *(entry.members if stored else [])])


def _cluster(number: int, group: Group, terms: list[str], calibration: Calibration, members: int) -> Cluster:
    cohesion, percentile, band = calibration.interpret(group.cohesion)
    return Cluster(
        id=number,
        size=len(group.members),
        members=group.members[:members],
        exemplar=group.members[0],
        terms=terms,
        cohesion=cohesion,
        percentile=percentile,
        band=band,
    )
