"""Calls that take longer than clients wait: they go on, and the same call again waits for more.

Clients give up after 30 or 60 seconds, some whatever progress is reported. So a call is answered in time with how far
it has come, and its work goes on.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio

from mcp_server_embeddings.engine.call import Call

WAIT_SECONDS = 22.0
"""After these a call is answered with how far it has come; with what surrounds it, that is under 25."""

KEEP_SECONDS = 600.0
"""How long a result is kept for the call that asks for it."""

_MAX_KEPT = 64
"""Results that are kept; of more, those finished first are dropped."""

T = TypeVar("T")


@dataclass(slots=True)
class _Job(Generic[T]):
    call: Call
    future: "asyncio.Future[T]"
    waiting: int = 0
    expires: float = float("inf")


class BackgroundCalls(Generic[T]):
    """Waits for calls, and keeps those that take too long. Used by one event loop.

    Args:
        seconds: How long to wait before a call goes on in the background.
        session: Whose calls they are.

    Example:
        >>> calls = BackgroundCalls[str]()
        >>> key = call_key("cluster", arguments, "2025-11-25")
        >>> await calls.wait(key, calls.call(key), lambda call: threads.submit(work, call))
    """

    def __init__(self, seconds: float = WAIT_SECONDS, session: Hashable = None) -> None:
        self._seconds = seconds
        self._session = session
        self._jobs: dict[bytes, _Job[T]] = {}

    def call(self, key: bytes) -> Call:
        """Return the call that goes on under this key, or a new one."""
        job = self._jobs.get(key)
        return Call(self._session) if job is None else job.call

    async def wait(self, key: bytes, call: Call, start: Callable[[Call], "Future[T]"]) -> T | None:
        """Return the result of a call, or None where it goes on in the background.

        The same call sent twice is worked on once. If the caller cancels and no other waits for the same call, the call
        is cancelled.

        Args:
            key: Of tool and arguments; see ``call_key``.
            call: What ``call`` returned.
            start: Begins the work; not called for a call that goes on already.
        """
        self._drop_expired()
        job = self._jobs.get(key) or self._begin(key, call, start)
        job.waiting += 1
        answered = False
        try:
            with anyio.move_on_after(self._seconds):
                result = await asyncio.shield(job.future)
                self._forget(key, job)
                answered = True
                return result
            answered = True
            return None
        finally:
            job.waiting -= 1
            if not answered and not job.waiting:
                self._forget(key, job)
                job.call.cancel()

    def close(self) -> None:
        """Cancel the calls that go on, and drop the results that nobody waits for any more."""
        for job in self._jobs.values():
            job.call.cancel()
        self._jobs.clear()

    def _begin(self, key: bytes, call: Call, start: Callable[[Call], "Future[T]"]) -> _Job[T]:
        job = self._jobs[key] = _Job(call, asyncio.wrap_future(start(call)))
        loop = asyncio.get_running_loop()

        def finished(_: "asyncio.Future[T]") -> None:
            job.expires = loop.time() + KEEP_SECONDS

        job.future.add_done_callback(finished)
        return job

    def _forget(self, key: bytes, job: _Job[T]) -> None:
        """Drop a job, unless the same call has begun anew."""
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def _drop_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        done = sorted((job.expires, key) for key, job in self._jobs.items() if job.future.done())
        too_many = len(done) - _MAX_KEPT
        for position, (expires, key) in enumerate(done):
            if expires < now or position < too_many:
                del self._jobs[key]


def call_key(tool: str, arguments: Mapping[str, object], protocol: str) -> bytes:
    """Return the key of a call: the same for the same tool with the same arguments in the same protocol."""
    # Arguments may hold half of a character, which JSON of pydantic cannot.
    written = json.dumps([tool, sorted(arguments.items()), protocol], default=str)
    return hashlib.blake2b(written.encode(), digest_size=16).digest()
