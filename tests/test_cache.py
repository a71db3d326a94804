"""Vectors of texts seen before: what is remembered, within which bounds, and what a broken disk costs."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import DIMENSIONS, FakeEncoder, fake_identity
from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.engine.cache import CachedText, Cut, VectorCache, cache_key
from mcp_server_embeddings.engine.embedder import Embedder
from mcp_server_embeddings.engine.engine import Engine
from scripts import run, small_disk
from wire import ServerProcess, client_environment

AMPLE = 100_000_000
"""Bytes on disk that no test here reaches."""

SIDES = ("", "-wal", "-shm")
"""What the file's name may end with: the database, its write-ahead log and that log's index."""


def key(name: object) -> bytes:
    return cache_key("context", str(name))


def entry(number: int, dimensions: int = DIMENSIONS) -> CachedText:
    return CachedText(np.full(dimensions, number, dtype=np.float32), tokens=number, cut="")


def entries(numbers: range, dimensions: int = DIMENSIONS) -> dict[bytes, CachedText]:
    return {key(number): entry(number, dimensions) for number in numbers}


def numbers(found: dict[bytes, CachedText]) -> set[int]:
    """Which of ``entries`` these are; each must be whole."""
    for known, one in found.items():
        assert known == key(one.tokens)
        assert set(one.vector.tolist()) == {float(one.tokens)}
    return {one.tokens for one in found.values()}


def known(cache: VectorCache, wanted: range) -> set[int]:
    return numbers(cache.get([key(number) for number in wanted]))


def on_disk(path: Path) -> VectorCache:
    """A cache that remembers nothing in memory, so that every answer comes from the file."""
    return VectorCache(path, AMPLE, memory_bytes=0)


@dataclass
class Counted:
    """An engine with a fake encoder, and what that encoded."""

    engine: Engine
    encoder: FakeEncoder = field(default_factory=FakeEncoder)

    @property
    def embedder(self) -> Embedder:
        return self.engine.embedder()

    @property
    def encoded(self) -> list[str]:
        """Texts encoded since the start, sorted."""
        return sorted(text for batch in self.encoder.batches for text in batch)


@contextmanager
def counted(data_dir: Path, encoder: FakeEncoder | None = None, *, no_cache: bool = False) -> Iterator[Counted]:
    """An engine after its calibration, which is not counted."""
    encoder = encoder or FakeEncoder()
    with Engine(Settings(data_dir=data_dir, no_cache=no_cache), encoder.load) as engine:
        engine.embedder().calibration()
        encoder.batches.clear()
        yield Counted(engine, encoder)


def test_a_text_seen_before_is_not_encoded_again(tmp_path: Path) -> None:
    with counted(tmp_path) as one:
        first = one.embedder.embed(["a red fox", "a blue whale"])
        again = one.embedder.embed(["a blue whale", "a green frog", "a red fox"])
        assert one.encoded == ["a blue whale", "a green frog", "a red fox"]
        np.testing.assert_array_equal(again.vectors[[2, 0]], first.vectors)
        cache = one.engine.status().cache
    assert cache is not None
    assert (cache.hits, cache.misses, cache.entries) == (2, 3, 3)
    assert cache.memory_bytes > 0
    assert cache.disk_bytes > 0


def test_a_new_engine_on_the_same_folder_encodes_only_new_texts(tmp_path: Path) -> None:
    with counted(tmp_path) as one:
        first = one.embedder.embed(["a red fox"]).vectors
    with counted(tmp_path) as other:
        again = other.embedder.embed(["a red fox", "a blue whale"]).vectors
        assert other.encoded == ["a blue whale"]
    np.testing.assert_array_equal(again[:1], first)


@pytest.mark.slow
def test_a_second_process_at_the_same_time_shares_the_file(data_dir: Path) -> None:
    texts = ["shared by two servers", "and never encoded twice"]
    with ServerProcess(data_dir) as one, ServerProcess(data_dir) as other:
        for server in (one, other):
            server.handshake()
            server.call("similarity", {"left": ["warm", "up"]})
        first = one.call("embed", {"texts": texts})["structuredContent"]["vectors"]
        before = other.call("status", {})["structuredContent"]
        assert other.call("embed", {"texts": texts})["structuredContent"]["vectors"] == first
        after = other.call("status", {})["structuredContent"]
    assert after["queue"]["pieces_done"] == before["queue"]["pieces_done"]
    assert after["cache"]["hits"] == before["cache"]["hits"] + 2


def test_role_and_long_text_keep_entries_apart(tmp_path: Path) -> None:
    long = "word " * 400
    with counted(tmp_path) as one:
        symmetric = one.embedder.embed(["a red fox"]).vectors
        query = one.embedder.embed(["a red fox"], role="query").vectors
        assert one.encoded == ["a red fox", "find: a red fox"]
        one.embedder.embed(["a red fox"], role="document")
        windowed, truncated = one.embedder.embed([long]), one.embedder.embed([long], long_text="truncate")
        assert (windowed.windowed, windowed.truncated) == ((0,), ())
        assert (truncated.windowed, truncated.truncated) == ((), (0,))
        count = len(one.encoded)
        one.embedder.embed(["a red fox"], role="document")
        np.testing.assert_array_equal(one.embedder.embed(["a red fox"]).vectors, symmetric)
        np.testing.assert_array_equal(one.embedder.embed(["a red fox"], role="query").vectors, query)
        assert len(one.encoded) == count


@pytest.mark.slow
def test_model_precision_and_engine_keep_entries_apart(tmp_path: Path) -> None:
    plain, weights, coarse, runtime = (FakeEncoder() for _ in range(4))
    weights.identity = fake_identity("1" * 64)
    coarse.precision = "int8"
    runtime.engine = "other"
    for encoder in (plain, weights, coarse, runtime):
        with counted(tmp_path, encoder) as one:
            one.embedder.embed(["a red fox"])
            assert one.encoded == ["a red fox"]
    for encoder in (plain, weights, coarse, runtime):
        with counted(tmp_path, encoder) as one:
            one.embedder.embed(["a red fox"])
            assert one.encoded == []


def test_usage_from_the_cache_is_that_of_encoding(tmp_path: Path) -> None:
    texts = ["short", "long " * 400, "a red fox"]
    with counted(tmp_path) as one:
        windowed = one.embedder.embed(texts)
        truncated = one.embedder.embed(texts, long_text="truncate")
    with counted(tmp_path) as other:
        for first, again in (
            (windowed, other.embedder.embed(texts)),
            (truncated, other.embedder.embed(texts, long_text="truncate")),
        ):
            assert (again.tokens, again.windowed, again.truncated) == (first.tokens, first.windowed, first.truncated)
            np.testing.assert_array_equal(again.vectors, first.vectors)
        assert other.encoded == []
    assert (windowed.windowed, truncated.truncated) == ((1,), (1,))


def test_the_file_holds_no_text(tmp_path: Path) -> None:
    texts = ["the crown jewels lie under the third elm", "секретный пароль", "秘密の言葉"]
    with counted(tmp_path) as one:
        one.embedder.embed(texts)
        one.embedder.embed(texts, role="query")
        stored = [Path(f"{tmp_path / 'cache.sqlite'}{side}") for side in SIDES]
        content = b"".join(path.read_bytes() for path in stored if path.exists())
        assert len(content) > 6 * 4 * DIMENSIONS
    for text in (*texts, *" ".join(texts).split()):
        for encoding in ("utf-8", "utf-16-le"):
            part = text.encode(encoding)
            assert len(part) < 4 or part not in content


def test_memory_stays_within_its_bound_and_the_least_recently_used_leaves_first() -> None:
    one = 4 * DIMENSIONS + 200
    cache = VectorCache(None, 0, memory_bytes=3 * one)
    cache.put(entries(range(3)))
    assert known(cache, range(1)) == {0}
    cache.put(entries(range(3, 4)))
    assert known(cache, range(4)) == {0, 2, 3}
    cache.put(entries(range(100, 200)))
    assert known(cache, range(200)) == {197, 198, 199}
    assert (cache.figures().entries, cache.figures().memory_bytes) == (3, 3 * one)
    cache.put(entries(range(197, 200)))
    assert (cache.figures().entries, cache.figures().memory_bytes) == (3, 3 * one)


def test_an_entry_in_memory_does_not_keep_the_matrix_of_its_call() -> None:
    matrix = np.zeros((1000, DIMENSIONS), dtype=np.float32)
    gone = weakref.ref(matrix)
    cache = VectorCache(None, 0)
    cache.put({key(0): CachedText(matrix[0], 0, "")})
    del matrix
    assert gone() is None
    assert known(cache, range(1)) == {0}


def live_bytes(path: Path) -> int:
    """Bytes of the pages in use."""
    with closing(sqlite3.connect(path)) as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def test_the_disk_stays_within_its_bound_and_the_newest_stay(tmp_path: Path) -> None:
    path, limit = tmp_path / "cache.sqlite", 300_000
    cache = VectorCache(path, limit, memory_bytes=0)
    for start in range(0, 3000, 100):
        cache.put(entries(range(start, start + 100)))
        assert live_bytes(path) <= limit
    kept = known(VectorCache(path, limit, memory_bytes=0), range(3000))
    assert kept == set(range(3000 - len(kept), 3000))
    assert len(kept) * 4 * DIMENSIONS > limit / 3


def test_what_was_used_today_stays_on_disk_before_what_was_not(tmp_path: Path) -> None:
    path, limit = tmp_path / "cache.sqlite", 300_000
    cache = VectorCache(path, limit, memory_bytes=0)
    cache.put(entries(range(500)))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE vectors SET used = used - 7")
    assert known(cache, range(10)) == set(range(10))
    for start in range(500, 1000, 100):
        cache.put(entries(range(start, start + 100)))
    assert known(cache, range(10)) == set(range(10))
    assert len(known(cache, range(500))) < 500


GARBAGE = bytes(range(256)) * 400


@pytest.mark.fault
@pytest.mark.parametrize("sides", [("",), ("-wal",), ("-shm",), SIDES], ids=["file", "log", "index", "all"])
@pytest.mark.parametrize(
    "damage", [GARBAGE, b"SQLite format 3\0" + GARBAGE, b"\0"], ids=["no header", "header", "short"]
)
def test_a_damaged_file_is_begun_anew_at_the_start(damage: bytes, sides: tuple[str, ...], tmp_path: Path) -> None:
    for side in sides:
        (tmp_path / f"cache.sqlite{side}").write_bytes(damage)
    with counted(tmp_path) as one:
        one.embedder.embed(["a red fox"])
    with counted(tmp_path) as other:
        other.embedder.embed(["a red fox"])
    assert (one.encoded, other.encoded) == (["a red fox"], [])


@pytest.mark.fault
def test_a_file_damaged_while_open_costs_no_answer_and_is_begun_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache.sqlite"
    cache = on_disk(path)
    cache.put(entries(range(500)))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.write((GARBAGE * 20)[: path.stat().st_size])
    assert known(cache, range(500)) < set(range(500))
    cache.put(entries(range(500, 510)))
    cache.put(entries(range(510, 520)))
    assert "is corrupt" in caplog.text
    assert known(cache, range(510, 520)) == set(range(510, 520))
    assert known(on_disk(path), range(510, 520)) == set(range(510, 520))


@pytest.mark.fault
def test_a_file_damaged_while_an_engine_runs_costs_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with counted(tmp_path) as one:
        first = one.embedder.embed(["a red fox"]).vectors
        for side in SIDES[:2]:
            size = Path(f"{path}{side}").stat().st_size
            Path(f"{path}{side}").write_bytes((GARBAGE * 20)[:size])
        np.testing.assert_array_equal(one.embedder.embed(["a red fox"]).vectors, first)
        for number in range(10):
            assert one.embedder.embed([f"new text {number}"]).tokens > 0
    with counted(tmp_path) as other:
        np.testing.assert_array_equal(other.embedder.embed(["a red fox"]).vectors, first)


WIDE = np.ones(DIMENSIONS + 1, dtype="<f4").tobytes()
INFINITE = np.full(DIMENSIONS, np.inf, dtype="<f4").tobytes()
DAMAGES = {
    "not a number": ("vector", np.full(DIMENSIONS, np.nan, dtype="<f4").tobytes()),
    "infinite": ("vector", INFINITE),
    "too long": ("vector", WIDE),
    "too short": ("vector", WIDE[:40]),
    "empty": ("vector", b""),
    "half a number": ("vector", WIDE[: 4 * DIMENSIONS - 2]),
    "no vector": ("vector", None),
    "text as vector": ("vector", "x" * 4 * DIMENSIONS),
    "no tokens": ("tokens", None),
    "tokens of bytes": ("tokens", b"\xff"),
    "an unknown cut": ("cut", "halved"),
}


@pytest.mark.fault
@pytest.mark.parametrize(("column", "value"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_encoded_again_and_the_others_are_kept(
    column: str, value: bytes | str | None, tmp_path: Path
) -> None:
    with counted(tmp_path) as one:
        first = one.embedder.embed(["a red fox"])
        one.embedder.embed(["a blue whale"])
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as database, database:
        database.execute(f"UPDATE vectors SET {column} = ? WHERE rowid = 1", (value,))
    for encoded in (["a red fox"], []):
        with counted(tmp_path) as other:
            again = other.embedder.embed(["a red fox", "a blue whale"])
            assert other.encoded == encoded
        np.testing.assert_array_equal(again.vectors[:1], first.vectors)
        assert np.isfinite(again.vectors).all()


@pytest.mark.fault
def test_a_file_of_something_else_costs_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE vectors (other TEXT)")
    with counted(tmp_path) as one:
        for _ in range(2):
            assert one.embedder.embed(["a red fox"]).vectors.shape == (1, DIMENSIONS)
        assert one.encoded == ["a red fox"]


@pytest.mark.fault
def test_an_entry_that_is_no_vector_is_damage_and_costs_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    for wrong in (None, "text", b"odd"):
        cache = on_disk(path)
        cache.put(entries(range(1)))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE vectors SET vector = ?", (wrong,))
        assert known(cache, range(1)) == set()
        cache.put(entries(range(1)))
        assert known(cache, range(1)) == {0}


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from mcp_server_embeddings.engine.cache import CachedText, VectorCache
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
path = Path(sys.argv[1])
cache, empty = VectorCache(path, 100_000_000), 0
for part in range(100):
    batch = {b"%d-%d" % (part, i): CachedText(np.full(384, part, np.float32), part, "") for i in range(40)}
    cache.put(batch)
    assert cache.get(list(batch)).keys() == batch.keys()
other = VectorCache(path, 100_000_000, memory_bytes=0)
kept = [part for part in range(100) if other.get([b"%d-%d" % (part, i) for i in range(40)])]
print(len(kept), kept == list(range(len(kept))))
"""
"""Writes 6 MB into a disk of 1 MB: every answer must come, and what was stored must be the oldest part."""


@pytest.mark.fault
def test_a_full_disk_costs_no_answer(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as limit:
        kept, oldest = run(FULL_DISK, str(tmp_path / "disk" / "cache.sqlite"), str(limit)).split()
    assert 0 < int(kept) < 100
    assert oldest == "True"


@pytest.mark.fault
def test_a_file_size_limit_costs_no_answer(tmp_path: Path) -> None:
    kept, oldest = run(FULL_DISK, str(tmp_path / "cache.sqlite"), "1000000").split()
    assert 0 < int(kept) < 100
    assert oldest == "True"


READ_ONLY = """
import os, sys
from pathlib import Path
import numpy as np
from mcp_server_embeddings.engine.cache import CachedText, VectorCache
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
path = Path(sys.argv[1])
assert not os.access(path, os.W_OK) and not os.access(path.parent, os.W_OK)
cache = VectorCache(path, 100_000_000)
one = {b"new": CachedText(np.ones(64, np.float32), 1, "")}
for _ in range(2):
    cache.get([b"old"])
    cache.put(one)
    assert list(cache.get([b"new"])) == [b"new"]
print("answered")
"""


@pytest.mark.fault
def test_a_read_only_folder_costs_no_answer() -> None:
    # Not under tmp_path, whose parents nobody else may enter: root must drop its rights to meet a read-only folder.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "cache.sqlite"
        on_disk(path).put(entries(range(3)))
        path.chmod(0o444)
        folder.chmod(0o555)
        assert run(READ_ONLY, str(path)) == "answered\n"
        folder.chmod(0o755)


@pytest.mark.fault
def test_a_file_in_the_place_of_the_folder_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file-not-folder"
    blocked.write_text("", encoding="utf-8")
    with counted(blocked) as one:
        one.embedder.embed(["a red fox"])
        one.embedder.embed(["a red fox"])
        assert one.encoded == ["a red fox"]
    assert [record.levelname for record in caplog.records if "cannot be opened" in record.message] == ["WARNING"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes, and does not end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


@pytest.mark.fault
def test_a_locked_file_costs_no_answer_and_is_used_again_afterwards(tmp_path: Path) -> None:
    with counted(tmp_path) as one:
        one.embedder.embed(["before"])
        with locked(tmp_path / "cache.sqlite"):
            assert one.embedder.embed(["before", "during"]).vectors.shape == (2, DIMENSIONS)
            with counted(tmp_path) as other:
                other.embedder.embed(["before"])
                assert other.encoded == []
        one.embedder.embed(["after"])
    with counted(tmp_path) as later:
        later.embedder.embed(["before", "during", "after"])
        assert later.encoded == ["during"]


@pytest.mark.fault
def test_a_file_locked_at_the_start_is_used_once_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with locked(path):
        cache = on_disk(path)
        cache.put(entries(range(1)))
        assert known(cache, range(1)) == set()
    cache.put(entries(range(1)))
    assert known(on_disk(path), range(1)) == {0}


def test_a_locked_file_is_still_read_when_its_entries_are_of_another_day(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = on_disk(path)
    cache.put(entries(range(3)))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE vectors SET used = used - 7")
    with locked(path):
        assert known(cache, range(3)) == {0, 1, 2}
    cache.put(entries(range(3, 4)))
    assert known(on_disk(path), range(4)) == {0, 1, 2, 3}


WRITER = """
import sys
from itertools import count
from pathlib import Path
import numpy as np
from mcp_server_embeddings.engine.cache import CachedText, VectorCache, cache_key
cache = VectorCache(Path(sys.argv[1]), 100_000_000, memory_bytes=0)
for number in count():
    cache.put({cache_key("context", str(number)): CachedText(np.full(64, number, np.float32), number, "")})
    print(number, flush=True)
"""


@pytest.mark.fault
def test_a_process_killed_while_it_writes_leaves_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    for wanted in (1, 50, 1200):
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=client_environment()) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) == wanted:
                    os.kill(process.pid, signal.SIGKILL)
                    break
        cache = on_disk(path)
        assert known(cache, range(wanted + 1)) == set(range(wanted + 1))
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        cache.put(entries(range(5000, 5001)))
        assert known(on_disk(path), range(5000, 5001)) == {5000}


def test_without_a_cache_nothing_is_kept_and_the_same_text_is_encoded_again(tmp_path: Path) -> None:
    with counted(tmp_path, no_cache=True) as one:
        for _ in range(2):
            one.embedder.embed(["a red fox"])
        assert one.encoded == ["a red fox", "a red fox"]
        assert one.engine.status().cache is None
    assert list(tmp_path.iterdir()) == []


CUTS: tuple[Cut, ...] = ("", "windowed", "truncated")
ENTRY = st.builds(
    lambda vector, tokens, cut: CachedText(np.array(vector, dtype=np.float32), tokens, cut),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8),
    st.integers(0, 1_000_000),
    st.sampled_from(CUTS),
)


@settings(max_examples=30)
@given(
    stored=st.dictionaries(st.text(max_size=5), ENTRY, max_size=30),
    asked=st.lists(st.text(max_size=5), unique=True, max_size=10),
    memory_bytes=st.sampled_from([0, 600, 64_000_000]),
    data=st.data(),
)
def test_what_was_put_comes_back_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    stored: dict[str, CachedText],
    asked: list[str],
    memory_bytes: int,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("property") / "cache.sqlite"
    cache = VectorCache(path, AMPLE, memory_bytes)
    cache.put({key(text): one for text, one in stored.items()})
    names = data.draw(st.permutations(sorted({*stored, *asked})))
    wanted = names[: data.draw(st.integers(0, len(names)))]
    for reader in (cache, cache, VectorCache(path, AMPLE, memory_bytes)):
        found = reader.get([key(text) for text in wanted])
        assert found.keys() == {key(text) for text in wanted if text in stored}
        for text in wanted:
            if text in stored:
                one = found[key(text)]
                np.testing.assert_array_equal(one.vector, stored[text].vector)
                assert (one.tokens, one.cut) == (stored[text].tokens, stored[text].cut)
