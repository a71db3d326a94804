"""What only the store in PostgreSQL has: its index of vectors, its schema, and connections that are lost."""

import json
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import psycopg
import pytest

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import CollectionError, ConfigurationError, ConnectionLostError, StorageError
from mcp_server_embeddings.store import open_store
from mcp_server_embeddings.store.postgres.schema import VERSION
from mcp_server_embeddings.store.protocol import Collection, CollectionStore
from mcp_server_embeddings.store.records import NewChunk, NewDocument, digest
from postgres_server import Postgres, open_postgres, own_database, shared_postgres
from stores import STORES
from test_store import DIMENSIONS, collection, document, ids, nearest, vector
from wire import ServerProcess

WORDS = [
    *("fox", "foxes", "jump", "jumping", "red", "blue", "whale", "running", "run", "the", "of", "unusual"),
    *("get", "name", "getName", "max_retries", "my.module.func", "résumé", "café", "我喜欢红色", "狐狸", "きつね"),
    *("Müller", "größe", "das", "ist", "ein", "Hund", "und", "die", "Katze"),
]

QUERIES = (
    "fox", "getName", "get name", "max_retries", "my.module", "狐狸", "狐", "つ", "café résumé", "the fox jumps",
    "Katze und Hund", "red whale getName 喜欢", "größe", "unicorn",
)  # fmt: skip


@pytest.fixture
def one(tmp_path: Path) -> Collection:
    return collection(open_postgres(tmp_path))


@pytest.fixture
def quickly_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few chunks have an index of vectors, and few that fit a filter are gone through one by one."""
    monkeypatch.setattr("mcp_server_embeddings.store.postgres.nearest.INDEXED_FROM", 1_000)
    monkeypatch.setattr("mcp_server_embeddings.store.postgres.nearest.NARROW", 100)
    monkeypatch.setattr("mcp_server_embeddings.store.postgres.nearest._CHUNKS_PER_CANDIDATE", 5)


def schema_of(folder: Path) -> str:
    return f"mcp_server_embeddings_{digest(str(folder)).hex()}"


def administer(sql: str, server: Postgres | None = None, database: str = "postgres") -> list[tuple[object, ...]]:
    """What somebody else does on the server."""
    with psycopg.connect((server or shared_postgres()).url(database=database), autocommit=True) as connection:
        found = connection.execute(sql.encode())
        return found.fetchall() if found.description else []


def test_both_stores_find_the_same_by_words_with_the_same_scores(tmp_path: Path) -> None:
    chosen = random.Random(1)
    documents = [
        document(f"d{i}", *(" ".join(chosen.choices(WORDS, k=chosen.randint(1, 30))) + " " for _ in range(2)))
        for i in range(300)
    ]
    both = [collection(STORES[name](tmp_path)) for name in ("sqlite", "postgres")]
    for stored in both:
        stored.put(documents)
        stored.remove(["d3", "d7"])
        stored.put(documents[3:4])
    for query in QUERIES:
        first, second = (stored.matching(query, 50) for stored in both)
        assert ids(both[0], first.keys) == ids(both[1], second.keys), query
        np.testing.assert_allclose(first.scores, second.scores, rtol=1e-9)
        assert (first.words, first.query_words, first.complete) == (second.words, second.query_words, second.complete)


@pytest.mark.usefixtures("quickly_indexed")
def test_the_index_finds_what_going_through_all_vectors_finds(one: Collection) -> None:
    centres = np.random.default_rng(1).standard_normal((40, DIMENSIONS))
    chosen = np.random.default_rng(2)

    def near(at: int) -> NewDocument:
        made = (centres[at % 40] + 0.3 * chosen.standard_normal(DIMENSIONS)).astype(np.float32)
        text = f"text {at}"
        return NewDocument(text, text, {"tenth": at % 10, "rare": at % 100}, (NewChunk(0, len(text), "", made),))

    documents = [near(at) for at in range(2_000)]
    one.put(documents)
    queries = (centres + 0.3 * chosen.standard_normal(centres.shape)).astype(np.float32)
    units = np.stack([document.chunks[0].vector for document in documents])
    cosines = (units / np.linalg.norm(units, axis=1)[:, None]) @ (queries / np.linalg.norm(queries, axis=1)[:, None]).T
    for where, fits in ((None, lambda at: True), ({"tenth": 3}, lambda at: at % 10 == 3), ({"rare": 7}, None)):
        allowed = [at for at in range(2_000) if (fits(at) if fits else at % 100 == 7)]
        found = one.nearest(queries, 10, where)
        shares = []
        for query, hits in enumerate(found):
            assert hits.total == len(allowed)
            best = sorted(allowed, key=lambda at: -cosines[at, query])[:10]
            shares.append(len({f"text {at}" for at in best} & set(ids(one, hits.keys))) / 10)
        assert np.mean(shares) >= 0.95, where


def test_nul_characters_are_left_out_and_parts_stay_what_they_were(one: Collection) -> None:
    text = "a\0b first\0 second"
    chunks = (NewChunk(0, 10, "he\0ad", vector("x")), NewChunk(10, len(text), "", vector("y")))
    one.put([NewDocument("i\0d", text, {"ki\0nd": "no\0te"}, chunks, "x\0.md", b"d")])
    assert [(chunk.id, chunk.text, chunk.heading) for chunk in one.chunks_of("id")] == [
        ("id#1", "ab first", "head"),
        ("id#2", " second", ""),
    ]
    assert one.items({"ki\0nd": "no\0te"}).ids == one.items({"kind": "note"}).ids == ["id"]
    assert one.ids_of_file("x.md") == ["id"]
    assert one.put([NewDocument("i\0d", text, None, chunks, "x\0.md", b"d")]).unchanged == 1


def test_metadata_may_be_longer_than_an_entry_of_an_index(one: Collection) -> None:
    long = [f"{'x' * 10_000}{end}" for end in "ab"]
    one.put([document("a", "one", metadata={"long": long[0]}), document("b", "two", metadata={"long": long[1]})])
    assert one.items({"long": long[0]}).ids == ["a"]
    assert one.items({"long": {"gt": long[0]}}).ids == ["b"]
    assert one.items({"long": {"ne": long[0]}}).ids == ["b"]
    assert one.items({"long": long}).ids == ["a", "b"]


def test_a_document_that_comes_twice_in_one_write_is_the_last(one: Collection) -> None:
    result = one.put([document("a", "one"), document("a", "two"), document("a", "two")])
    assert (result.added, result.updated, result.unchanged) == (1, 1, 1)
    assert [chunk.text for chunk in one.first(9)] == ["two"]


def test_many_that_begin_at_once_make_one_schema(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def begin(number: int) -> int:
        store = open_postgres(tmp_path)
        start.wait()
        return collection(store).put([document(str(number), f"text {number}")]).added

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(begin, range(8))) == [1] * 8
    assert collection(open_postgres(tmp_path)).current().documents == 8
    assert administer(f"SELECT version FROM {schema_of(tmp_path)}.versions") == [(VERSION,)]


def test_a_schema_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    collection(open_postgres(tmp_path))
    administer(f"INSERT INTO {schema_of(tmp_path)}.versions VALUES ({VERSION + 1})")
    store = open_postgres(tmp_path)
    for call in (store.list, lambda: collection(store), store.version):
        with pytest.raises(StorageError, match=r"by a newer mcp-server-embeddings \(version 2, this one knows 1\)"):
            call()


def test_reading_makes_nothing(tmp_path: Path) -> None:
    store = open_postgres(tmp_path)
    assert (store.list(), store.version()) == ([], 0)
    with pytest.raises(CollectionError, match="there is none yet"):
        store.open("notes")
    assert administer(f"SELECT 1 FROM pg_namespace WHERE nspname = '{schema_of(tmp_path)}'") == []


def cut(_: Postgres) -> None:
    administer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mcp-%'")


def restart(server: Postgres) -> None:
    server.stop()
    server.start()


@pytest.mark.parametrize("losing", [cut, restart])
def test_connections_that_were_lost_are_made_again(losing: Callable[[Postgres], None], tmp_path: Path) -> None:
    store = open_postgres(tmp_path)
    one = collection(store)
    one.put([document("a", "a red fox")])
    losing(shared_postgres())
    assert ids(one, nearest(one).keys) == ["a"]
    losing(shared_postgres())
    assert one.put([document("b", "a blue whale")]).added == 1
    losing(shared_postgres())
    assert [record.documents for record in store.list()] == [2]


def test_a_write_that_lost_its_connection_is_made_again_and_stored_once(one: Collection) -> None:
    one.put([document("a", "one")])
    tries = []

    def losing() -> None:
        tries.append(1)
        if len(tries) == 1:
            cut(shared_postgres())

    assert one.remove(["a"], confirm=losing).ids == ["a"]
    assert len(tries) == 2
    assert one.current().documents == 0


def test_what_is_read_in_one_state_is_not_read_again_in_another(one: Collection) -> None:
    one.put([document("a", "one")])

    def read() -> None:
        with one.reading() as view:
            cut(shared_postgres())
            view.first(1)

    with pytest.raises(ConnectionLostError, match="nothing of this call was stored: send it again"):
        read()


def test_what_is_read_as_a_whole_is_read_again_from_its_beginning(one: Collection) -> None:
    one.put([document("a", "one")])
    tries = []

    def read(view: Collection) -> list[str]:
        tries.append(1)
        if len(tries) == 1:
            cut(shared_postgres())
        return [chunk.id for chunk in view.first(1)]

    assert one.read(read) == ["a"]
    assert len(tries) == 2


def refused(url: str) -> str:
    store = open_store(Settings(store=url))
    with pytest.raises(StorageError) as caught:
        store.list()
    return str(caught.value)


def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    gone = refused(f"postgresql://me:sesame@/db?host={tmp_path}")
    assert "cannot be reached" in gone
    assert "No such file" in gone
    assert 'database "nowhere" does not exist' in refused(shared_postgres().url(database="nowhere"))
    assert 'role "stranger" does not exist' in refused(shared_postgres().url(user="stranger"))
    assert "sesame" not in gone


def test_a_database_without_pgvector_says_who_can_add_it(tmp_path: Path) -> None:
    administer("CREATE ROLE guest LOGIN")
    administer("CREATE DATABASE bare OWNER guest")
    store: CollectionStore = open_store(Settings(store=shared_postgres().url("guest", "bare")))
    with pytest.raises(StorageError, match=r"has no pgvector.*superuser run CREATE EXTENSION vector"):
        collection(store)
    administer("CREATE EXTENSION vector", database="bare")
    collection(store).put([document("a", "one")])
    assert [record.documents for record in store.list()] == [1]


def test_extensions_may_be_in_a_schema_of_their_own() -> None:
    administer("CREATE DATABASE tidy")
    administer("CREATE SCHEMA extensions; CREATE EXTENSION vector SCHEMA extensions", database="tidy")
    one = collection(open_store(Settings(store=shared_postgres().url(database="tidy"))))
    one.put([document("a", "one")])
    assert ids(one, nearest(one).keys) == ["a"]


def test_a_database_in_another_encoding_is_refused() -> None:
    administer("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StorageError, match="not in UTF8"):
        collection(open_store(Settings(store=shared_postgres().url(database="latin"))))


@pytest.mark.parametrize(
    "address", ["mysql://me:sesame@host/db", "postgresql://me:sesame%zz@host/db", "postgresql:///db?pasword=sesame"]
)
def test_a_wrong_address_is_refused_without_showing_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError, match="store is no address of PostgreSQL; give postgresql://") as caught:
        open_store(Settings(store=address))
    assert "sesame" not in str(caught.value)


def test_a_password_reaches_the_engine_process_and_is_shown_nowhere(tmp_path: Path) -> None:
    address = own_database(tmp_path).replace("postgres@", "postgres:sesame@")
    environment = {
        "MCP_EMBEDDINGS_STORE": address,
        "MCP_EMBEDDINGS_ENGINE_PROCESS": "shared",
        "MCP_EMBEDDINGS_LOG_LEVEL": "debug",
        **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},  # the engine is of this checkout
    }
    with ServerProcess(tmp_path, environment=environment) as server:
        server.handshake()
        stored = server.call("collection_add", {"collection": "kept", "texts": {"a": "a red fox"}})
        assert stored["structuredContent"]["added"] == 1, stored
        status = server.call("status", {})["structuredContent"]
        assert [listed["name"] for listed in status["collections"]] == ["kept"]
        engine = psutil.Process(int(status["process"].split()[2].rstrip(",")))
        assert "engine" in engine.cmdline()
        shown = json.dumps(status) + str(engine.cmdline()) + server.log
        shown += Path(status["process"].split(" log ")[1]).read_text(encoding="utf-8")
    assert "sesame" not in shown
    assert not (tmp_path / "collections.sqlite").exists()
