"""Group items by theme."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS, AnswerBudget
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Items, Selection, select_items
from mcp_server_embeddings.tools.parameters import IdField, Ids, Range, SaveAs, Source, Tag, Texts, WhereFilter
from mcp_server_embeddings.tools.results import Cluster, ClusterPart, ClusterResult, ItemText
from mcp_server_embeddings.tools.saving import check_save_as, save_items
from mcp_server_embeddings.tools.sentences import headline
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.terms import distinguishing_terms
from mcp_server_embeddings.tools.texts import snippet
from mcp_server_embeddings.vectors.blocks import Watch
from mcp_server_embeddings.vectors.clustering import Group, Grouping, clustered, distinct_points, ward_tree
from mcp_server_embeddings.vectors.scores import Vectors

_PREFERRED_CHARACTERS = 7_500
"""Of the whole answer; members are shortened to keep within. The whole budget serves where that is not enough."""

_MEMBER_CHARACTERS = (80, 65, 50)
"""Characters of a typical item, a title or a first sentence: the most with which every cluster fits."""

_HEADLINE_CHARACTERS = 500
"""Characters of an item in which its title or first sentence is found."""

_LOOKED_AT = 4
"""Items looked at for each to show: copies of one are shown once."""

_FEWEST_DIVIDED = 8
"""Items of a cluster that is divided again."""

_PART_TERMS = 3
_TERM_CHARACTERS = 1_000
"""Characters of each item that terms are found in."""


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
    """Group items by theme. Deterministic; how the number is chosen and what an outlier is: ``clustered``.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts, or a map from id to text.
        clusters: How many, up to the number of different items; None to have it chosen.
        members: How many typical items of each cluster to show, 1 to 50.
        levels: 2 to divide each cluster again, as far as it has themes of its own; an item of the cluster near none of
            them is in no part.
        source: In place of ``texts``; see ``Sources.open``.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata fits.
        save_as: Writes a row for each item with ``cluster`` and, of two levels, ``part``.
        tag: Stores the cluster of each item as metadata of the collection's items under this name.
        sources: Where sources are looked up.
        output_dir: Where ``save_as`` writes.

    Returns:
        Clusters, largest first, numbered from 0. Each item is in one of them or an outlier. ``terms`` are the words
        that tell the cluster from the others.

    Raises:
        InputError: There is one item, ``clusters`` is out of range, or see ``select_items``.
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
    wanted = None if clusters is None else min(clusters, distinct_points(tree))
    if wanted != clusters:
        items.notes.append(f"there are only {wanted:,} different meanings, so there are no more clusters")
    grouping = clustered(vectors, tree, wanted, weak=weak, close=close, watch=watch)
    numbers = _numbers(len(items), grouping)
    divided = [_divided(vectors, group, weak, close, watch) if levels > 1 else [] for group in grouping.groups]
    columns: dict[str, list[Cell]] = {"cluster": list(numbers)}
    parts = {"part": _part_ids(len(items), divided)} if levels > 1 else {}
    file = save_items(items, sources, output_dir, save_as, columns | parts, tag)
    if tag is not None:
        items.tag(tag, numbers)
    shown, left_out = _fitting(items, grouping, divided, members)
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


def _numbers(size: int, grouping: Grouping) -> list[int | None]:
    """Return the cluster of each item, None of an outlier."""
    numbers: list[int | None] = [None] * size
    for number, group in enumerate(grouping.groups):
        for position in group.members:
            numbers[position] = number
    return numbers


def _divided(vectors: Vectors, group: Group, weak: float, close: float, watch: Watch) -> list[Group]:
    """Return the clusters inside a cluster, by the positions of all items; none where it is of one piece."""
    if len(group.members) < _FEWEST_DIVIDED:
        return []
    inside = vectors[group.members]
    tree = ward_tree(inside)
    if distinct_points(tree) < 2:
        return []
    parts = clustered(inside, tree, None, weak=weak, close=close, watch=watch).groups
    return [Group([group.members[at] for at in part.members], part.cohesion) for part in parts] if parts[1:] else []


def _part_ids(size: int, divided: list[list[Group]]) -> list[Cell]:
    ids: list[Cell] = [None] * size
    for number, parts in enumerate(divided):
        for at, part in enumerate(parts):
            for position in part.members:
                ids[position] = f"{number}.{at}"
    return ids


def _fitting(items: Items, grouping: Grouping, divided: list[list[Group]], members: int) -> tuple[list[Cluster], int]:
    """Return clusters with as many members as let all of them fit, and how many do not fit even so.

    Members are shortened before there are fewer. Parts have one member each, and none where they do not fit otherwise.
    """
    texts = items.texts(length=_TERM_CHARACTERS)

    def terms_of(groups: list[Group]) -> list[list[str]]:
        return distinguishing_terms([[texts[member] for member in group.members] for group in groups])

    terms, part_terms = terms_of(grouping.groups), [terms_of(parts) if parts else [] for parts in divided]
    shortest = _MEMBER_CHARACTERS[-1]
    sizes = [(members, 1, length, _PREFERRED_CHARACTERS) for length in _MEMBER_CHARACTERS]
    sizes += [(number, 1, shortest, ANSWER_CHARACTERS) for number in range(members, 0, -1)]
    for number, in_parts, length, characters in [*sizes, (1, 0, shortest, ANSWER_CHARACTERS)]:
        clusters = [
            Cluster(
                id=at,
                size=len(group.members),
                terms=words,
                members=_typical(group, items, number, length),
                parts=[
                    ClusterPart(
                        id=f"{at}.{place}",
                        size=len(part.members),
                        terms=part_words[:_PART_TERMS],
                        members=_typical(part, items, in_parts, length),
                    )
                    for place, (part, part_words) in enumerate(zip(divided[at], part_terms[at], strict=True))
                ],
            )
            for at, (group, words) in enumerate(zip(grouping.groups, terms, strict=True))
        ]
        fitting = AnswerBudget(characters).take(clusters)
        if fitting == len(clusters):
            if number < members:
                items.notes.append(f"{number} members of each cluster fit, not {members}; save_as writes every item")
            break
    return clusters[:fitting], len(clusters) - fitting


def _typical(group: Group, items: Items, number: int, length: int) -> list[ItemText]:
    """Return the members nearest the centre by their headlines; copies count once."""
    looked_at = group.members[: _LOOKED_AT * number]
    shown: dict[str, int] = {}
    for at, text in zip(looked_at, items.texts(looked_at, _HEADLINE_CHARACTERS), strict=True):
        shown.setdefault(snippet(headline(text), length), at)
    return [ItemText(id=items.ids[at], text=text) for text, at in list(shown.items())[:number]]
