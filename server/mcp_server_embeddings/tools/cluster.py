"""What themes a list of texts has."""

from collections.abc import Sequence

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.listing import Entry, Room, positions
from mcp_server_embeddings.tools.results import Cluster, Clustered, Usage
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.tools.texts import check_size, checked_texts, snippet
from mcp_server_embeddings.vectors.calibration import Calibration
from mcp_server_embeddings.vectors.clustering import Group, distinct_points, grouped, ward_tree
from mcp_server_embeddings.vectors.similarity import scores

_OUTLIERS_SHARE = 0.2
"""Of the answer, at most, for outliers."""


def cluster(
    embedder: Embedder, texts: Sequence[str], *, clusters: int | None = None, top: int | None = None
) -> Clustered:
    """Group texts by theme. Deterministic; how the number is chosen and what an outlier is: ``grouped``.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts with 2,000,000 characters in all.
        clusters: How many, up to the number of different texts; None to have it chosen.
        top: How many clusters, members of each and outliers to list, 1 to 2,000; None for as many as fit a small
            answer.

    Returns:
        Clusters, largest first, numbered from 0. Each text is in one of them or an outlier. The exemplar is the
        member nearest the centre; ``terms`` are the words that tell the cluster from the others; the band of a
        cluster is that of its cohesion.

    Raises:
        InputError: There is one text, ``clusters`` is out of range, or a text is blank.
        OperatorError: The model cannot be used.
    """
    room = Room(embedder, top)
    texts = checked_texts("texts", texts)
    check_size(texts)
    if len(texts) < 2:
        raise InputError("texts has 1 text, which has no groups; give 2 or more")
    _check_number(clusters, len(texts))
    embedded = embedder.embed(texts)
    calibration = embedder.calibration()
    tree = ward_tree(embedded.vectors)
    _check_distinct(clusters, distinct_points(tree))
    weak, _, close, _ = calibration.edges
    cosines = scores(embedded.vectors, embedded.vectors, "cosine")
    grouping = grouped(embedded.vectors, cosines, tree, clusters, weak=weak, close=close)
    terms = distinguishing_terms([[texts[member] for member in group.members] for group in grouping.groups])

    def shown(members: int) -> list[Cluster]:
        pairs = enumerate(zip(grouping.groups, terms, strict=True))
        return [_cluster(number, group, words, calibration, members) for number, (group, words) in pairs]

    outliers = room.take(positions(grouping.outliers, texts, ","), _OUTLIERS_SHARE)
    listed, members = room.take_members(
        lambda members: [Entry(entry.model_dump_json(), snippet(texts[entry.exemplar])) for entry in shown(members)],
        max((len(group.members) for group in grouping.groups), default=0),
    )
    return Clustered(
        model=embedder.identity().short,
        usage=Usage.of(embedded),
        more=len(grouping.groups) - listed,
        clusters=shown(members)[:listed],
        outliers=grouping.outliers[:outliers],
        outlier_count=len(grouping.outliers),
    )


def _check_number(clusters: int | None, texts: int) -> None:
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


def _cluster(number: int, group: Group, terms: list[str], calibration: Calibration, members: int) -> Cluster:
    cohesion, percentile, band = calibration.judged(group.cohesion)
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
