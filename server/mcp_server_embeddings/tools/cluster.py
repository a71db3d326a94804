"""Group items by theme."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, AnswerBudget
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.parameters import IdField, Ids, Range, SaveAs, Source, Tag, Texts, WhereFilter
from mcp_server_embeddings.tools.results import Cluster, ClusterPart, ClusterResult, ItemText
from mcp_server_embeddings.tools.saving import check_save_as, save_items
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sentences import headline
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.tools.texts import snippet
from mcp_server_embeddings.vectors.blocks import Watch
from mcp_server_embeddings.vectors.clustering import Group, Grouping, clustered, distinct_points, ward_tree
from mcp_server_embeddings.vectors.scores import Vectors

Label = TypeVar("Label", int, str)

_PREFERRED_CHARACTERS = 7_500
"""Preferred size of the whole answer: members are shortened to stay within it. If even the shortest do not fit, the
full budget is used."""

_MEMBER_CHARACTERS = (80, 65, 50)
"""Maximum characters of an item's title or first sentence: the first length at which all clusters fit is used."""

_HEADLINE_CHARACTERS = 500
"""Leading characters of an item that are searched for its title or first sentence."""

_CANDIDATES_PER_ITEM = 4
"""Candidates per item to show, because identical headlines are shown once."""

_MIN_DIVIDED = 8
"""Minimum size of a cluster that is divided again."""

_PART_TERMS = 3
_TERM_CHARACTERS = 1_000
"""Leading characters of each item that are searched for terms."""


@tool(
    title="Group items by theme",
    description=(
        "Finds the themes of many texts: feedback, tickets, papers. Use it to see what a list, table, folder or "
        "collection is about. Not for kinds you can name: use classify; not for repeats: use deduplicate. Returns "
        "every cluster with size, terms and typical items; name themes from those."
    ),
    purpose="find the kinds there are",
    effect="destroys",  # a tag replaces what an earlier one stored
)
def cluster(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts")] = None,
    *,
    clusters: Annotated[int | None, Field(description="absent: chosen", json_schema_extra={"minimum": 1})] = None,
    members: Annotated[int, Range(1, 50), Field(description="shown of each")] = 3,
    levels: Annotated[int, Range(1, 2), Field(description="2: clusters inside clusters")] = 1,
    source: Source = None,
    id_field: IdField = None,
    ids: Ids = None,
    where: WhereFilter = None,
    save_as: SaveAs = None,
    tag: Tag = None,
    sources: Sources | None = None,
    output_dir: Path | None = None,
) -> ClusterResult:
    """Group items by theme. The result is deterministic.

    ``clustered`` documents how the number of clusters is chosen and which items are outliers.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts, or a map from id to text.
        clusters: Number of clusters, up to the number of distinct items; None to choose it.
        members: Maximum number of typical items to show per cluster, 1 to 50.
        levels: 2 to divide each cluster into parts if it has subthemes; an item near none of them is in no part.
        source: Replaces ``texts``; see ``Sources.open``.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata matches.
        save_as: File name for a table with one row per item, with ``cluster`` and, for two levels, ``part``.
        tag: Metadata name under which the cluster of each item is stored in the collection.
        sources: Resolves ``source``.
        output_dir: The folder for ``save_as``.

    Returns:
        Clusters, largest first, numbered from 0. Each item is in one cluster or is an outlier. ``terms`` are the words
        that distinguish a cluster from the others.

    Raises:
        InputError: There is only one item, ``clusters`` is out of range, or ``select_items`` rejects the items.
        OperatorError: The model cannot be used, or a file cannot be written.

    Example:
        >>> cluster(embedder, ["red apples", "green apples", "a broken bike"]).clusters[0].size
        2
    """
    check_save_as(output_dir, save_as)
    items = select_items(embedder, sources, texts, Selection(source, id_field, ids, where))
    items.check_tag(tag)
    if len(items) < 2:
        raise InputError(f"{items.label} has 1 item, which has no groups; give 2 or more")
    if clusters is not None and not 1 <= clusters <= len(items):
        raise InputError(
            f"clusters={clusters} is out of range for {len(items):,} items; allowed: 1 to {len(items):,}, or leave it "
            "out to have the number chosen"
        )
    vectors = items.embed(embedder)
    weak, _, close, _ = embedder.calibration().edges
    watch = Watch(cancelled=embedder.call.raise_if_cancelled)
    tree = ward_tree(vectors)
    count = None if clusters is None else min(clusters, distinct_points(tree))
    if count != clusters:
        items.notes.append(f"there are only {count:,} different meanings, so there are no more clusters")
    grouping = clustered(vectors, tree, count, weak=weak, close=close, watch=watch)
    numbers = _labels(len(items), enumerate(grouping.groups))
    parts_by_cluster = [_divide(vectors, group, weak, close, watch) if levels > 1 else [] for group in grouping.groups]
    columns: dict[str, Sequence[Cell]] = {"cluster": numbers}
    if levels > 1:
        numbered = [
            (f"{at}.{part_at}", part) for at, parts in enumerate(parts_by_cluster) for part_at, part in enumerate(parts)
        ]
        columns["part"] = _labels(len(items), numbered)
    file = save_items(items, sources, output_dir, save_as, columns, tag)
    if tag is not None:
        items.tag(tag, numbers)
    shown, left_out = _fit_clusters(items, grouping, parts_by_cluster, members)
    if left_out:
        items.notes.append(f"{left_out:,} smaller clusters do not fit; pass fewer members or clusters, or save_as")
    return ClusterResult(
        model=embedder.identity().short,
        notes=items.notes,
        folder=items.folder,
        clusters=shown,
        outliers=len(grouping.outliers),
        file=file,
    )


def _labels(size: int, groups: Iterable[tuple[Label, Group]]) -> list[Label | None]:
    """Return the label of the group of each item; None for an item in no group."""
    labels: list[Label | None] = [None] * size
    for label, group in groups:
        for position in group.members:
            labels[position] = label
    return labels


def _divide(vectors: Vectors, group: Group, weak: float, close: float, watch: Watch) -> list[Group]:
    """Divide a cluster into parts, as positions in ``vectors``; return an empty list if it has no subthemes."""
    if len(group.members) < _MIN_DIVIDED:
        return []
    member_vectors = vectors[group.members]
    tree = ward_tree(member_vectors)
    if distinct_points(tree) < 2:
        return []
    parts = clustered(member_vectors, tree, None, weak=weak, close=close, watch=watch).groups
    return [Group([group.members[at] for at in part.members], part.cohesion) for part in parts] if parts[1:] else []


def _fit_clusters(
    items: Items, grouping: Grouping, parts_by_cluster: list[list[Group]], members: int
) -> tuple[list[Cluster], int]:
    """Return the clusters with as many members as allow all clusters to fit, and the number that still do not fit.

    Member texts are shortened before members are dropped. A part shows one member, or none as a last resort.
    """
    texts = items.texts(length=_TERM_CHARACTERS)

    def terms_of(groups: list[Group]) -> list[list[str]]:
        return distinguishing_terms([[texts[member] for member in group.members] for group in groups])

    terms, part_terms = terms_of(grouping.groups), [terms_of(parts) if parts else [] for parts in parts_by_cluster]
    shortest = _MEMBER_CHARACTERS[-1]
    sizes = [(members, 1, length, _PREFERRED_CHARACTERS) for length in _MEMBER_CHARACTERS]
    sizes += [(per_cluster, 1, shortest, ANSWER_CHARACTERS) for per_cluster in range(members, 0, -1)]
    for per_cluster, members_per_part, length, characters in [*sizes, (1, 0, shortest, ANSWER_CHARACTERS)]:
        clusters = [
            Cluster(
                id=at,
                size=len(group.members),
                terms=words,
                members=_typical_members(group, items, per_cluster, length),
                parts=[
                    ClusterPart(
                        id=f"{at}.{part_at}",
                        size=len(part.members),
                        terms=part_words[:_PART_TERMS],
                        members=_typical_members(part, items, members_per_part, length),
                    )
                    for part_at, (part, part_words) in enumerate(zip(parts_by_cluster[at], part_terms[at], strict=True))
                ],
            )
            for at, (group, words) in enumerate(zip(grouping.groups, terms, strict=True))
        ]
        fitting_count = AnswerBudget(characters).take(clusters)
        if fitting_count == len(clusters):
            if per_cluster < members:
                items.notes.append(
                    f"{per_cluster} members of each cluster fit, not {members}; save_as writes every item"
                )
            break
    return clusters[:fitting_count], len(clusters) - fitting_count


def _typical_members(group: Group, items: Items, number: int, length: int) -> list[ItemText]:
    """Return the headlines of the members nearest the centre, without duplicates."""
    candidates = group.members[: _CANDIDATES_PER_ITEM * number]
    shown: dict[str, int] = {}
    for at, text in zip(candidates, items.texts(candidates, _HEADLINE_CHARACTERS), strict=True):
        shown.setdefault(snippet(headline(text), length), at)
    return [ItemText(id=items.ids[at], text=text) for text, at in list(shown.items())[:number]]
