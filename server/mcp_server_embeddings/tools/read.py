"""Read the texts of items and passages by id."""

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.estimate import EstimatedTokens
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Chunk
from mcp_server_embeddings.tools.answer_budget import ANSWER_CHARACTERS
from mcp_server_embeddings.tools.coercion import Id
from mcp_server_embeddings.tools.declaration import tool
from mcp_server_embeddings.tools.items import Items, Selection, shown_ids
from mcp_server_embeddings.tools.locating import lines_or_page, page_of
from mcp_server_embeddings.tools.parameters import ONE_SOURCE, IdField, Ids, Range
from mcp_server_embeddings.tools.results import ReadItem, ReadResult
from mcp_server_embeddings.tools.selection import select_items
from mcp_server_embeddings.tools.sources import Sources
from mcp_server_embeddings.tools.texts import CONTROL

_MAX_TOKENS = 100_000
_DEFAULT_CHARACTERS = ANSWER_CHARACTERS - 600

_COUNTER = EstimatedTokens()

_LINE_END = re.compile("\n")
_LINES = re.compile(r"\A(.+):([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?\Z", re.DOTALL)
"""``notes.md:40-52``: a document with the lines or pages of a hit."""


@tool(
    title="Read items",
    description=(
        "Returns the text of items or passages by the ids in an answer. Use it after search or "
        "cluster. Not to find: use search. Returns texts with lines or page, within a budget."
    ),
    purpose="read what was found",
)
def read(
    embedder: Embedder,
    source: Annotated[str, ONE_SOURCE, Field(description="collection or path")],
    ids: Ids,
    *,
    id_field: IdField = None,
    around: Annotated[int, Range(0, 20), Field(description="passages before and after")] = 0,
    max_tokens: Annotated[int | None, Range(1, _MAX_TOKENS), Field(description="default about 2,000")] = None,
    sources: Sources | None = None,
) -> ReadResult:
    """Read items of a source, whole or in part.

    Args:
        embedder: The engine; encodes new texts of files. A collection needs no model.
        source: See ``Sources.open``.
        ids: Ids of items or of parts of items: lines as ``notes.md:40-52``, pages of a PDF as ``paper.pdf:3``, the
            second passage as ``notes.md#2``.
        id_field: See ``Sources.open``.
        around: How many passages before and after a part to read too, 0 to 20.
        max_tokens: Budget for all texts together, counted by a fixed estimate; the rest is cut, with a note.
        sources: Opens the source.

    Raises:
        InputError: None of the ids is known, or see ``Sources.open``.
        OperatorError: The store cannot be read.

    Example:
        >>> read(embedder, "notes", ["monday.md"], sources=sources).items[0].text
        'Call the plumber.'
    """
    if not ids:
        raise InputError("ids is an empty list; give ids as another answer names them")
    items = select_items(embedder, sources, None, Selection(source, id_field), needs_model=False)
    assert items.collection is not None  # noqa: S101 - items of a source are stored
    named = [_read_item(items, items.collection, key, around) for key in ids]
    found = [item for item in named if item is not None]
    missing = [key for key, item in zip(ids, named, strict=True) if item is None]
    if missing:
        verb = "are" if len(missing) > 1 else "is"
        message = f"{shown_ids(missing)} {verb} not in {items.label}; {items.nearest_id(missing[0])}"
        if not found:
            raise InputError(message)
        items.notes.append(message)
    listed, left_out = _fit_budget(found, max_tokens)
    if left_out:
        items.notes.append(f"{left_out}; pass a larger max_tokens, or fewer ids")
    return ReadResult(model=items.collection.record.model, notes=items.notes, folder=items.folder, items=listed)


def _read_item(items: Items, collection: Collection, key: Id, around: int) -> ReadItem | None:
    """Return the item or the part of an item with an id; None if the id is unknown."""
    for name in items.possible_ids(key):
        document, lines = f"{items.folder}{name}", None
        chunks = collection.chunks_of(document)
        cited = _LINES.fullmatch(document)
        if not chunks and cited:
            document, lines = cited[1], (int(cited[2]), int(cited[3] or cited[2]))
            chunks = collection.chunks_of(document)
        if chunks:
            break
    else:
        return None
    passage = None if document == chunks[0].document else chunks[0].part
    document = chunks[0].document
    whole, parts = collection.texts_of([document])[0], collection.chunks_of(document)
    row = collection.stored([document])[document].file not in ("", document)
    start, end = 0, len(whole)
    if passage is not None:
        selected = [part for part in parts if abs(part.part - passage) <= around]
        start, end = selected[0].start, selected[-1].stop
    elif lines is not None:
        start, end = _line_range(whole, parts, lines, around)
    place = lines_or_page(document, whole, start, end, parts[0].heading, row=row)
    return ReadItem(id=key, text=CONTROL.sub(" ", whole[start:end]), lines=place.lines, page=place.page)


def _line_range(text: str, parts: Sequence[Chunk], lines: tuple[int, int], around: int) -> tuple[int, int]:
    """Return the character range of lines, or of pages if the document has them, with the passages around them.

    Raises:
        InputError: The document does not have these lines.
    """
    paged = [part for part in parts if page_of(part.heading) in range(lines[0], lines[1] + 1)]
    if paged:
        start, end = paged[0].start, paged[-1].stop
    else:
        starts = [0, *(found.end() for found in _LINE_END.finditer(text)), len(text) + 1]
        if not 1 <= lines[0] <= lines[1] or lines[0] >= len(starts):
            raise InputError(f"lines {lines[0]} to {lines[1]} are not in a text of {len(starts) - 1:,} lines")
        start, end = starts[lines[0] - 1], min(starts[min(lines[1], len(starts) - 1)] - 1, len(text))
    if around:
        touched = [part.part for part in parts if part.stop > start and part.start < end] or [0]
        selected = [part for part in parts if touched[0] - around <= part.part <= touched[-1] + around]
        start, end = min(start, selected[0].start), max(end, selected[-1].stop)
    return start, end


def _fit_budget(found: Sequence[ReadItem], max_tokens: int | None) -> tuple[list[ReadItem], str]:
    """Return the items that fit the budget, the last one cut, and a note on the rest."""
    listed: list[ReadItem] = []
    left = _DEFAULT_CHARACTERS if max_tokens is None else max_tokens
    for at, item in enumerate(found):
        cost = len(item.text) if max_tokens is None else _COUNTER.count([item.text])[0]
        if cost <= left:
            listed.append(item)
            left -= cost
            continue
        share = int(len(item.text) * left / cost)
        if share > 0:
            listed.append(item.model_copy(update={"text": item.text[:share].rstrip() + "…"}))
        rest = len(found) - at - 1
        message = f"{item.id} was cut after {share:,} of {len(item.text):,} characters"
        return listed, message + (f", and {rest:,} more were left out" if rest else "")
    return listed, ""
