"""Random use of the cache of vectors by two processes, and random damage to its file: it is slower, never wrong."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mcp_server_embeddings.engine.cache import CachedText, Cut, VectorCache
from rounds import Rounds

DIMENSIONS = 3
MEMORY = 3 * (4 * DIMENSIONS + 200)
"""Room for three entries."""

KEYS = st.sampled_from([bytes([number]) * 16 for number in range(8)])
SIDES = st.integers(0, 1)
CUTS: st.SearchStrategy[Cut] = st.sampled_from(["", "windowed", "truncated"])
WRONG = ("x'00'", "'text'", "NULL", "x'0000c07f0000c07f0000c07f'", "zeroblob(12)", "zeroblob(16)", "1.5", "7")


@st.composite
def entries(draw: st.DrawFn) -> CachedText:
    numbers = draw(st.lists(st.floats(-1, 1, width=32), min_size=DIMENSIONS, max_size=DIMENSIONS))
    return CachedText(np.array(numbers, np.float32), draw(st.integers(0, 300)), draw(CUTS))


def seen(entry: CachedText) -> tuple[bytes, int, str]:
    return entry.vector.tobytes(), entry.tokens, entry.cut


class CacheMachine(RuleBasedStateMachine):
    """Two caches over one file; each example has a file of its own."""

    folders: Iterator[Path]

    @initialize()
    def begin(self) -> None:
        self.path = next(self.folders) / "cache.sqlite"
        self.sides = [VectorCache(self.path, 10_000_000, MEMORY) for _ in range(2)]
        self.possible: dict[bytes, list[tuple[bytes, int, str]]] = {}
        self.last: dict[bytes, CachedText] = {}
        self.whole = True

    @rule(side=SIDES, batch=st.dictionaries(KEYS, entries(), min_size=1, max_size=5))
    def put(self, side: int, batch: dict[bytes, CachedText]) -> None:
        self.sides[side].put(batch)
        for key, entry in batch.items():
            # The other process may still have the one before in memory: in truth a key has one vector.
            self.possible.setdefault(key, []).append(seen(entry))
        self.last |= batch

    @rule(side=SIDES)
    def close(self, side: int) -> None:
        """What is in the log goes into the file; with it the file is opened again on need."""
        self.sides[side].close()

    @rule(side=SIDES, keys=st.lists(KEYS, unique=True, max_size=6))
    def get(self, side: int, keys: list[bytes]) -> None:
        found = self.sides[side].get(keys, DIMENSIONS)
        for key, entry in found.items():
            assert seen(entry) in self.possible[key]
        if self.whole:
            assert found.keys() == {key for key in keys if key in self.last}

    @rule(side=SIDES)
    def another_starts(self, side: int) -> None:
        """A new process has what is on disk: the last that was put."""
        self.sides[side].close()
        self.sides[side] = VectorCache(self.path, 10_000_000, MEMORY)
        found = self.sides[side].get(list(self.last), DIMENSIONS)
        for key, entry in found.items():
            assert not self.whole or seen(entry) == seen(self.last[key])
        assert not self.whole or found.keys() == self.last.keys()

    @rule(column=st.sampled_from(["vector", "tokens", "cut"]), value=st.sampled_from(WRONG))
    def damage_entries(self, column: str, value: str) -> None:
        """What is no vector is missing."""
        self.whole = False
        with suppress(sqlite3.Error), closing(sqlite3.connect(self.path, timeout=1)) as database, database:
            database.execute(f"UPDATE vectors SET {column} = {value}")

    @rule(place=st.integers(-600, -1), bit=st.integers(0, 7), log=st.booleans())
    def flip_bit(self, place: int, bit: int, log: bool) -> None:
        """SQLite has no checksum for pages; entries lie at the end of theirs."""
        self.whole = False
        path = self.path.with_name("cache.sqlite-wal") if log else self.path
        if path.exists() and path.stat().st_size > -place:
            with path.open("r+b") as file:
                file.seek(place, 2)
                (byte,) = file.read(1)
                file.seek(place, 2)
                file.write(bytes([byte ^ 1 << bit]))

    @rule()
    def remove_file(self) -> None:
        self.whole = False
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @invariant()
    def within_bounds(self) -> None:
        for side in self.sides:
            assert side.figures().memory_bytes <= MEMORY

    def teardown(self) -> None:
        for side in self.sides:
            side.close()


@pytest.fixture
def machine(tmp_path: Path) -> type[CacheMachine]:
    def folders() -> Iterator[Path]:
        for number in range(1_000_000):
            folder = tmp_path / str(number)
            folder.mkdir()
            yield folder

    return type("CacheMachine", (CacheMachine,), {"folders": folders()})


def test_a_cache_never_gives_what_was_not_put(machine: type[CacheMachine], rounds: Rounds) -> None:
    rounds.run_machine(machine, examples=20, seconds=60)
