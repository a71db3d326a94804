"""Random writes to a collection by two processes, beside a plain dictionary that says what must be there."""

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mcp_server_embeddings.errors import CollectionError
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import Metadata, NewChunk, NewDocument, StoredFile, digest
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from rounds import Rounds
from stores import STORES

DIMENSIONS = 4
MODEL = "model@1"

IDS = st.sampled_from(["a", "b", "c", "d", "a#2", "é\n", "x" * 300])
WORDS = ("apple", "berry", "狐", "n\0l", "🙂")
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)
FILES = st.sampled_from(["", "", "/x.md", "/y.md"])
SCALARS = st.sampled_from([None, True, 0, 1.5, 1 << 70, "", "note", "n\u0000"])
FIELDS = st.dictionaries(st.sampled_from(["kind", "year", "'"]), SCALARS | st.lists(SCALARS, max_size=2), max_size=2)
PATHS = st.sampled_from(["/x.md", "/y.md", "/empty.md"])
SIDES = st.integers(0, 1)


def vector(text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The same for the same text; texts of the same words in another order have another."""
    seed = int.from_bytes(digest(text)[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)


@st.composite
def documents(draw: st.DrawFn) -> NewDocument:
    """Documents whose parts are words, each a chunk."""
    words, chunks, text = draw(TEXTS), [], ""
    for word in words:
        chunks.append(NewChunk(len(text), len(text) + len(word) + 1, "", vector(word)))
        text += f"{word} "
    file = draw(FILES)
    metadata = cast("Metadata | None", draw(st.none() | FIELDS))
    return NewDocument(draw(IDS), text, metadata, tuple(chunks), file, digest(text) if file else b"")


class Expected:
    """What a collection must hold."""

    def __init__(self) -> None:
        self.documents: dict[str, NewDocument] = {}
        self.files: dict[str, bytes] = {}
        self.sources: dict[str, str] = {}

    def put(self, document: NewDocument) -> None:
        """As ``Collection.put`` of one."""
        stored = self.documents.get(document.id)
        metadata = document.metadata if document.metadata is not None or not stored else stored.metadata
        coming = NewDocument(
            document.id, document.text, metadata or {}, document.chunks, document.file, document.file_digest
        )
        if document.file:
            self.files[document.file] = document.file_digest
        if stored and (stored.text, as_stored(stored.metadata)) == (coming.text, as_stored(coming.metadata)):
            self.documents[document.id] = coming  # keeps its place
        else:
            self.documents.pop(document.id, None)
            self.documents[document.id] = coming
        if stored and stored.file != document.file:
            self.forget_unused(stored.file)

    def remove(self, key: str) -> None:
        """As ``Collection.remove`` of one."""
        if key in self.documents:
            self.forget_unused(self.documents.pop(key).file)

    def forget_unused(self, file: str) -> None:
        """A file is forgotten with its last document."""
        if not any(document.file == file for document in self.documents.values()):
            self.files.pop(file, None)

    def forget_file(self, file: str) -> None:
        """As ``Collection.forget_files`` of one."""
        self.documents = {key: document for key, document in self.documents.items() if document.file != file}
        self.files.pop(file, None)


def as_stored(metadata: object) -> str:
    """Tells 1 from True, which Python takes for equal."""
    return repr(sorted(cast("Metadata", metadata).items()))


class StoreMachine(RuleBasedStateMachine):
    """Two stores of one place; each example has a collection of its own there."""

    stores: tuple[CollectionStore, CollectionStore]
    drops_nul = False
    numbers = count()

    @initialize()
    def begin(self) -> None:
        self.name = f"n{next(self.numbers)}"
        self.renew()

    def renew(self) -> None:
        self.expected = Expected()
        self.sides = [store.open_or_create(self.name, "identity", MODEL, DIMENSIONS) for store in self.stores]

    @rule(side=SIDES, batch=st.lists(documents(), min_size=1, max_size=4))
    def put(self, side: int, batch: list[NewDocument]) -> None:
        before = set(self.expected.documents)
        result = self.sides[side].put(batch)
        for document in batch:
            self.expected.put(document)
        assert result.added == len(set(self.expected.documents) - before)
        assert result.added + result.updated + result.unchanged == len(batch)

    @rule(side=SIDES, key=IDS, text=TEXTS)
    def put_without_chunks(self, side: int, key: str, text: list[str]) -> None:
        """Stored only where it is there already; otherwise nothing of the batch is."""
        bare = NewDocument(key, "".join(f"{word} " for word in text), None, ())
        stored = self.expected.documents.get(key)
        other = NewDocument("other", "apple ", {}, (NewChunk(0, 6, "", vector("apple")),))
        if stored and stored.text == bare.text:
            assert self.sides[side].put([bare]).unchanged == 1
            self.expected.put(NewDocument(key, stored.text, None, stored.chunks))
        else:
            with pytest.raises(CollectionError):
                self.sides[side].put([other, bare])

    @rule(side=SIDES, keys=st.lists(IDS, max_size=3))
    def remove(self, side: int, keys: list[str]) -> None:
        there = {key for key in keys if key in self.expected.documents}
        result = self.sides[side].remove(keys)
        for key in keys:
            self.expected.remove(key)
        assert (set(result.ids), result.left) == (there, len(self.expected.documents))

    @rule(side=SIDES, keys=st.lists(IDS, max_size=3))
    def refuse_removal(self, side: int, keys: list[str]) -> None:
        """A removal that is cancelled at the last moment removes nothing."""

        def refuse() -> None:
            raise InterruptedError

        with suppress(InterruptedError):
            self.sides[side].remove(keys, refuse)

    @rule(side=SIDES, name=st.sampled_from(["kind", "label"]), values=st.dictionaries(IDS, SCALARS, max_size=3))
    def annotate(self, side: int, name: str, values: dict[str, str | float | None]) -> None:
        there = [key for key in values if key in self.expected.documents]
        assert self.sides[side].annotate(name, values) == len(there)
        for key in there:
            before = self.expected.documents[key]
            fields = {field: value for field, value in (before.metadata or {}).items() if field != name}
            if values[key] is not None:
                fields[name] = values[key]
            self.expected.documents[key] = NewDocument(
                key, before.text, fields, before.chunks, before.file, before.file_digest
            )

    @rule(side=SIDES, path=PATHS, content=st.binary(min_size=1, max_size=2))
    def keep_file(self, side: int, path: str, content: bytes) -> None:
        self.sides[side].keep_files({path: StoredFile(content, 3, 4)})
        self.expected.files[path] = content

    @rule(side=SIDES, paths=st.lists(PATHS, max_size=2, unique=True))
    def forget_files(self, side: int, paths: list[str]) -> None:
        there = [document for document in self.expected.documents.values() if document.file in paths]
        assert self.sides[side].forget_files(paths) == len(there)
        for path in paths:
            self.expected.forget_file(path)

    @rule(side=SIDES, kept=st.dictionaries(PATHS, st.sampled_from(["", "{}"]), max_size=2), forgotten=st.lists(PATHS))
    def keep_sources(self, side: int, kept: dict[str, str], forgotten: list[str]) -> None:
        self.sides[side].keep_sources(kept, forgotten)
        for path in forgotten:
            self.expected.sources.pop(path, None)
        self.expected.sources |= kept

    @rule(side=SIDES)
    def close(self, side: int) -> None:
        """What is open and in memory comes back on need."""
        self.stores[side].close()
        self.sides = [store.open(self.name) for store in self.stores]

    @rule(side=SIDES)
    def make_anew(self, side: int) -> None:
        """Remove the collection; whoever has it open is told, and the next of its name is another."""
        self.stores[side].remove(self.name)
        old = self.sides
        with pytest.raises(CollectionError):
            old[1 - side].put([])
        self.renew()
        with pytest.raises(CollectionError):
            old[side].remove(["a"])

    @rule(side=SIDES)
    def take_its_place(self, side: int) -> None:
        """Copy all into a successor, as reindexing does, and let that take the place."""
        store, here = self.stores[side], self.sides[side]
        copy, after = store.successor(self.name, "identity", MODEL, DIMENSIONS), 0
        revision = here.current().revision
        while (batch := here.differing(copy, after, 2)).documents:
            copy.put(batch.documents)
            after = batch.last
        copy.keep_files(here.files())
        copy.remove(here.surplus(copy))
        assert not store.replace(self.name, copy.name, revision + 1)
        assert store.replace(self.name, copy.name, revision)
        self.sides = [store.open(self.name) for store in self.stores]

    @rule(side=SIDES, word=st.sampled_from(["apple", "berry", "狐"]), k=st.integers(1, 9))
    def search(self, side: int, word: str, k: int) -> None:
        """The nearest are those with the highest cosines; a word finds exactly the chunks that have it."""
        one = self.sides[side]
        chunks = one.first(1_000)
        (found,) = one.nearest(vector(word)[None, :], k)
        cosines = {chunk.key: cosine(self.word_of(chunk.text), word) for chunk in chunks}
        wanted = sorted(cosines.values(), reverse=True)[:k]
        assert found.total == len(chunks)
        np.testing.assert_allclose(found.cosines, wanted, atol=2e-6)
        np.testing.assert_allclose([cosines[key] for key in found.keys], wanted, atol=2e-6)
        having = {chunk.key for chunk in chunks if self.word_of(chunk.text) == word}
        assert set(one.matching(word, 1_000).keys) == having

    @rule(side=SIDES, kind=st.sampled_from(["note", True, 0, None, 1 << 70]))
    def filter(self, side: int, kind: object) -> None:
        def fits(value: object) -> bool:
            values = value if isinstance(value, list) else [value]
            return any(type(one) is type(kind) and one == kind for one in values)

        wanted = [
            key
            for key, document in self.expected.documents.items()
            if "kind" in (document.metadata or {}) and fits((document.metadata or {})["kind"])
        ]
        assert sorted(self.sides[side].items({"kind": kind}).ids) == sorted(wanted)

    @invariant()
    def all_is_there(self) -> None:
        """As one process sees it, then the other."""
        self.sides.reverse()
        with self.sides[0].reading() as now:
            self.compare(now)

    def compare(self, one: Collection) -> None:
        expected = self.expected.documents
        items = one.items()
        assert items.ids == list(expected)
        texts = [self.text(document.text) for document in expected.values()]
        assert one.item_texts(items.keys) == texts
        assert one.item_texts(items.keys, 7) == [text[:7] for text in texts]
        metadata = [as_stored(fields) for fields in one.item_metadata(items.keys)]
        assert metadata == [as_stored(document.metadata) for document in expected.values()]
        record, chunks = one.current(), one.first(1_000)
        assert (record.documents, record.chunks) == (len(expected), len(chunks))
        vectors = DIMENSIONS * 4 * len(chunks)
        assert record.bytes == sum(len(text.encode()) for text in texts) + vectors
        self.compare_chunks(one)
        files = {path: (file.digest, file.documents) for path, file in one.files().items()}
        counts = {path: sum(d.file == path for d in expected.values()) for path in self.expected.files}
        assert files == {path: (content, counts[path]) for path, content in self.expected.files.items()}
        assert one.sources() == self.expected.sources

    def compare_chunks(self, one: Collection) -> None:
        for key, document in self.expected.documents.items():
            chunks = one.chunks_of(key)
            wanted = [self.text(document.text[chunk.start : chunk.stop]) for chunk in document.chunks]
            assert [chunk.text for chunk in chunks] == wanted
            vectors = one.vectors([chunk.key for chunk in chunks])
            np.testing.assert_array_equal(vectors, np.stack([chunk.vector for chunk in document.chunks]))

    def text(self, given: str) -> str:
        return given.replace("\0", "") if self.drops_nul else given

    def word_of(self, chunk: str) -> str:
        return next(word for word in WORDS if self.text(f"{word} ") == chunk)

    def teardown(self) -> None:
        self.stores[0].remove(self.name)


def cosine(one: str, other: str) -> float:
    """Of two words."""
    left, right = vector(one).astype(np.float64), vector(other).astype(np.float64)
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def small_segments(folder: Path) -> CollectionStore:
    """SQLite as it keeps large collections."""
    return SqliteStore(folder, segment_rows=4)


KINDS = {**STORES, "sqlite, in segments of four": small_segments}


@pytest.fixture(params=KINDS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[type[StoreMachine]]:
    """The machine over one implementation."""
    open_at = KINDS[request.param]
    with closing(open_at(tmp_path)) as one, closing(open_at(tmp_path)) as other:
        attributes = {"stores": (one, other), "drops_nul": request.param == "postgres"}
        yield type("StoreMachine", (StoreMachine,), attributes)


@pytest.mark.skipif(os.name != "posix", reason="two stores of one file in a process need POSIX locks")
def test_whatever_is_written_is_what_is_read(machine: type[StoreMachine], rounds: Rounds) -> None:
    rounds.run_machine(machine, examples=10, seconds=60)
