"""What a tool works on: texts that were sent, or the chunks of a collection."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mcp_server_embeddings.engine.embedder import Embedder, Embeddings
from mcp_server_embeddings.engine.identity import Role
from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import Chunk
from mcp_server_embeddings.tools.answer_budget import Entry, positions
from mcp_server_embeddings.tools.results import Excerpt
from mcp_server_embeddings.tools.texts import MAX_TEXTS, checked_texts, snippet


@dataclass(frozen=True, slots=True)
class Corpus:
    """The texts a tool works on, checked but not encoded yet.

    Attributes:
        name: What errors call it: the parameter, or the collection.
        texts: One or more.
        source: The collection they are from; None where they were sent.
        chunks: The chunks they are, one a text; empty where they were sent.
    """

    name: str
    texts: list[str]
    source: Collection | None = None
    chunks: tuple[Chunk, ...] = ()

    @property
    def sent(self) -> list[str]:
        """The texts that came with the call, for its limits; none of a collection."""
        return self.texts if self.source is None else []

    def embed(self, embedder: Embedder, role: Role = "symmetric") -> Embeddings:
        """One vector a text, the same whether the texts were sent or are stored.

        Stored vectors are those of documents. They are used as they are, without a token read, where the model has
        the same prompt for ``role``; otherwise the texts are encoded anew.

        Raises:
            CollectionError: A chunk was removed meanwhile.
            OperatorError: The model cannot be used.
        """
        prompts = embedder.identity().prompts
        if self.source is None or prompts.of(role) != prompts.document:
            return embedder.embed(self.texts, role=role)
        return Embeddings(self.source.vectors([chunk.key for chunk in self.chunks]), 0, (), ())

    def recalled(self, listed: Iterable[int]) -> list[Excerpt]:
        """Which texts stand at the positions that an answer lists; nothing where the caller sent them and knows.

        Args:
            listed: The positions; each is recalled once.
        """
        if self.source is None:
            return []
        return [
            Excerpt(index=position, id=self.chunks[position].id, snippet=snippet(self.texts[position]))
            for position in dict.fromkeys(listed)
        ]

    def entry(self, data: str, named: Sequence[int]) -> Entry:
        """An entry of an answer that names these positions.

        Args:
            data: Its JSON.
            named: The positions, as often as the words name them.
        """
        if self.source is None:
            return Entry(data, " ".join(snippet(self.texts[position]) for position in named))
        words = [f'[{self.chunks[position].id}] "{snippet(self.texts[position])}"' for position in named]
        return Entry(data, ", ".join(words), "".join(found.model_dump_json() + "," for found in self.recalled(named)))

    def entries(self, rows: Sequence[int], sign: str = "") -> list[Entry]:
        """Entries that are positions alone, as ``listing.positions``."""
        if self.source is None:
            return positions(rows, self.texts, sign)
        bare = [self.entry(f"{row},", [row]) for row in rows]
        return [Entry(entry.data, sign + entry.recalled, entry.repeated) for entry in bare]


def corpus_of(texts: Sequence[str] | None, collection: Collection | None, name: str = "texts") -> Corpus:
    """The texts that were sent, or all chunks of a collection in the order in which they came.

    Args:
        texts: What was sent; None with a collection.
        collection: What stands in for it.
        name: The parameter, for errors.

    Raises:
        InputError: Both or neither came, a text is blank, or the collection is empty or has over 2,000 chunks.
    """
    if texts is not None and collection is None:
        return Corpus(name, checked_texts(name, texts))
    if texts is not None or collection is None:
        came = "neither" if texts is None else "both"
        raise InputError(
            f"{came} of {name} and collection came; give one of them: {name} to send, or a stored collection"
        )
    chunks = collection.first(MAX_TEXTS + 1)
    if len(chunks) > MAX_TEXTS:
        raise InputError(
            f"collection {collection.name!r} has {collection.current().chunks:,} chunks, and this tool, which compares "
            f"all with all, takes at most {MAX_TEXTS:,}; find those of interest with collection_search or rank, and "
            "send their texts"
        )
    if not chunks:
        raise empty(collection)
    return Corpus(f"collection {collection.name!r}", [chunk.text for chunk in chunks], collection, tuple(chunks))


def empty(collection: Collection) -> InputError:
    """The error about a collection without texts."""
    return InputError(f"collection {collection.name!r} is empty; put texts into it with collection_add")


def opened(embedder: Embedder, store: CollectionStore, name: str | None) -> Collection | None:
    """The collection of that name, with vectors of this model; None without a name.

    Raises:
        CollectionError: There is no such collection, or it is another model's.
    """
    if name is None:
        return None
    identity = embedder.identity()
    return store.open_for(name, identity.digest, identity.short)
