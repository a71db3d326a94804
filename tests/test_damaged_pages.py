"""A page of the database that a disk or another program damaged: it is said, and the rest is read and exported."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mcp_server_embeddings.doctor.data import examine_folder
from mcp_server_embeddings.errors import CollectionError, StorageError
from mcp_server_embeddings.store.records import NewChunk, NewDocument, Vector, digest
from mcp_server_embeddings.store.sqlite.schema import PAGE_BYTES
from mcp_server_embeddings.store.sqlite.store import SqliteStore
from mcp_server_embeddings.tools.collection_export import collection_export
from mcp_server_embeddings.tools.collection_file import read_records
from rounds import Rounds

FILE = "collections.sqlite"
DIMENSIONS = 64
DOCUMENTS = 150

LISTS = 19
"""Pages with the schema, the list of collections and the roots of tables; damage there takes whole tables along."""


def vector(text: str) -> Vector:
    seed = int.from_bytes(digest(text)[:8], "little")
    return np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)


def document(name: str, number: int) -> NewDocument:
    text = f"{name} {number} " + "with some words " * 20
    half = len(text) // 2
    chunks = tuple(NewChunk(*place, "", vector(text[slice(*place)])) for place in ((0, half), (half, len(text))))
    return NewDocument(f"{name}-{number}", text, {"number": number}, chunks)


EXPECTED = {name: {one.id: one for one in (document(name, n) for n in range(DOCUMENTS))} for name in ("notes", "mail")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of two collections, without a log."""
    folder = tmp_path_factory.mktemp("whole")
    with closing(SqliteStore(folder)) as store:
        for name, documents in EXPECTED.items():
            store.open_or_create(name, "identity", "model@1", DIMENSIONS).put(list(documents.values()))
    return folder / FILE


Damage = Callable[[bytes, random.Random], bytes]

KINDS: dict[str, Damage] = {
    "zeros": lambda page, _: bytes(len(page)),
    "noise": lambda page, chance: chance.randbytes(len(page)),
    "half": lambda page, chance: page[: len(page) // 2] + chance.randbytes(len(page) - len(page) // 2),
    "bits": lambda page, chance: bytes(
        byte ^ (1 << chance.randrange(8)) if chance.random() < 0.01 else byte for byte in page
    ),
}


def damaged(whole: Path, folder: Path, rounds: Rounds) -> Iterator[tuple[Path, int, str]]:
    """Copies of the database, each with one page damaged."""
    chance = random.Random(0)
    cases = list(product(range(whole.stat().st_size // PAGE_BYTES), KINDS))
    chosen = cases if rounds.long else chance.sample(cases, 12)
    rounds.record("faults", len(chosen))
    for page, kind in chosen:
        path = folder / f"{page}-{kind}" / FILE
        path.parent.mkdir()
        shutil.copy(whole, path)
        with path.open("r+b") as file:
            file.seek(page * PAGE_BYTES)
            before = file.read(PAGE_BYTES)
            file.seek(page * PAGE_BYTES)
            file.write(KINDS[kind](before, chance))
        yield path, page, kind
        shutil.rmtree(path.parent)


def exported(folder: Path, name: str) -> dict[str, str]:
    """The texts that can be salvaged of a collection; all must be as they were."""
    file = folder / f"{name}.jsonl"
    file.unlink(missing_ok=True)
    with closing(SqliteStore(folder)) as store:
        found = collection_export(store, name, file, salvage=True)
    texts = {}
    header, records = read_records(file)
    assert header is not None
    assert header.identity == ""
    for _, record in records:
        texts[str(record.id)] = record.text
        chunks = [(chunk.start, chunk.stop) for chunk in record.chunks]
        assert chunks in ([], [(chunk.start, chunk.stop) for chunk in EXPECTED[name][str(record.id)].chunks])
    assert found.lost == DOCUMENTS - len(texts)
    return texts


def test_what_a_damaged_page_leaves_is_exported_as_it_was(whole: Path, tmp_path: Path, rounds: Rounds) -> None:
    found = []
    for path, page, _ in damaged(whole, tmp_path, rounds):
        for name, documents in EXPECTED.items():
            if page < LISTS:
                with suppress(StorageError, CollectionError):
                    exported(path.parent, name)
                continue
            texts = exported(path.parent, name)
            assert texts == {key: documents[key].text for key in texts}
            found.append(len(texts))
    assert np.mean(found) > 0.95 * DOCUMENTS
    assert sum(found) < len(found) * DOCUMENTS, "some damage must have hit a document"


def test_reading_a_damaged_page_is_refused_with_what_to_do(whole: Path, tmp_path: Path, rounds: Rounds) -> None:
    refused = 0
    for path, _, _ in damaged(whole, tmp_path, rounds):
        with closing(SqliteStore(path.parent)) as store:
            for name, number in product(EXPECTED, range(0, DOCUMENTS, 10)):
                try:
                    text = store.open(name).text_of(f"{name}-{number}")
                except (StorageError, CollectionError) as error:
                    refused += "--salvage" in str(error)
                else:
                    assert text is None or text[:4] == name[:4]
        with pytest.raises(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as database:
            database.execute("SELECT * FROM nothing")
    assert refused


@pytest.mark.fault
def test_doctor_names_a_damaged_page_and_the_export(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole, tmp_path)
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(whole.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    finding = next(one for one in examine_folder(tmp_path) if FILE in one.subject)
    assert finding.state == "problem"
    assert "export NAME FILE --salvage" in finding.advice
