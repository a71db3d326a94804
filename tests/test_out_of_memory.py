"""Memory that runs out while the model runs: batches are halved and tried again, and what never fits is refused."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np
import pytest

from fakes import DIMENSIONS, FakeEncoder
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.scheduler import Scheduler
from mcp_server_embeddings.errors import EncodingError
from mcp_server_embeddings.vectors.scores import Vectors

SHORT_OF_MEMORY: dict[str, Callable[[], Exception]] = {
    "Python": MemoryError,
    "OpenVINO": lambda: RuntimeError("[CPU] Subgraph node with name 'Transpose_71' can't alloc"),
    "torch": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    "CUDA": lambda: RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
}


def inputs(*texts: str) -> list[EncoderInput]:
    return [EncoderInput(text, "symmetric", len(text.split()) + 2) for text in texts]


@contextmanager
def scheduler(error: Callable[[], Exception], most: int, never: str = "\0") -> Iterator[tuple[Scheduler, list[int]]]:
    """A queue whose model has memory for so many inputs at a time, and never for one text; the sizes of its batches."""
    encoder, sizes = FakeEncoder(), list[int]()

    def encode(batch: Sequence[EncoderInput]) -> Vectors:
        sizes.append(len(batch))
        if len(batch) > most or any(never in one.text for one in batch):
            raise error()
        return encoder.encode(batch)

    with closing(Scheduler(encode, streams=1, batch_tokens=1_000, dimensions=DIMENSIONS)) as queue:
        yield queue, sizes


@pytest.mark.fault
@pytest.mark.parametrize("error", SHORT_OF_MEMORY.values(), ids=SHORT_OF_MEMORY.keys())
def test_a_batch_for_which_there_is_no_memory_is_encoded_in_halves(error: Callable[[], Exception]) -> None:
    texts = inputs(*(f"text {number}" for number in range(20)))
    with scheduler(error, most=3) as (queue, sizes):
        vectors = queue.run(texts, Call())
    np.testing.assert_array_equal(vectors, FakeEncoder().encode(texts))
    assert max(sizes) == 20
    assert sizes.count(3) + sizes.count(2) == 8


@pytest.mark.fault
def test_a_text_for_which_there_is_never_memory_fails_its_own_call_only() -> None:
    with scheduler(MemoryError, most=100, never="huge") as (queue, _), ThreadPoolExecutor(4) as callers:
        calls = [inputs("one", "two"), inputs("a", "huge", "b"), inputs("three")]
        found = [callers.submit(queue.run, call, Call()) for call in calls]
        with pytest.raises(EncodingError, match="not enough memory for a text of 3 tokens alone; end other programs"):
            found[1].result()
        for call, answer in zip(calls, found, strict=True):
            if answer is not found[1]:
                np.testing.assert_array_equal(answer.result(), FakeEncoder().encode(call))
