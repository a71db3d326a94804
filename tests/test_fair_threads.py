"""Threads that sessions share."""

import threading
from concurrent.futures import Future

import pytest

from mcp_server_embeddings.mcp_layer.fair_threads import FairThreads
from wire import PATIENCE


def test_what_is_submitted_is_answered_or_raised() -> None:
    threads = FairThreads(2, 2, "test")
    assert threads.submit("one", sum, [1, 2]).result(PATIENCE) == 3
    with pytest.raises(ZeroDivisionError):
        threads.submit("one", divmod, 1, 0).result(PATIENCE)
    assert [threads.submit(number, abs, -number).result(PATIENCE) for number in range(9)] == list(range(9))


def test_a_session_waits_for_one_call_of_another_and_not_for_all() -> None:
    threads, order, gate = FairThreads(1, 1, "test"), list[str](), threading.Event()
    threads.submit("first", gate.wait, PATIENCE)
    flood = [threads.submit("flooding", order.append, "flooding") for _ in range(50)]
    threads.submit("other", order.append, "other")
    gate.set()
    for call in flood:
        call.result(PATIENCE)
    assert order.index("other") <= 1


def test_a_session_has_no_more_threads_than_its_own() -> None:
    threads, gate, started = FairThreads(4, 2, "test"), threading.Event(), threading.Semaphore(0)

    def hold() -> bool:
        started.release()
        return gate.wait(PATIENCE)

    flood = [threads.submit("flooding", hold) for _ in range(10)]
    assert started.acquire(timeout=PATIENCE)
    assert started.acquire(timeout=PATIENCE)
    assert threads.submit("other", sum, [1]).result(PATIENCE) == 1
    assert not started.acquire(blocking=False)
    gate.set()
    assert all(call.result(PATIENCE) for call in flood)


def test_what_was_cancelled_before_its_turn_never_runs() -> None:
    threads, gate, ran = FairThreads(1, 1, "test"), threading.Event(), list[int]()
    held: Future[bool] = threads.submit("one", gate.wait, PATIENCE)
    assert threads.submit("one", ran.append, 1).cancel()
    last = threads.submit("one", ran.append, 2)
    gate.set()
    assert held.result(PATIENCE)
    last.result(PATIENCE)
    assert ran == [2]
