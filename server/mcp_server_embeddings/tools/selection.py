"""Select the items of a call: texts that were sent, or those of a source."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import LINES
from mcp_server_embeddings.reading.parsing import LINES_SUFFIX
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.coercion import Id, TextsOrMap
from mcp_server_embeddings.tools.items import Items, Selection, shown_ids
from mcp_server_embeddings.tools.sources import OpenedSource, Sources
from mcp_server_embeddings.tools.texts import MAX_TEXTS, check_size, well_formed

_MAX_PATHS = 50
"""Maximum number of texts that are checked for being paths passed by mistake."""


def select_items(
    embedder: Embedder,
    sources: Sources | None,
    texts: TextsOrMap | None,
    selection: Selection,
    *,
    name: str = "texts",
    notes: list[str] | None = None,
    needs_model: bool = True,
    listed: bool = True,
    patience: float | None = None,
) -> Items:
    """Return the items of a call: the texts that were sent, or those of a source.

    Args:
        embedder: The engine; encodes new texts of a source.
        sources: Opens sources; None if only texts can be sent.
        texts: The sent texts, or a map from id to text.
        selection: The source and the selection of its items.
        name: The parameter, for errors: ``texts``, ``left`` or ``right``.
        notes: The list that notes are added to; a new list by default.
        needs_model: False if the vectors of a collection are not compared, so that they may belong to another model.
        listed: False if stored items are not needed individually, so that the time does not grow with their number;
            items named by ``ids`` are listed nevertheless.
        patience: See ``Sources.open``.

    Raises:
        InputError: Both or neither of texts and source were passed, all texts are blank, there are too many, they
            probably name a source, or an id is unknown.
        CollectionError: The collection has vectors of another model.
        OperatorError: The model or the store cannot be used.

    Example:
        >>> select_items(embedder, None, {"a1": "an apple"}, Selection()).ids
        ['a1']
    """
    notes = [] if notes is None else notes
    parameter = "source" if name == "texts" else f"{name}_source"
    if texts is not None and selection.source is not None:
        raise InputError(f"pass either {name} or {parameter}, not both")
    if selection.source is not None:
        if sources is None:
            raise InputError(f"{parameter}={selection.source!r} needs sources=Sources(store, reader)")
        opened = sources.open(
            embedder, selection.source, selection.id_field, needs_model=needs_model, patience=patience
        )
        return _stored_items(opened, selection, notes, listed or selection.ids is not None)
    if texts is None:
        raise InputError(
            f"pass {name}, a list of texts, or {parameter}, the name of a collection or a path such as "
            "'docs/' or 'tickets.csv#message'"
        )
    for unused in ("id_field", "ids", "where"):
        if getattr(selection, unused) is not None:
            raise InputError(f"{unused} selects items of a source; it has no meaning for {name} that are sent")
    return _sent_items(sources, texts, name, notes)


def common_folder(lefts: Items, rights: Items, notes: list[str]) -> str:
    """Return the folder that the ids of both sides are relative to; if they differ, add notes and return ``""``."""
    if lefts.folder == rights.folder:
        return lefts.folder
    for side, items in (("left", lefts), ("right", rights)):
        if items.folder:
            notes.append(f"ids of {side} are paths below {items.folder}")
    return ""


def _sent_items(sources: Sources | None, texts: TextsOrMap, name: str, notes: list[str]) -> Items:
    by_id: dict[Id, str] = {}
    sent = [texts] if isinstance(texts, str) else texts
    by_id.update(sent.items() if isinstance(sent, Mapping) else enumerate(sent))
    if not by_id:
        raise InputError(f"{name} is an empty list; give 1 to {MAX_TEXTS:,} texts, or a source")
    ids = [key for key, text in by_id.items() if text.strip()]
    if not ids:
        raise InputError(f"{name} has only blank texts; each needs at least one visible character")
    if sources is not None:
        _check_not_sources(sources, list(by_id.values()), name)
    if len(ids) < len(by_id):
        blank = [key for key, text in by_id.items() if not text.strip()]
        notes.append(f"{len(blank):,} blank texts of {name} were skipped: {shown_ids(blank)}")
    checked = [well_formed(by_id[key]) for key in ids]
    check_size(checked)
    return Items(name, ids, notes, sent=checked)


def _check_not_sources(sources: Sources, texts: Sequence[str], name: str) -> None:
    """Reject texts that probably name a source instead: a single name of a source, or only paths.

    Raises:
        InputError: They do.
    """
    parameter = "source" if name == "texts" else f"{name}_source"
    if len(texts) == 1 and (kind := sources.reference_kind(texts[0])):
        raise InputError(
            f"{name} is one text, {texts[0][:100]!r}, which is {kind}; pass {parameter} to use what is in it, "
            "or a longer text to work on these words"
        )
    if 1 < len(texts) <= _MAX_PATHS and all(map(sources.is_path, texts)):
        raise InputError(
            f"{name} has {len(texts)} paths that can be read, such as {texts[0][:100]!r}; pass {parameter}, a folder "
            "or a pattern, to use what is in the files, or longer texts to work on these words"
        )


def _stored_items(opened: OpenedSource, selection: Selection, notes: list[str], listed: bool) -> Items:
    notes += [note for note in opened.notes if note not in notes]  # both sides may be one source
    collection, where = opened.collection, selection.where
    if where:
        _check_names(collection, opened.label, where)
    found = collection.items(where) if listed else None
    if not (found.ids if found is not None else collection.id_range(where)):
        advice = "put some into it with collection_add, or name a path for what is in files"
        raise InputError(f"{opened.label} has no items; {'nothing fits where' if where else advice}")
    folder = opened.folder
    if folder is None:
        # Computed over the whole collection, so that ids do not depend on the selection.
        folder = _common_folder(*(collection.id_range() or ("", "")))
    items = Items(
        opened.label,
        (),
        notes,
        collection=collection,
        folder=folder,
        table=opened.path,
        path_source=opened.folder is not None,
        selection=selection,
        numbered=opened.numbered,
        fresh=opened.fresh,
    )
    if found is None:
        return items
    ids = [items.id_of(key) for key in found.ids]
    chosen: Sequence[int] = range(len(ids)) if opened.order is None else opened.order(found.ids)
    if selection.ids is not None:
        ordered = replace(items, ids=[ids[position] for position in chosen])
        chosen = [chosen[position] for position in _positions(ordered, selection.ids)]
    if opened.folder and len(ids) == 1 and str(ids[0]).lower().endswith(LINES_SUFFIX):
        notes.append(f"{opened.label} is one item; {opened.label}#{LINES} makes each of its lines one")
    return replace(
        items, ids=[ids[position] for position in chosen], keys=[found.keys[position] for position in chosen]
    )


def _check_names(collection: Collection, label: str, where: Where) -> None:
    """Reject metadata names that no item has: they would silently select nothing.

    Raises:
        InputError: A name is unknown.
    """
    known = collection.metadata_names()
    for name in where:
        if name not in known:
            advice = nearest(name, known) if known else "its items have no metadata"
            raise InputError(f"where has the name {name!r}, which no item of {label} has; {advice}")


def _common_folder(first: str, last: str) -> str:
    """Return the common folder of ids, with its separator, from the first and the last of them in sorted order.

    All ids between the two share their common prefix. Empty if they are not paths.
    """
    if not all(key.startswith("/") or key[1:3] == ":\\" for key in (first, last)):
        return ""
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    cut = max(first.rfind("/", 0, same), first.rfind("\\", 0, same)) + 1
    return first[:cut] if cut > 1 else ""


def _positions(items: Items, wanted: Sequence[Id]) -> list[int]:
    """Return the positions of the wanted ids, in the order of the items.

    Raises:
        InputError: An id is unknown.
    """
    places = {str(key): position for position, key in enumerate(items.ids)}
    named = [next((name for name in items.possible_ids(key) if name in places), None) for key in wanted]
    unknown = [key for key, name in zip(wanted, named, strict=True) if name is None]
    if unknown:
        raise InputError(
            f"{len(unknown):,} of {len(wanted):,} ids are not in {items.label}, the first is "
            f"{str(unknown[0])[:100]!r}; {items.nearest_id(unknown[0])}"
        )
    return sorted({places[name] for name in named if name is not None})
