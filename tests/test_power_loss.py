"""Power cuts: files as the disk has them when everything that was not synced is lost, kept or torn at random."""

import pickle
import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from faulty_disk import Event
from mcp_server_embeddings.engine.cache import CACHE_FILE, CachedText, VectorCache
from mcp_server_embeddings.store.records import digest
from rounds import Record
from scripts import run
from test_store_safety import COMMON, assert_holds, assert_sound, collection, document

SECTOR = 512
"""Bytes that a disk writes as a whole."""

ROUNDS = 100
"""Of writes; their log is brought into the file several times."""

RECORDED = """
import os, pickle, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from faulty_disk import Event, watch
events, folder = [], Path(sys.argv[1])
watch(events.append)

def say(what):
    events.append(Event("said", str(what)))

def end():
    Path(sys.argv[3]).write_bytes(pickle.dumps(events))
    os._exit(0)
"""

STORED = """
store = SqliteStore(folder)
for number in range(int(sys.argv[4])):
    if number % 40 == 0:
        store.close()
        one = store.open_or_create("notes", "identity", "model@1", 384)
    one.put([document(f"{number}-{i}", number) for i in range(3)])
    say(number)
    one.remove([f"{number}-0"])
    say(number)
end()
"""
"""Two acknowledged writes a round: three documents, and one of them removed."""


@dataclass(slots=True)
class File:
    """A file on a disk.

    Attributes:
        synced: What is there for certain; None where it does not exist.
        pending: What may be there.
    """

    synced: bytearray | None = None
    pending: list[Event] = field(default_factory=list)

    def is_new(self) -> bool:
        """Whether the folder may not have its name yet, or still that of the one before."""
        return self.synced is None or any(event.kind == "delete" for event in self.pending)

    def sync(self) -> None:
        for event in self.pending:
            self.apply(event)
        self.pending.clear()

    def apply(self, event: Event) -> None:
        if event.kind == "delete":
            self.synced = None
            return
        content = self.synced = bytearray() if self.synced is None else self.synced
        end = event.offset + len(event.data)
        content.extend(bytes(max(0, end - len(content))))
        if event.kind == "truncate":
            del content[event.offset :]
        content[event.offset : end] = event.data

    def after_power_loss(self, chance: random.Random) -> bytes | None:
        """Each pending write is there, or not, or its first sectors are."""
        left = File(None if self.synced is None else bytearray(self.synced))
        share = chance.choice([0, 0.5, 1])
        for event in self.pending:
            kept = chance.random() < share
            if event.kind == "delete" and not kept:
                break  # what was written later is in a file that has no name
            if kept:
                torn = event.kind == "write" and share < 1 and chance.random() < 0.5
                size = SECTOR * chance.randrange(len(event.data) // SECTOR + 1) if torn else len(event.data)
                left.apply(replace(event, data=event.data[:size]))
        return None if left.synced is None else bytes(left.synced)


def power_losses(events: list[Event], moments: list[int]) -> Iterator[tuple[int, dict[str, File]]]:
    """At each of some moments: how many writes the program had acknowledged, and the files."""
    files: dict[str, File] = defaultdict(File)
    said = done = 0
    for moment in sorted(moments):
        for event in events[done:moment]:
            if event.kind == "said":
                said += 1
            elif event.kind == "sync":
                synced(files, event.name)
            else:
                files[event.name].pending.append(event)
        done = moment
        yield said, files


def synced(files: dict[str, File], name: str) -> None:
    """SQLite syncs the folder, too, when it first syncs a new log or journal."""
    if name.endswith(("-wal", "-journal")) and files[name].is_new():
        for file in files.values():
            if any(event.kind == "delete" for event in file.pending):
                file.sync()
    files[name].sync()


@contextmanager
def lost_power(files: dict[str, File], parent: Path, chance: random.Random) -> Iterator[Path]:
    """A folder with what a power cut leaves; what is left of a log's index, which is not synced, is arbitrary."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        for name, file in files.items():
            path, content = Path(folder, Path(name).name), file.after_power_loss(chance)
            if content is not None:
                path.write_bytes(content)
                if path.name.endswith("-wal"):
                    path.with_name(path.name.replace("-wal", "-shm")).write_bytes(chance.randbytes(32_768))
        yield Path(folder)


def recorded(tmp_path: Path, script: str, *arguments: str) -> list[Event]:
    """What a script did to the disk."""
    record = tmp_path / "record"
    run(COMMON + RECORDED + script, str(tmp_path / "data"), str(Path(__file__).parent), str(record), *arguments)
    events: list[Event] = pickle.loads(record.read_bytes())
    return events


def stored_after(writes: int) -> dict[str, bytes]:
    """The documents that ``STORED`` leaves with its first writes, and the digests of their texts."""
    rounds, begun = divmod(writes, 2)
    keys = [(number, i) for number in range(rounds) for i in (1, 2)] + [(rounds, i) for i in range(3 * begun)]
    return {f"{number}-{i}": digest(document(f"{number}-{i}", number).text) for number, i in keys}


@pytest.mark.parametrize("cuts", [20, pytest.param(1_000, marks=pytest.mark.harden)])
def test_a_power_cut_at_any_moment_loses_nothing_acknowledged(
    tmp_path: Path, cuts: int, record_property: Record
) -> None:
    events, chance = recorded(tmp_path, STORED, str(ROUNDS)), random.Random(22)
    copied = [number for number, one in enumerate(events) if one.kind == "sync" and one.name.endswith(".sqlite")]
    assert len(copied) > 3, "the log was never brought into the file"
    moments = [*range(0, len(events), len(events) // cuts), *copied, *(number + 1 for number in copied)]
    record_property("faults", len(moments))
    for said, files in power_losses(events, moments):
        with lost_power(files, tmp_path, chance) as folder:
            now = collection(folder)
            stored = {key: one.digest for key, one in now.stored(now.items().ids).items()}
            assert stored in (stored_after(said), stored_after(said + 1))
            now.put([document("afterwards", 1)])
            for key in [*chance.sample(sorted(stored), min(5, len(stored))), "afterwards"]:
                assert_holds(now, key, int(key.split("-")[0]) if key in stored else 1)
            assert_sound(folder)


CACHED = """
from mcp_server_embeddings.engine.cache import CACHE_FILE, CachedText, VectorCache
for number in range(int(sys.argv[4])):
    if number % 40 == 0:
        cache = VectorCache(folder / CACHE_FILE, 10**9)
    cache.put({bytes([number, i]): CachedText(np.full(384, number + i, np.float32), i, "") for i in range(30)})
    cache.get([bytes([number, 0])])
    say(number)
end()
"""


@pytest.mark.slow
@pytest.mark.fault
def test_a_power_cut_leaves_a_cache_of_right_vectors(tmp_path: Path) -> None:
    events, chance = recorded(tmp_path, CACHED, str(ROUNDS)), random.Random(23)
    keys = [bytes([number, i]) for number in range(ROUNDS) for i in range(30)]
    found = 0
    for _, files in power_losses(events, list(range(0, len(events), len(events) // 20))):
        with lost_power(files, tmp_path, chance) as folder:
            cache = VectorCache(folder / CACHE_FILE, 10**9)
            left = cache.get(keys)
            found += len(left)
            assert all(one.tokens == key[1] and set(one.vector) == {key[0] + key[1]} for key, one in left.items())
            new = CachedText(np.ones(384, np.float32), 1, "")
            cache.put({b"new": new})
            cache.close()
            assert VectorCache(folder / CACHE_FILE, 10**9).get([b"new"])[b"new"].tokens == 1
    assert found > len(keys)
