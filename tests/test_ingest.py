"""Batches of documents, of which several are under way."""

from collections import deque
from collections.abc import Iterator

import pytest

from mcp_server_embeddings.reading.document import Section
from mcp_server_embeddings.store.protocol import Collection
from mcp_server_embeddings.tools.ingest import Batch, Ingester, SourceDocument
from test_sources import Place, place

__all__ = ["place"]


@pytest.fixture
def target(place: Place) -> Collection:
    identity = place.embedder.identity()
    return place.store.open_or_create("notes", identity.digest, identity.short, identity.dimensions)


def batch(*documents: tuple[str, str]) -> Batch:
    return Batch([SourceDocument(key, text, (Section(0, len(text), ""),), None) for key, text in documents])


def stored(target: Collection) -> dict[str, str]:
    ids = target.items().ids
    return dict(zip(ids, target.texts_of(ids), strict=True))


def test_batches_are_stored_in_their_order_and_the_last_text_of_an_id_stays(place: Place, target: Collection) -> None:
    batches = [batch(("same", f"The text has version {n}."), (f"own {n}", f"Only batch {n}.")) for n in range(50)]
    results = list(Ingester(place.embedder, target).put_all(batches))
    assert [(result.added, result.updated) for result in results] == [(2, 0)] + [(1, 1)] * 49
    assert stored(target) == {"same": "The text has version 49.", **{f"own {n}": f"Only batch {n}." for n in range(50)}}


def test_what_comes_before_a_batch_that_fails_is_stored_and_nothing_after_it(place: Place, target: Collection) -> None:
    place.fake.fail_on = "broken"
    batches = [batch((str(n), "A broken text." if n == 20 else f"Text {n}.")) for n in range(40)]
    with pytest.raises(ValueError, match="the runtime failed"):
        deque(Ingester(place.embedder, target).put_all(batches), maxlen=0)
    found = stored(target)
    assert set(found) == {str(n) for n in range(len(found))}
    assert len(found) <= 20  # what is encoded together fails together


def test_batches_are_read_no_further_ahead_than_keeps_the_encoder_busy(place: Place, target: Collection) -> None:
    read = 0

    def batches() -> Iterator[Batch]:
        nonlocal read
        for read in range(1, 1_001):
            yield batch((str(read), f"Text {read}."))

    place.fake.gate.clear()
    results = Ingester(place.embedder, target).put_all(batches())
    place.fake.gate.set()
    next(results)
    assert read <= 40
    assert sum(result.added for result in results) == 999
