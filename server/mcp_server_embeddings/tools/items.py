"""The items that a tool works on, with the caller's own ids: texts sent with the call, or the items of a source."""

from collections.abc import Sequence
from dataclasses import dataclass

from mcp_server_embeddings.config import nearest
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.encoder import LongText
from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.where import Where
from mcp_server_embeddings.tools.coercion import Id
from mcp_server_embeddings.tools.texts import snippet
from mcp_server_embeddings.vectors.scores import Vectors

_SHOWN_IDS = 10
"""Maximum number of ids that a note or an error names."""

_ID_CHARACTERS = 40
"""Maximum number of characters shown of each id."""


@dataclass(frozen=True, slots=True)
class Items:
    """Items, checked but not encoded yet.

    Attributes:
        label: Their name in errors: the parameter, or the source.
        ids: The caller's own ids: keys or positions of sent texts, ids or numbers of rows, paths; empty if the items
            are not listed.
        notes: Sentences for the answer about skipped or averaged texts; tools add their own.
        sent: The texts, if they came with the call.
        collection: The collection that stores them; None for sent texts.
        keys: Their keys in the collection.
        folder: The folder that the ids are paths below; empty if they are not paths.
        table: Path of the table whose rows they are; empty otherwise.
        path_source: Whether they are read from files rather than from one of the user's collections.
        selection: The selection that the caller requested.
        numbered: Whether the ids are row numbers of a table.
        fresh: Whether they are known to match the current state of their files.
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
        """Return the number of items."""
        return len(self.ids)

    def texts(self, positions: Sequence[int] | None = None, length: int | None = None) -> list[str]:
        """Return the texts of items.

        Args:
            positions: Positions of the items; None for all.
            length: Maximum number of characters of each text, from its beginning; None for whole texts.
        """
        chosen = range(len(self)) if positions is None else positions
        if self.collection is None:
            return [self.sent[position][:length] for position in chosen]
        return self.collection.item_texts([self.keys[position] for position in chosen], length)

    def embed(self, embedder: Embedder, role: Role = "symmetric", long_text: LongText = "window") -> Vectors:
        """Return one vector for each item, shape ``(n, d)``.

        Stored vectors are those of documents: the mean of the vectors of their passages. They are used without
        encoding anything if the model has the same prompt for ``role``; otherwise the texts are encoded again.

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
        """Return the beginnings of items, each on one line of at most ``length`` characters."""
        return [snippet(text, length) for text in self.texts(positions, 4 * length)]

    def id_of(self, document: str) -> Id:
        """Return the caller's own id of a stored item."""
        return int(document) if self.numbered else document.removeprefix(self.folder)

    def possible_ids(self, key: Id) -> list[str]:
        """Return the ids that the caller may mean: relative to the folder, and without the source's name before it."""
        name = str(key).removeprefix(self.folder)
        source = self.selection.source if self.selection and self.folder else None
        return [name, name.removeprefix(f"{source.strip().rstrip('/')}/")] if source else [name]

    def nearest_id(self, key: Id) -> str:
        """Return advice on an unknown id: the nearest known one, or how the ids are formed."""
        if self.numbered and not str(key).isdecimal():
            return "its ids are row numbers, from 1; pass id_field, a column, to use that one's values"
        return nearest(str(key), [str(one) for one in self.ids[:10_000]])

    def ids_of(self, positions: Sequence[int]) -> list[Id]:
        """Return the ids at positions."""
        return [self.ids[position] for position in positions]

    def tag(self, name: str, values: Sequence[str | int | None]) -> None:
        """Store a value for each item as metadata, for ``where``; None removes the value of an earlier call.

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
        """Reject a tag that could not be stored, before anything is computed.

        Raises:
            InputError: The items are not of a collection, or the name is blank or too long.
        """
        if name is None:
            return
        if self.collection is None or self.path_source:
            raise InputError(
                f"tag={name!r} stores results in a collection, and {self.label} is not one; use save_as, or "
                "put the items into a collection with collection_add"
            )
        if not name.strip() or len(name) > 100 or name == "path":
            raise InputError(f"invalid tag {name[:100]!r}; give a name of 1 to 100 characters, not 'path'")

    def _note_cut(self, positions: Sequence[int], what: str) -> None:
        if positions:
            self.notes.append(f"{len(positions):,} of {self.label} {what}: {shown_ids(self.ids_of(positions))}")


@dataclass(frozen=True, slots=True)
class Selection:
    """The source of a call and the selection of its items, as in the parameters of the same names."""

    source: str | None = None
    id_field: str | None = None
    ids: Sequence[Id] | None = None
    where: Where | None = None


def shown_ids(ids: Sequence[Id]) -> str:
    """Return the first ten ids as a list for a sentence, and the number of the others."""
    more = f" and {len(ids) - _SHOWN_IDS:,} more" if len(ids) > _SHOWN_IDS else ""
    return ", ".join(snippet(str(key), _ID_CHARACTERS) for key in ids[:_SHOWN_IDS]) + more
