"""Find items with the same meaning."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.tools.answer_budget import AnswerBudget
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Selection
from mcp_server_embeddings.tools.pairs import contradicting, pair_differences, shown_pairs
from mcp_server_embeddings.tools.parameters import (
    MAX_TOP,
    THRESHOLD,
    IdField,
    Ids,
    Range,
    SaveAs,
    Source,
    Texts,
    WhereFilter,
)
from mcp_server_embeddings.tools.results import DeduplicateResult
from mcp_server_embeddings.tools.saving import check_save_as, save_items
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.blocks import Watch, pairs_above
from mcp_server_embeddings.vectors.duplicates import (
    MAX_PAIRS,
    complete_groups_of_pairs,
    nearest_threshold,
    pairs_of_kept,
    suggested_threshold,
)

Keep = Literal["longest", "first"]

_DOUBTFUL_WIDTH = 0.05
"""Width of the range of cosines below the threshold that is searched for doubtful pairs."""

_MAX_COMPARED = 1_000
"""Maximum merged pairs whose words are compared, lowest cosine first: 0.2 s for short texts, 3 s for the longest."""

_MAX_LISTED = 20
"""Maximum items listed per group if not all groups fit."""

_DECIMALS = 4


@tool(
    title="Find duplicates",
    description=(
        "Finds texts that say the same, copied or reworded. Use it to clean a list, table or folder. Not for a "
        "shared subject: use cluster; not between two lists: use align. Returns groups of ids, the one to keep "
        "first, and doubtful pairs with their texts, nearest the threshold; if those differ, call again with a "
        "higher threshold."
    ),
    purpose="find repeats",
    effect="writes",
)
def deduplicate(
    embedder: Embedder,
    texts: Annotated[Texts, Field(description="texts")] = None,
    *,
    threshold: Annotated[float | None, THRESHOLD, Field(description="lowest cosine; absent: suggested")] = None,
    keep: Annotated[Keep, Field(description="of a group")] = "longest",
    source: Source = None,
    id_field: IdField = None,
    ids: Ids = None,
    where: WhereFilter = None,
    top: Annotated[int, Range(1, MAX_TOP), Field(description="doubtful pairs")] = 10,
    save_as: SaveAs = None,
    sources: Sources | None = None,
    output_dir: Path | None = None,
) -> DeduplicateResult:
    """Find items with the same meaning.

    Every two items of a group reach the threshold. An item similar to two dissimilar items is grouped with one of them.

    Args:
        embedder: The engine.
        texts: 2 to 2,000 texts, or a map from id to text.
        threshold: The lowest cosine of duplicates, 0 to 1; None for the suggested one.
        keep: The item of a group to keep: the longest, or the first; ties are broken by order.
        source: Replaces ``texts``; see ``Sources.open``.
        id_field: See ``Sources.open``.
        ids: Only these items of the source.
        where: Only items whose metadata matches.
        top: Maximum number of doubtful pairs to show, 1 to 1,000.
        save_as: File name for a table with one row per item, with ``keep`` (true or false) and ``duplicate_of``.
        sources: Resolves ``source``.
        output_dir: The folder for ``save_as``.

    Returns:
        Groups, largest first. ``doubtful``: up to half are merged pairs whose numbers or negations differ, which
        vectors barely show; then the pairs nearest the threshold. ``suggested_threshold`` is in the widest gap between
        the scores of these items, from the lower edge of ``close`` to that of ``same``.

    Raises:
        InputError: There is only one item, or ``select_items`` rejects the items.
        OperatorError: The model cannot be used, or a file cannot be written.

    Example:
        >>> deduplicate(embedder, ["Where is my card?", "Where's my card?", "Close my account"]).groups
        [[0, 1]]
    """
    check_save_as(output_dir, save_as)
    items = select_items(embedder, sources, texts, Selection(source, id_field, ids, where))
    if len(items) < 2:
        raise InputError(f"{items.label} has 1 item, which has no duplicate; give 2 or more")
    vectors = items.embed(embedder)
    _, _, close, same = embedder.calibration().edges
    watch = Watch(embedder.call.raise_if_cancelled)
    lowest = close if threshold is None else max(0.0, min(close, threshold - _DOUBTFUL_WIDTH))
    pairs = pairs_above(vectors, None, lowest, MAX_PAIRS, watch)
    suggested = suggested_threshold(pairs.scores, close, same, pairs.complete_above)
    cutoff = suggested if threshold is None else threshold
    if cutoff <= pairs.complete_above:
        cutoff = pairs.complete_above + 1e-6
        items.notes.append(
            f"over {MAX_PAIRS:,} pairs reach the threshold, so it was raised to {cutoff:.4f}; pass a higher one"
        )
    found = complete_groups_of_pairs(pairs, len(items), cutoff, watch)
    duplicates = [at for group in found for at in group] if keep == "longest" else []
    lengths = {at: len(text) for at, text in zip(duplicates, items.texts(duplicates), strict=True)}
    groups = [sorted(group, key=lambda at: (-lengths.get(at, 0), at)) for group in found]
    groups.sort(key=lambda group: (-len(group), min(group)))
    kept_instead: list[int | None] = [None] * len(items)
    for group in groups:
        for at in group[1:]:
            kept_instead[at] = group[0]
    columns: dict[str, Sequence[Cell]] = {
        "keep": [at is None for at in kept_instead],
        "duplicate_of": [None if at is None else items.ids[at] for at in kept_instead],
    }
    file = save_items(items, sources, output_dir, save_as, columns)
    budget = AnswerBudget()
    contradictions = contradicting(items, pairs_of_kept(pairs, kept_instead, _MAX_COMPARED))
    if contradictions:
        items.notes.append(
            f"{len(contradictions):,} of the merged pairs differ in numbers or negation; they come first in doubtful"
        )
    shown = list(dict.fromkeys([*contradictions[: (top + 1) // 2], *nearest_threshold(pairs, cutoff, top)]))[:top]
    doubtful = shown_pairs(items, items, shown, pair_differences(embedder, items, items, shown))
    doubtful = doubtful[: budget.take(doubtful, share=0.7)]
    listed = [items.ids_of(group) for group in groups]
    fitting = len(listed)
    if not budget.take_all(listed):
        listed = [group[:_MAX_LISTED] for group in listed]
        fitting = budget.take(listed)
        items.notes.append(
            f"{fitting:,} of {len(listed):,} groups are listed, the largest, with {_MAX_LISTED} items at most; "
            "save_as writes every item"
        )
    return DeduplicateResult(
        model=embedder.identity().short,
        notes=items.notes,
        folder=items.folder,
        groups=listed[:fitting],
        doubtful=doubtful,
        unique=len(items) - sum(len(group) - 1 for group in groups),
        threshold=round(cutoff, _DECIMALS),
        suggested_threshold=round(suggested, _DECIMALS),
        file=file,
    )
