"""What a tool works on: items with the caller's own ids, sent with the call or named by a source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.reading.cells import LINES
from mcp_server_embeddings.reading.parsing import LINES_SUFFIX
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.coercion import Id, TextsOrMap
from mcp_server_embeddings.tools.sources import OpenedSource, Sources
from mcp_server_embeddings.tools.texts import MAX_TEXTS, check_size, snippet, well_formed
from mcp_server_embeddings.vectors.scores import Vectors

_SHOWN_IDS = 10
"""Ids that a note or an error names."""

_MOST_PATHS = 50
"""Texts of a call that may all be paths by mistake."""

_SHOWN_CHARACTERS = 40
"""Characters of each of them."""


@dataclass(frozen=True, slots=True)
class Items:
    """Items, checked but not encoded yet.

    Attributes:
        label: What errors call them: the parameter, or the source.
        ids: The caller's own: keys or positions of texts that were sent, ids or numbers of rows, paths; empty where
            they are not listed.
        notes: Sentences for the answer about what was skipped or averaged; tools add theirs.
        sent: The texts, where they came with the call.
        collection: Where they are stored; None where they were sent.
        keys: Theirs in the collection.
        folder: The ids are paths below it; empty where they are not.
        table: Path of the table they are rows of; empty where they are not.
        path_source: They are read from files, and not from a collection of the user's.
        selection: What was asked for.
        numbered: The ids are the numbers of a table's rows.
        fresh: They are known to be as their files are now.
    """

    label: str
    ids: Sequence[Id]
    notes: list[str]
    sent: Sequence[str] = ()
    collection: Collection | None = None
    keys: Sequence[int] = ()
    folder: str = ""
    table: str = ""
    path_source: bool = False
    selection: "Selection | None" = None
    numbered: bool = False
    fresh: bool = True

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.ids)

    def texts(self, positions: Sequence[int] | None = None, length: int | None = None) -> list[str]:
        """Return the words of items.

        Args:
            positions: Which; None for all.
            length: Their first characters only, at most so many.
        """
        chosen = range(len(self)) if positions is None else positions
        if self.collection is None:
            return [self.sent[position][:length] for position in chosen]
        return self.collection.item_texts([self.keys[position] for position in chosen], length)

    def embed(self, embedder: Embedder, role: Role = "symmetric", long_text: LongText = "window") -> Vectors:
        """Return one vector for each item, shape ``(n, d)``.

        Stored vectors are those of documents; a document's is the mean of its passages'. They are used as they are,
        without a token read, where the model has the same prompt for ``role``; otherwise the texts are encoded anew.

        Raises:
            CollectionError: An item was removed meanwhile.
            TextTooLongError: See ``long_text`` of ``Embedder.embed``.
            OperatorError: The model cannot be used.
        """
        prompts = embedder.identity().prompts
        if self.collection is not None and prompts.of(role) == prompts.document:
            return self.collection.item_vectors(self.keys)
        embedded = embedder.embed(self.texts(), role=role, long_text=long_text)
        self._note_cut(embedded.windowed, "are longer than the model reads; each is the mean of its windows")
        self._note_cut(embedded.truncated, "are longer than the model reads; only their beginnings were read")
        return embedded.vectors

    def snippets(self, positions: Sequence[int], length: int) -> list[str]:
        """Return the beginnings of items on one line each, at most ``length`` characters."""
        return [snippet(text, length) for text in self.texts(positions, 4 * length)]

    def id_of(self, document: str) -> Id:
        """Return the caller's own id of a stored item."""
        return int(document) if self.numbered else document.removeprefix(self.folder)

    def names_of(self, key: Id) -> list[str]:
        """Return what the caller may mean by an id: itself, a path whole, or one that begins with the source's name."""
        name = str(key).removeprefix(self.folder)
        source = self.selection.source if self.selection and self.folder else None
        return [name, name.removeprefix(f"{source.strip().rstrip('/')}/")] if source else [name]

    def nearest_id(self, key: Id) -> str:
        """Suggest an id where one is not there."""
        if self.numbered and not str(key).isdecimal():
            return "its ids are row numbers, from 1; pass id_field, a column, to use that one's values"
        return nearest(str(key), [str(one) for one in self.ids[:10_000]])

    def ids_of(self, positions: Sequence[int]) -> list[Id]:
        """Return the ids at positions."""
        return [self.ids[position] for position in positions]

    def tag(self, name: str, values: Sequence[str | int | None]) -> None:
        """Store a value of each item as its metadata, for ``where``; None removes what an earlier call stored.

        Raises:
            CollectionError: The collection was removed meanwhile.
            StorageError: The store cannot be written.
        """
        if self.collection is not None:
            self.collection.annotate(
                name, {f"{self.folder}{key}": value for key, value in zip(self.ids, values, strict=True)}
            )
            tagged = sum(value is not None for value in values)
            self.notes.append(f"{tagged:,} items were tagged with {name!r}, for where")

    def check_tag(self, name: str | None) -> None:
        """Refuse a tag where nothing could keep it, before anything is computed.

        Raises:
            InputError: The items are not of a collection, or the name is blank or too long.
        """
        if name is None:
            return
        if self.collection is None or self.path_source:
            raise InputError(
                f"tag={name!r} stores results in a collection, and {self.label} is none; use save_as, or "
                "put the items into a collection with collection_add"
            )
        if not name.strip() or len(name) > 100 or name == "path":
            raise InputError(f"invalid tag {name[:100]!r}; give a name of 1 to 100 characters, not 'path'")

    def _note_cut(self, positions: Sequence[int], what: str) -> None:
        if positions:
            self.notes.append(f"{len(positions):,} of {self.label} {what}: {shown_ids(self.ids_of(positions))}")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items of a source a call is about; the parameters of the same names."""

    source: str | None = None
    id_field: str | None = None
    ids: Sequence[Id] | None = None
    where: Where | None = None


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
        embedder: The engine; encodes what is new in a source.
        sources: Where sources are looked up; None where only texts can be sent.
        texts: What was sent: texts, or a map from id to text.
        selection: The source and which of its items.
        name: The parameter, for errors: ``texts``, ``left`` or ``right``.
        notes: Where notes are added; a new list by default.
        needs_model: False where a collection's vectors are not compared, so that they may be another model's.
        listed: False where stored items are not needed one by one, so that a call does not take longer the more there
            are; those named by ``ids`` are listed all the same.
        patience: See ``Sources.open``.

    Raises:
        InputError: Both or neither came, all texts are blank, there are too many, what was sent is probably the name of
            a source, or an id is unknown.
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
    """Return the folder that the ids of both sides are paths below; where there are two, a note says so."""
    if lefts.folder == rights.folder:
        return lefts.folder
    for side, items in (("left", lefts), ("right", rights)):
        if items.folder:
            notes.append(f"ids of {side} are paths below {items.folder}")
    return ""


def shown_ids(ids: Sequence[Id]) -> str:
    """Return ids as a sentence lists them, the first ten."""
    more = f" and {len(ids) - _SHOWN_IDS:,} more" if len(ids) > _SHOWN_IDS else ""
    return ", ".join(snippet(str(key), _SHOWN_CHARACTERS) for key in ids[:_SHOWN_IDS]) + more


def _sent_items(sources: Sources | None, texts: TextsOrMap, name: str, notes: list[str]) -> Items:
    by_id: dict[Id, str] = {}
    if isinstance(texts, Mapping):
        by_id.update(texts.items())
    else:
        by_id.update(enumerate([texts] if isinstance(texts, str) else texts))
    if not by_id:
        raise InputError(f"{name} is an empty list; give 1 to {MAX_TEXTS:,} texts, or a source")
    ids = [key for key, text in by_id.items() if text.strip()]
    if not ids:
        raise InputError(f"{name} has only blank texts; each needs at least one visible character")
    if sources is not None:
        _check_mistaken(sources, list(by_id.values()), name)
    if len(ids) < len(by_id):
        blank = [key for key, text in by_id.items() if not text.strip()]
        notes.append(f"{len(blank):,} blank texts of {name} were skipped: {shown_ids(blank)}")
    checked = [well_formed(by_id[key]) for key in ids]
    check_size(checked)
    return Items(name, ids, notes, sent=checked)


def _check_mistaken(sources: Sources, texts: Sequence[str], name: str) -> None:
    """Refuse what probably names the texts that are meant: one name of a source, or paths alone.

    Raises:
        InputError: It does.
    """
    parameter = "source" if name == "texts" else f"{name}_source"
    if len(texts) == 1 and (mistaken := sources.mistaken(texts[0])):
        raise InputError(
            f"{name} is one text, {texts[0][:100]!r}, which is {mistaken}; pass {parameter} to use what is in it, "
            "or a longer text to work on these words"
        )
    if 1 < len(texts) <= _MOST_PATHS and all(map(sources.is_path, texts)):
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
        fits = "; nothing fits where" if where else ""
        advice = "" if where else "; put some into it with collection_add, or name a path for what is in files"
        raise InputError(f"{opened.label} has no items{fits}{advice}")
    folder = opened.folder
    if folder is None:
        # The same whatever is selected, so that the ids of one answer fit another.
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
    """Refuse a name that no item has: it would silently select nothing.

    Raises:
        InputError: There is one.
    """
    known = collection.metadata_names()
    for name in where:
        if name not in known:
            advice = nearest(name, known) if known else "its items have no metadata"
            raise InputError(f"where has the name {name!r}, which no item of {label} has; {advice}")


def _common_folder(first: str, last: str) -> str:
    """Return the folder that ids are paths in, with its separator, from the first and the last of them.

    What the two begin with, all between them do. Empty where they are no paths.
    """
    if not all(key.startswith("/") or key[1:3] == ":\\" for key in (first, last)):
        return ""
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    cut = max(first.rfind("/", 0, same), first.rfind("\\", 0, same)) + 1
    return first[:cut] if cut > 1 else ""


def _positions(items: Items, wanted: Sequence[Id]) -> list[int]:
    """Return where the wanted ids are, in the order of the items.

    Raises:
        InputError: One is not there.
    """
    places = {str(key): position for position, key in enumerate(items.ids)}
    named = [next((name for name in items.names_of(key) if name in places), None) for key in wanted]
    unknown = [key for key, name in zip(wanted, named, strict=True) if name is None]
    if unknown:
        raise InputError(
            f"{len(unknown):,} of {len(wanted):,} ids are not in {items.label}, the first is "
            f"{str(unknown[0])[:100]!r}; {items.nearest_id(unknown[0])}"
        )
    return sorted({places[name] for name in named if name is not None})
