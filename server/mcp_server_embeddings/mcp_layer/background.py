"""Calls that take longer than clients wait: they continue in the background, and the same call sent again waits more.

Clients give up after 30 or 60 seconds, some of them even if progress is reported. So a long call is answered in time
with its progress, and its work continues.
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
"""A call that takes longer is answered with its progress; including overhead, that takes under 25 seconds."""

KEEP_SECONDS = 600.0
"""How long a result is kept for a repeated call."""

_MAX_RESULTS = 64
"""Maximum number of results that are kept; those that finished first are dropped."""

T = TypeVar("T")


@dataclass(slots=True)
class _Job(Generic[T]):
    call: Call
    future: "asyncio.Future[T]"
    waiters: int = 0
    expires: float = float("inf")


class BackgroundCalls(Generic[T]):
    """Waits for calls, and keeps those that take too long. To be used from one event loop.

    Args:
        seconds: How long to wait before a call continues in the background.
        session: The session that the calls belong to.

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
        """Return the call in progress with this key, or a new one."""
        job = self._jobs.get(key)
        return Call(self._session) if job is None else job.call

    async def wait(self, key: bytes, call: Call, start: Callable[[Call], "Future[T]"]) -> T | None:
        """Return the result of a call, or None if it continues in the background.

        Calls with the same key share one execution. It is cancelled when a caller is cancelled and no other waits.

        Args:
            key: Key of the tool and its arguments; see ``call_key``.
            call: The return value of ``call``.
            start: Starts the work; not called if a call with this key is in progress or its result is kept.
        """
        self._drop_expired()
        job = self._jobs.get(key) or self._start(key, call, start)
        job.waiters += 1
        try:
            with anyio.move_on_after(self._seconds):
                result = await asyncio.shield(job.future)
                self._forget(key, job)
                return result
        except BaseException:
            if job.waiters == 1:
                self._forget(key, job)
                job.call.cancel()
            raise
        finally:
            job.waiters -= 1
        return None

    def close(self) -> None:
        """Cancel the calls in progress and drop all results."""
        for job in self._jobs.values():
            job.call.cancel()
        self._jobs.clear()

    def _start(self, key: bytes, call: Call, start: Callable[[Call], "Future[T]"]) -> _Job[T]:
        job = self._jobs[key] = _Job(call, asyncio.wrap_future(start(call)))
        loop = asyncio.get_running_loop()

        def set_expiry(_: "asyncio.Future[T]") -> None:
            job.expires = loop.time() + KEEP_SECONDS

        job.future.add_done_callback(set_expiry)
        return job

    def _forget(self, key: bytes, job: _Job[T]) -> None:
        """Drop a job, unless a new one has started under the same key."""
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def _drop_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        finished = sorted((job.expires, key) for key, job in self._jobs.items() if job.future.done())
        excess = len(finished) - _MAX_RESULTS
        for position, (expires, key) in enumerate(finished):
            if expires < now or position < excess:
                del self._jobs[key]


def call_key(tool: str, arguments: Mapping[str, object], protocol: str) -> bytes:
    """Return the key of a call, which identifies the tool, its arguments and the protocol."""
    # The standard library, since arguments may contain unpaired surrogates, which pydantic cannot encode.
    encoded = json.dumps([tool, sorted(arguments.items()), protocol], default=str)
    return hashlib.blake2b(encoded.encode(), digest_size=16).digest()
