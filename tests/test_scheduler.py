"""The one inference queue."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import DIMENSIONS, FakeEncoder
from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.engine.encoder import EncoderInput
from mcp_server_embeddings.engine.scheduler import QueuedModel, Scheduler
from mcp_server_embeddings.errors import CallCancelledError, EncodingError, OperatorError
from mcp_server_embeddings.vectors.scores import Vectors
from waiting import wait_until

BATCH_TOKENS = 64


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def scheduler(encoder: FakeEncoder) -> Iterator[Scheduler]:
    scheduler = Scheduler(encoder.encode, streams=1, batch_tokens=BATCH_TOKENS, dimensions=DIMENSIONS)
    yield scheduler
    encoder.gate.set()
    scheduler.close()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def pieces(*texts: str) -> list[EncoderInput]:
    return [EncoderInput(text, "symmetric", len(text.split()) + 2) for text in texts]


def wait_for_pieces(scheduler: Scheduler, waiting: int) -> None:
    """Until the queue holds exactly this many pieces."""
    wait_until(lambda: scheduler.stats().pieces_waiting == waiting, f"{waiting} pieces in the queue")


def wait_for_batch(scheduler: Scheduler) -> None:
    """Until the encoder has its first batch."""
    wait_until(lambda: scheduler.stats().batches_done > 0, "a first batch")


def held(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> Callable[[list[EncoderInput]], Future[Vectors]]:
    """A plug in the only stream, so that what follows queues up until the gate opens."""
    encoder.gate.clear()
    callers.submit(scheduler.run, pieces("plug"), Call())
    wait_for_batch(scheduler)
    return lambda work: callers.submit(scheduler.run, work, Call())


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_results_come_in_the_callers_order_whatever_the_batches(lengths: list[int]) -> None:
    encoder = FakeEncoder()
    scheduler = Scheduler(encoder.encode, streams=2, batch_tokens=BATCH_TOKENS, dimensions=DIMENSIONS)
    work = pieces(*(f"{number} " * length for number, length in enumerate(lengths)))
    result = scheduler.run(work, Call())
    expected = np.concatenate([FakeEncoder().encode([piece]) for piece in work])
    np.testing.assert_array_equal(result, expected)
    scheduler.close()


def test_batches_hold_texts_of_like_length_within_the_budget(encoder: FakeEncoder, scheduler: Scheduler) -> None:
    scheduler.run(pieces(*("word " * n for n in (1, 30, 2, 29, 1, 28, 2, 100))), Call())
    for batch in encoder.batches:
        lengths = [len(text.split()) + 2 for text in batch]
        assert len(batch) == 1 or max(lengths) * len(batch) <= BATCH_TOKENS
        assert sum(lengths) >= 0.6 * max(lengths) * len(batch)


def test_a_small_call_overtakes_a_large_one(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    submit = held(encoder, scheduler, callers)
    large = submit(pieces(*("large " * 30 for _ in range(200))))
    wait_for_pieces(scheduler, 200)
    small = submit(pieces("small"))
    wait_for_pieces(scheduler, 201)
    encoder.gate.set()
    small.result()
    large.result()
    turn = next(number for number, batch in enumerate(encoder.batches) if "small" in batch)
    assert turn <= 2


def test_concurrent_small_calls_share_batches(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    submit = held(encoder, scheduler, callers)
    calls = [submit(pieces(f"call {number}")) for number in range(48)]
    wait_for_pieces(scheduler, 48)
    encoder.gate.set()
    for call in calls:
        call.result()
    assert len(encoder.batches) == 1 + 3


def test_two_large_calls_advance_together(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    submit = held(encoder, scheduler, callers)
    first = submit(pieces(*("first " * 14 for _ in range(40))))
    wait_for_pieces(scheduler, 40)
    second = submit(pieces(*("second " * 14 for _ in range(40))))
    wait_for_pieces(scheduler, 80)
    encoder.gate.set()
    first.result()
    second.result()
    order = ["second" in batch[0] for batch in encoder.batches[1:]]
    assert abs(sum(order[:10]) - 5) <= 1


def test_many_calls_of_one_session_do_not_hold_up_another(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    held(encoder, scheduler, callers)
    many = [callers.submit(scheduler.run, pieces(*["many " * 14] * 20), Call("flooding")) for _ in range(20)]
    wait_for_pieces(scheduler, 400)
    one = callers.submit(scheduler.run, pieces(*["one " * 14] * 20), Call("other"))
    wait_for_pieces(scheduler, 420)
    encoder.gate.set()
    one.result()
    of_other = [number for number, batch in enumerate(encoder.batches) if "one" in batch[0]]
    assert of_other[-1] <= 2 * len(of_other) + 1
    for call in many:
        call.result()


def test_cancelling_stops_at_the_next_batch(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    encoder.gate.clear()
    call = Call()
    running = callers.submit(scheduler.run, pieces(*("word " * 30 for _ in range(100))), call)
    wait_for_batch(scheduler)
    call.cancel()
    with pytest.raises(CallCancelledError):
        running.result()
    assert scheduler.stats().pieces_waiting == 0
    encoder.gate.set()
    scheduler.run(pieces("next"), Call())
    assert len(encoder.batches) == 2


def test_a_call_cancelled_beforehand_is_not_encoded(encoder: FakeEncoder, scheduler: Scheduler) -> None:
    call = Call()
    call.cancel()
    encoder.gate.clear()
    with pytest.raises(CallCancelledError):
        scheduler.run(pieces("never"), call)


def test_a_failing_batch_fails_its_calls_and_no_other(encoder: FakeEncoder, scheduler: Scheduler) -> None:
    encoder.fail_on = "poison"
    with pytest.raises(ValueError, match="the runtime failed"):
        scheduler.run(pieces("poison"), Call())
    assert scheduler.run(pieces("fine"), Call()).shape == (1, 64)


class Panic(BaseException):
    """What a library in Rust raises where it must not go on: no ``Exception``."""


def raises(error: BaseException) -> Vectors:
    raise error


BROKEN: dict[str, Callable[[int], object]] = {
    "none": lambda _: None,
    "one too few": lambda count: np.zeros((count - 1, DIMENSIONS), dtype=np.float32),
    "one too many": lambda count: np.zeros((count + 1, DIMENSIONS), dtype=np.float32),
    "no vector": lambda _: np.zeros((0, DIMENSIONS), dtype=np.float32),
    "another width": lambda count: np.zeros((count, DIMENSIONS + 1), dtype=np.float32),
    "one dimension": lambda count: np.zeros(count, dtype=np.float32),
    "a ragged list": lambda _: [[0.0], [0.0, 0.0]],
    "no memory": lambda _: raises(MemoryError()),
    "a panic": lambda _: raises(Panic("thread panicked")),
    "the end of the thread": lambda _: raises(SystemExit(1)),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_an_unusable_batch_fails_its_calls_and_the_thread_lives_on(
    broken: Callable[[int], object], callers: ThreadPoolExecutor
) -> None:
    encoder = FakeEncoder()

    def encode(batch: Sequence[EncoderInput]) -> Vectors:
        vectors = encoder.encode(batch)
        return broken(len(batch)) if "broken" in batch[0].text else vectors  # type: ignore[return-value]

    scheduler = Scheduler(encode, streams=1, batch_tokens=BATCH_TOKENS, dimensions=DIMENSIONS)
    with closing(scheduler):
        for _ in range(2):
            failing = callers.submit(scheduler.run, pieces("broken", "broken too"), Call())
            assert isinstance(failing.exception(timeout=60), EncodingError | MemoryError | ValueError)
            assert callers.submit(scheduler.run, pieces("fine"), Call()).result(timeout=60).shape == (1, DIMENSIONS)
        assert scheduler.stats().calls_waiting == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_fails_its_own_call_only(value: float, callers: ThreadPoolExecutor) -> None:
    encoder = FakeEncoder()

    def encode(batch: Sequence[EncoderInput]) -> Vectors:
        vectors = encoder.encode(batch)
        for row, piece in enumerate(batch):
            if "secret" in piece.text:
                vectors[row, 3] = value
        return vectors

    scheduler = Scheduler(encode, streams=1, batch_tokens=BATCH_TOKENS, dimensions=DIMENSIONS)
    with closing(scheduler):
        submit = held(encoder, scheduler, callers)
        bad, good = submit(pieces("secret", *["word"] * 5)), submit(pieces("good"))
        wait_for_pieces(scheduler, 7)
        encoder.gate.set()
        error = bad.exception(timeout=60)
        assert isinstance(error, OperatorError)
        assert "not finite" in str(error)
        assert "--engine reference" in str(error)
        assert "secret" not in str(error)
        np.testing.assert_array_equal(good.result(timeout=60), FakeEncoder().encode(pieces("good")))
        assert {"secret", "good"} <= set(next(batch for batch in encoder.batches if "secret" in batch))
        assert scheduler.stats().pieces_waiting == 0


def test_progress_counts_texts(encoder: FakeEncoder, scheduler: Scheduler) -> None:
    call = Call()
    scheduler.run(pieces(*("word " * 20 for _ in range(10))), call)
    assert call.done == 10


def test_closing_ends_waiting_calls(encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor) -> None:
    submit = held(encoder, scheduler, callers)
    waiting = submit(pieces("never"))
    wait_for_pieces(scheduler, 1)
    scheduler.close()
    with pytest.raises(CallCancelledError):
        waiting.result()
    with pytest.raises(CallCancelledError):
        scheduler.run(pieces("late"), Call())


def test_one_call_with_many_texts_keeps_every_stream_busy() -> None:
    """Both streams must be inside the encoder at once, or the barrier is never passed."""
    together = threading.Barrier(2)

    def encode(batch: Sequence[EncoderInput]) -> Vectors:
        together.wait(timeout=60)
        return np.zeros((len(batch), 1), dtype=np.float32)

    scheduler = Scheduler(encode, streams=2, batch_tokens=BATCH_TOKENS, dimensions=1)
    scheduler.run(pieces(*("word " * 60 for _ in range(10))), Call())
    assert scheduler.stats().batches_done == 10
    scheduler.close()


def second_model(encoder: FakeEncoder) -> tuple[QueuedModel, list[list[str]]]:
    """A model beside the encoder that gives the length of a text, and its batches; the encoder's gate holds it too."""
    batches: list[list[str]] = []

    def encode(batch: Sequence[EncoderInput]) -> Vectors:
        encoder.gate.wait()
        batches.append([piece.text for piece in batch])
        return np.array([[len(piece.text)] for piece in batch], np.float32)

    return QueuedModel(encode, BATCH_TOKENS, 1), batches


def test_two_models_share_the_queue_but_no_batch(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    model, batches = second_model(encoder)
    submit = held(encoder, scheduler, callers)
    texts = [submit(pieces(f"text {number}")) for number in range(3)]
    lengths = [callers.submit(scheduler.run, pieces("a" * n), Call(), model=model) for n in range(1, 4)]
    wait_for_pieces(scheduler, 6)
    encoder.gate.set()
    assert [length.result().tolist() for length in lengths] == [[[1.0]], [[2.0]], [[3.0]]]
    assert all(text.result().shape == (1, DIMENSIONS) for text in texts)
    assert sorted(batches[0]) == ["a", "aa", "aaa"]
    assert [len(batch) for batch in encoder.batches] == [1, 3]


def test_what_is_in_no_batch_at_the_deadline_is_left_out(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    model, batches = second_model(encoder)
    submit = held(encoder, scheduler, callers)
    late = callers.submit(scheduler.run, pieces("never"), Call(), model=model, deadline=time.monotonic() + 0.01)
    assert np.isnan(late.result()).all()
    assert late.result().shape == (1, 1)
    text = submit(pieces("text"))
    encoder.gate.set()
    text.result()
    assert (batches, scheduler.stats().calls_waiting) == ([], 0)


def test_with_a_deadline_inputs_are_taken_in_their_order_and_a_begun_batch_is_waited_for(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    begun = threading.Event()

    def encode(batch: Sequence[EncoderInput]) -> Vectors:
        begun.set()
        encoder.gate.wait()
        return np.ones((len(batch), 1), np.float32)

    encoder.gate.clear()
    work = pieces(*("word " * n for n in (30, 28, 60, 1, 2)))
    deadline = time.monotonic() + 0.2
    running = callers.submit(scheduler.run, work, Call(), model=QueuedModel(encode, BATCH_TOKENS, 1), deadline=deadline)
    begun.wait()
    wait_for_pieces(scheduler, 0)
    encoder.gate.set()
    assert np.isfinite(running.result()[:, 0]).tolist() == [True, True, False, False, False]


def test_cancelling_ends_a_call_with_a_deadline(
    encoder: FakeEncoder, scheduler: Scheduler, callers: ThreadPoolExecutor
) -> None:
    model, batches = second_model(encoder)
    held(encoder, scheduler, callers)
    call = Call()
    running = callers.submit(scheduler.run, pieces("never"), call, model=model, deadline=time.monotonic() + 600)
    wait_for_pieces(scheduler, 1)
    call.cancel()
    with pytest.raises(CallCancelledError):
        running.result()
    assert (batches, scheduler.stats().pieces_waiting) == ([], 0)
    encoder.gate.set()
