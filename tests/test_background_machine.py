"""Random calls that take longer than clients wait, in a time of their own, beside a table of the work that goes on."""

import asyncio
from collections import Counter
from concurrent.futures import Future

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mcp_server_embeddings.engine.call import Call
from mcp_server_embeddings.mcp_layer.background import KEEP_SECONDS, WAIT_SECONDS, BackgroundCalls
from rounds import Rounds

KEYS = st.sampled_from([b"a", b"b", b"c"])
TURNS = 8
"""Of the loop, after which whoever can go on has done so."""


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock is moved by hand."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Work:
    """One piece of work that was begun for a key."""

    def __init__(self, key: bytes, call: Call, number: int) -> None:
        self.key, self.call, self.number = key, call, number
        self.future: Future[int] = Future()


class BackgroundMachine(RuleBasedStateMachine):
    """Callers that ask, wait and cancel; work that ends well or badly, or when it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.loop.set_exception_handler(lambda _, told: self.said.append(str(told["message"])))
        self.said: list[str] = []
        self.calls = BackgroundCalls[int]()
        self.works: list[Work] = []
        self.waiting: list[tuple[bytes, float, asyncio.Task[int | None]]] = []
        self.delivered = Counter[int]()

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        for work in self.works:
            if work.call.cancelled and not work.future.done():
                work.future.set_exception(RuntimeError("cancelled"))
        self.loop.run_until_complete(turns())

    def running(self, key: bytes) -> list[Work]:
        return [work for work in self.works if work.key == key and not work.future.done()]

    def start(self, key: bytes, call: Call) -> Future[int]:
        assert not self.running(key), "the same call is worked on twice"
        self.works.append(Work(key, call, len(self.works)))
        return self.works[-1].future

    @rule(key=KEYS)
    def ask(self, key: bytes) -> None:
        async def wait() -> int | None:
            return await self.calls.wait(key, self.calls.call(key), lambda call: self.start(key, call))

        self.waiting.append((key, self.loop.now, self.loop.create_task(wait())))
        self.settle()

    @precondition(lambda self: any(not work.future.done() for work in self.works))
    @rule(data=st.data(), well=st.booleans())
    def finish(self, data: st.DataObject, well: bool) -> None:
        work = data.draw(st.sampled_from([work for work in self.works if not work.future.done()]))
        if well:
            work.future.set_result(work.number)
        else:
            work.future.set_exception(ValueError(work.number))
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A client cancels; what others wait for goes on."""
        place = data.draw(st.integers(0, len(self.waiting) - 1))
        key, _, task = self.waiting.pop(place)
        others = any(one == key for one, _, _ in self.waiting)
        before = self.running(key)
        task.cancel()
        self.settle()
        assert task.cancelled()
        assert all(not work.call.cancelled for work in before) if others else not self.running(key)

    @rule(seconds=st.sampled_from([1.0, WAIT_SECONDS, KEEP_SECONDS + 1]))
    def pass_time(self, seconds: float) -> None:
        self.loop.now += seconds
        self.settle()

    @rule()
    def close(self) -> None:
        """The session ends: all work is cancelled."""
        self.calls.close()
        self.settle()
        assert all(work.future.done() for work in self.works)

    @invariant()
    def answers_are_of_their_calls(self) -> None:
        for key, began, task in [waiting for waiting in self.waiting if waiting[2].done()]:
            self.waiting.remove((key, began, task))
            failed = task.exception()
            if failed is not None:
                assert isinstance(failed, ValueError | RuntimeError)
            elif (found := task.result()) is None:
                assert self.loop.now - began >= WAIT_SECONDS
            else:
                assert self.works[found].key == key
                self.delivered[found] += 1

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        for key, began, _ in self.waiting:
            assert self.running(key)
            assert self.loop.now - began < WAIT_SECONDS

    def teardown(self) -> None:
        self.calls.close()
        self.settle()
        for _, _, task in self.waiting:
            task.cancel()
        self.settle()
        self.loop.close()
        assert self.said == []


def test_every_caller_gets_the_result_of_its_own_call_in_time(rounds: Rounds) -> None:
    rounds.run_machine(BackgroundMachine, examples=100, seconds=60)
