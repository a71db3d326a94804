"""Match two lists one to one: unchanged and changed pairs, and items that only one list has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import Cell
from mcp_server_embeddings.tools.answer_budget import AnswerBudget
from mcp_server_embeddings.tools.coercion import Id
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.differences import CHANGED, Differences
from mcp_server_embeddings.tools.items import Items, Selection
from mcp_server_embeddings.tools.output_file import renamed, write_table
from mcp_server_embeddings.tools.pairs import pair_differences, shown_pairs
from mcp_server_embeddings.tools.parameters import MAX_TOP, THRESHOLD, IdField, Range, SaveAs, Source, Texts
from mcp_server_embeddings.tools.results import AlignCounts, AlignResult, ItemText, OutputFile
from mcp_server_embeddings.tools.saving import check_save_as, own_columns
from mcp_server_embeddings.tools.selection import common_folder, select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.vectors.blocks import Watch
from mcp_server_embeddings.vectors.matching import matched

_UNMATCHED_CHARACTERS = (160, 80, 40)
"""Maximum characters of an unmatched item's text: the first length at which all items of the side fit is used."""

_MAX_UNMATCHED_TEXTS = 100
"""A side with more unmatched items than this lists ids only, because the texts would not fit."""

_UNMATCHED_SHARE = 0.4
"""Share of the answer for the unmatched items of each side."""

_DECIMALS = 4


class _Match(NamedTuple):
    """A matched pair: the positions of its items, their cosine, and their differences."""

    left: int
    right: int
    score: float
    differences: Differences

    @property
    def is_changed(self) -> bool:
        return self.differences.changed >= CHANGED


@tool(
    title="Compare two lists",
    description=(
        "Matches two lists one to one by meaning: a diff that sees through rewording. Use it for two versions of "
        "requirements, contracts or tables, or to join two files. Not to search: use search. Returns changed pairs "
        "with texts and what differs (numbers, negation, words), most changed first, same pairs, what one side "
        "only has, counts."
    ),
    purpose="compare two versions of a list",
    effect="writes",
)
def align(
    embedder: Embedder,
    left: Annotated[Texts, Field(description="old texts")] = None,
    right: Annotated[Texts, Field(description="new texts")] = None,
    *,
    left_source: Source = None,
    right_source: Source = None,
    id_field: IdField = None,
    threshold: Annotated[
        float | None, THRESHOLD, Field(description="lowest cosine; absent: where 'related' begins")
    ] = None,
    top: Annotated[int, Range(1, MAX_TOP), Field(description="changed pairs")] = 20,
    save_as: SaveAs = None,
    sources: Sources | None = None,
    output_dir: Path | None = None,
) -> AlignResult:
    """Match two lists one to one by meaning.

    The matching maximises the sum, over all pairs, of the cosine above the threshold, so an item may be matched with
    its second-best partner if that improves the total. A matched pair is ``changed`` if its differences make a change
    of meaning likely (``differences``), otherwise ``same``.

    Args:
        embedder: The engine.
        left: Texts, or a map from id to text.
        right: As ``left``; both sides together have at most 2,000 texts and 2,000,000 characters.
        left_source: Replaces ``left``; see ``Sources.open``.
        right_source: Replaces ``right``.
        id_field: The id column of source tables.
        threshold: The lowest cosine of a match, 0 to 1; None for the lower edge of ``related``, which 19 of 20
            rewordings reach.
        top: Maximum number of changed pairs to show, 1 to 1,000.
        save_as: File name for a table with one row per pair and per unmatched item, with the columns of both sides.
        sources: Resolves ``left_source`` and ``right_source``.
        output_dir: The folder for ``save_as``.

    Returns:
        The matches; ``changed`` is sorted by likelihood of a change, highest first, then by score, lowest first.

    Raises:
        InputError: A side is missing or given twice, or ``select_items`` rejects it.
        OperatorError: The model cannot be used, or a file cannot be written.

    Example:
        >>> align(embedder, ["Pay in 30 days."], ["Pay within 60 days."]).changed[0].differs.numbers
        ['30 days → 60 days']
    """
    check_save_as(output_dir, save_as)
    missing = [
        f"{side} (or {side}_source)"
        for side, sent, source in (("left", left, left_source), ("right", right, right_source))
        if sent is None and source is None
    ]
    if missing:
        raise InputError(f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing; give both sides")
    notes: list[str] = []
    selections = [Selection(source, None if source is None else id_field) for source in (left_source, right_source)]
    lefts = select_items(embedder, sources, left, selections[0], name="left", notes=notes)
    rights = select_items(embedder, sources, right, selections[1], name="right", notes=notes)
    vectors = lefts.embed(embedder), rights.embed(embedder)
    cutoff = round(embedder.calibration().edges[1], _DECIMALS) if threshold is None else threshold
    matching, exact = matched(*vectors, cutoff, Watch(embedder.call.raise_if_cancelled))
    if not exact:
        notes.append("only the 50 nearest neighbours of each item were considered for the matching")
    rows, columns = matching.rows.tolist(), matching.columns.tolist()
    pairs = list(zip(rows, columns, matching.scores.tolist(), strict=True))
    differences = pair_differences(embedder, lefts, rights, pairs)
    matches = [_Match(*pair, found) for pair, found in zip(pairs, differences, strict=True)]
    changed = [match for match in matches if match.is_changed]
    changed.sort(key=lambda match: (-match.differences.changed, match.score, match.left))
    same = [match for match in matches if not match.is_changed]
    left_only = sorted(set(range(len(lefts))) - {match.left for match in matches})
    right_only = sorted(set(range(len(rights))) - {match.right for match in matches})
    file = _save(lefts, rights, matches, left_only, right_only, sources, output_dir, save_as)
    if file is not None and save_as is not None:
        notes.extend(renamed(save_as, file.path))
    budget = AnswerBudget()
    listed = changed[:top]
    shown = shown_pairs(lefts, rights, [match[:3] for match in listed], [match.differences for match in listed])
    shown = shown[: budget.take(shown, share=0.7)]
    left_items, right_items = (_unmatched_items(*side, budget) for side in ((lefts, left_only), (rights, right_only)))
    same_ids: list[list[Id]] = [[lefts.ids[match.left], rights.ids[match.right]] for match in same]
    same_ids = same_ids[: budget.take(same_ids)]
    counts = AlignCounts(changed=len(changed), same=len(same), left_only=len(left_only), right_only=len(right_only))
    listed_counts = (len(shown), len(same_ids), len(left_items), len(right_items))
    if listed_counts != tuple(counts.model_dump().values()):
        notes.append("not everything fits; counts has all, and save_as writes every pair")
    return AlignResult(
        model=embedder.identity().short,
        notes=notes,
        folder=common_folder(lefts, rights, notes),
        changed=shown,
        same=same_ids,
        left_only=left_items,
        right_only=right_items,
        counts=counts,
        threshold=cutoff,
        file=file,
    )


def _unmatched_items(items: Items, positions: list[int], budget: AnswerBudget) -> list[ItemText]:
    """List the unmatched items of one side, with the longest texts that fit for all of them."""
    for characters in _UNMATCHED_CHARACTERS if len(positions) <= _MAX_UNMATCHED_TEXTS else ():
        texts = items.snippets(positions, characters)
        listed = [ItemText(id=items.ids[at], text=text) for at, text in zip(positions, texts, strict=True)]
        if budget.take_all(listed, share=_UNMATCHED_SHARE):
            return listed
    listed = [ItemText(id=key) for key in items.ids_of(positions)]
    return listed[: budget.take(listed, share=_UNMATCHED_SHARE)]


def _save(
    lefts: Items,
    rights: Items,
    matches: list[_Match],
    left_only: list[int],
    right_only: list[int],
    sources: Sources | None,
    output_dir: Path | None,
    name: str | None,
) -> OutputFile | None:
    if name is None or output_dir is None:
        return None
    rows: list[tuple[int | None, int | None, str, float | None]] = [
        (match.left, match.right, "changed" if match.is_changed else "same", round(match.score, _DECIMALS))
        for match in matches
    ]
    rows += [(at, None, "left only", None) for at in left_only]
    rows += [(None, at, "right only", None) for at in right_only]
    left_positions, right_positions = [left for left, _, _, _ in rows], [right for _, right, _, _ in rows]
    columns: dict[str, Sequence[Cell]] = {
        "id": list(range(1, len(rows) + 1)),
        "left": _values_at(lefts.ids, left_positions),
        "right": _values_at(rights.ids, right_positions),
        "match": [kind for _, _, kind, _ in rows],
        "score": [score for _, _, _, score in rows],
    }
    for side, items, positions in (("left", lefts, left_positions), ("right", rights, right_positions)):
        for column, values in own_columns(items, sources).items():
            columns[f"{side}_{column}"] = _values_at(values, positions)
    return write_table(output_dir, name, columns)


def _values_at(values: Sequence[Cell], positions: Sequence[int | None]) -> list[Cell]:
    return [None if at is None else values[at] for at in positions]
