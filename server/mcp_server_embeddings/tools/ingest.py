"""From texts to documents with vectors, encoding only what no chunk of the collection has yet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.store.records import Metadata, NewChunk, NewDocument, PutResult, Vector, as_json, digest
from mcp_server_embeddings.tools.chunking import chunk_limit, chunk_places


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A document before it has vectors; see ``NewDocument``.

    Attributes:
        id: Unique in the collection.
        text: All of it.
        sections: Its sections; no chunk crosses from one into the next.
        metadata: None leaves a stored document's as it is.
        file: Where it was read; empty for a text that was sent.
        file_digest: Of the whole file's content.
    """

    id: str
    text: str
    sections: tuple[Section, ...]
    metadata: Metadata | None
    file: str = ""
    file_digest: bytes = b""

    def of_unfinished_file(self) -> "SourceDocument":
        """The same with the digest of no file: more of its file is to come."""
        return replace(self, file_digest=b"")


class Ingester:
    """Puts documents into one collection.

    Attributes:
        tokens: Tokens encoded so far.
    """

    def __init__(self, embedder: Embedder, target: Collection) -> None:
        self.tokens = 0
        self._embedder = embedder
        self._target = target
        self._limit = chunk_limit(embedder)

    def put(self, documents: Sequence[SourceDocument]) -> PutResult:
        """Cut, encode and commit; on disk when this returns.

        Raises:
            CollectionError: The collection would grow too large.
            OperatorError: The model cannot be used, or the store cannot be written.
            CallCancelledError: The caller cancelled; nothing of these was stored.
        """
        self._embedder.call.raise_if_cancelled()
        distinct = {document.id: document for document in documents}
        same = self._unchanged(list(distinct.values()))
        places = {key: () if key in same else tuple(self._places(document)) for key, document in distinct.items()}
        texts = {
            key: [document.text[place.start : place.end] for place in places[key]] for key, document in distinct.items()
        }
        vectors = self._vectors([text for parts in texts.values() for text in parts])
        new = [
            NewDocument(
                id=document.id,
                text=document.text,
                metadata=document.metadata,
                chunks=tuple(
                    NewChunk(place.start, place.end, place.heading, vectors[digest(text)])
                    for place, text in zip(places[key], texts[key], strict=True)
                ),
                file=document.file,
                file_digest=document.file_digest,
            )
            for key, document in distinct.items()
            if key not in same or document.file
        ]
        written = self._target.put(new) if new else PutResult()
        # Neither repeats nor what is stored as it is were sent, except to say where files are.
        return replace(written, unchanged=written.unchanged + len(documents) - len(new))

    def _places(self, document: SourceDocument) -> list[Section]:
        return chunk_places(document.text, document.sections, self._counted, self._limit)

    def _counted(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; a long document is counted in many calls, and its caller may give up between."""
        self._embedder.call.raise_if_cancelled()
        return self._embedder.count_tokens(texts)

    def _unchanged(self, documents: Sequence[SourceDocument]) -> set[str]:
        """Ids of documents that are stored as they are."""
        stored = self._target.stored([document.id for document in documents])
        return {
            document.id
            for document in documents
            if document.id in stored
            and stored[document.id].digest == digest(document.text)
            and (document.metadata is None or stored[document.id].metadata == as_json(document.metadata))
        }

    def _vectors(self, texts: Sequence[str]) -> dict[bytes, Vector]:
        """One vector a different text, by its digest."""
        different = {digest(text): text for text in texts}
        vectors = dict(self._target.known_vectors(list(different)))
        missing = {key: text for key, text in different.items() if key not in vectors}
        if missing:
            embedded = self._embedder.embed(list(missing.values()), role="document")
            self.tokens += embedded.tokens
            vectors |= dict(zip(missing, embedded.vectors, strict=True))
        return vectors
