"""Worker processes that parse files, so that no file can stall the server, crash it or exhaust its memory.

A few are started on demand. Each parses one file at a time, and is ended if a file takes too long, if its caller
cancels, or after it was idle for a while.
"""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from queue import SimpleQueue
from typing import IO, Any

from mcp_server_embeddings.reading.document import UnreadableError, too_slow, until
from mcp_server_embeddings.reading.limits import Cancelled, ReadingLimits
from mcp_server_embeddings.reading.parsing import time_limit
from mcp_server_embeddings.reading.worker import OUT_OF_MEMORY, PART, REQUEST

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from mcp_server_embeddings.reading.worker import main; main()"
"""Program of a worker; it imports modules from the same paths as this process."""

_VARIABLES = ("PATH", "PYTHON", "LD_", "DYLD_", "LANG", "LC_", "HOME", "USERPROFILE", "APPDATA", "SYSTEMROOT", "TEMP")
"""Prefixes of the environment variables that an interpreter needs; none of them holds a key or a password."""

MAX_PROCESSES = 4
"""Maximum number of processes: one slow file does not stop the files of other sessions."""

IDLE_SECONDS = 30.0

_POLL_SECONDS = 0.05
"""Seconds between two checks of the deadline and of whether the caller cancelled."""


@dataclass(frozen=True, slots=True)
class Request:
    """A file to parse.

    Attributes:
        path: Its suffix determines the format; nothing is opened.
        content: All bytes of the file.
        limits: Upper bounds.
        column: For a table, -1 for its column names, otherwise the index of one column; None for documents.
        table: Unique number of a table, so that it is sent and parsed once for all its columns; 0 for documents.
    """

    path: str
    content: bytes
    limits: ReadingLimits
    column: int | None = None
    table: int = 0

    def header(self) -> bytes:
        """Return the request as JSON, without the content."""
        return b'{"path":%s,"column":%s,"limits":%s}' % (
            json.dumps(self.path).encode(),
            json.dumps(self.column).encode(),
            _limits_json(self.limits),
        )


@functools.lru_cache
def _limits_json(limits: ReadingLimits) -> bytes:
    return json.dumps(asdict(limits)).encode()


class _EndedError(Exception):
    """The process ended before it answered; the argument is its exit status."""


class _Process:
    """One process, which handles one request at a time.

    Attributes:
        last_used: Time of the last answer.
        is_running: Whether it was not ended.
        table: Number of the table that it keeps; 0 for none.
    """

    def __init__(self) -> None:
        self.last_used = 0.0
        self.is_running = True
        self.table = 0
        self._process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-P", "-c", _PROGRAM, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,  # never read: when it closes, the worker knows that this process is gone
            env={name: value for name, value in os.environ.items() if name.upper().startswith(_VARIABLES)},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._requests = SimpleQueue[tuple[Request, Future[list[Any] | str | None]] | None]()
        threading.Thread(target=self._serve, name="reading", daemon=True).start()

    def ask(self, request: Request, check: Cancelled) -> list[Any]:
        """Return the parts of the answer. If ``check`` raises, end the process.

        Raises:
            UnreadableError: The file yields no text.
            _EndedError: The process ended.
        """
        future = Future[list[Any] | str | None]()
        self._requests.put((request, future))
        try:
            answer = _wait_for(future, check)
        except BaseException:
            self.end()
            raise
        if answer is None:
            raise _EndedError(self.end())
        self.last_used = time.monotonic()
        if isinstance(answer, str):
            raise UnreadableError(answer)
        return answer

    def end(self) -> int:
        """End the process; return its exit status."""
        self.is_running = False
        self._process.kill()
        self._requests.put(None)
        return self._process.wait()

    def _serve(self) -> None:
        """Write requests and read answers in a thread, since not every system can wait for a pipe with a timeout."""
        requests, answers, lifeline = self._process.stdin, self._process.stdout, self._process.stderr
        assert requests and answers and lifeline  # noqa: S101, PT018 - opened by Popen
        while (item := self._requests.get()) is not None:
            request, future = item
            try:
                future.set_result(self._exchange(requests, answers, request))
            except (OSError, ValueError, RecursionError, MemoryError):  # a closed pipe or a malformed answer
                future.set_result(None)
        for pipe in (requests, answers, lifeline):
            with suppress(OSError):
                pipe.close()

    def _exchange(self, requests: IO[bytes], answers: IO[bytes], request: Request) -> list[Any] | str:
        content = b"" if request.table and request.table == self.table else request.content
        header = request.header()
        requests.write(REQUEST.pack(len(header), len(content)) + header)
        requests.write(content)
        requests.flush()
        parts: list[Any] = []
        remaining = request.limits.answer_bytes
        while True:
            prefix = answers.read(PART.size)
            size = PART.unpack(prefix)[0] if len(prefix) == PART.size else remaining + 1
            remaining -= size
            if remaining < 0:
                raise ValueError("no answer")
            part = json.loads(answers.read(size))
            if part is None:
                self.table = request.table or self.table
                return parts
            if isinstance(part, str):
                self.table = 0 if request.table else self.table
                return part
            parts.append(part)


def _wait_for(future: "Future[list[Any] | str | None]", check: Cancelled) -> list[Any] | str | None:
    while True:
        with suppress(TimeoutError):
            return future.result(_POLL_SECONDS)
        check()


class ReaderProcesses:
    """The pool of processes that this process has started. Thread-safe.

    Args:
        limit: Maximum number of processes.
        idle_seconds: Time after which an idle process is ended.
    """

    def __init__(self, limit: int = MAX_PROCESSES, idle_seconds: float = IDLE_SECONDS) -> None:
        self._slots = threading.Semaphore(limit)
        self._idle_seconds = idle_seconds
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def ask(self, request: Request, cancelled: Cancelled) -> list[Any]:
        """Have a file parsed; return the parts of the answer, see ``worker``.

        Args:
            request: The file and the requested part of it.
            cancelled: Called frequently; raises if the caller cancelled.

        Raises:
            UnreadableError: It yields no text, takes too long, needs too much memory, or crashed its parser.
        """
        cancelled()
        while not self._slots.acquire(timeout=_POLL_SECONDS):
            cancelled()
        try:
            check = until(time_limit(request.path, request.limits), cancelled)
            idle = self._take_idle(request.table)
            if idle is not None:
                with suppress(_EndedError):  # an earlier file may have caused it: try again in a new process
                    return self._answer(idle, request, check)
            try:
                return self._answer(_start(), request, check)
            except _EndedError as ended:
                raise UnreadableError(_reason(ended.args[0], request)) from None
        finally:
            self._slots.release()

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            ended, self._idle = self._idle, []
        for process in ended:
            process.end()

    def _answer(self, process: _Process, request: Request, check: Cancelled) -> list[Any]:
        try:
            return process.ask(request, check)
        finally:
            with self._lock:
                if process.is_running:
                    self._idle.append(process)
                if self._idle and self._timer is None:
                    self._start_timer()

    def _take_idle(self, table: int) -> _Process | None:
        """Take the idle process that keeps a table, otherwise the one that was used last."""
        with self._lock:
            last = self._idle[-1] if self._idle else None
            process = next((each for each in self._idle if table and each.table == table), last)
            if process is not None:
                self._idle.remove(process)
            return process

    def _start_timer(self) -> None:
        self._timer = threading.Timer(self._idle_seconds, self._end_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_idle(self) -> None:
        cutoff = time.monotonic() - self._idle_seconds
        with self._lock:
            ended = [process for process in self._idle if process.last_used <= cutoff]
            self._idle = [process for process in self._idle if process.last_used > cutoff]
            self._timer = None
            if self._idle:
                self._start_timer()
        for process in ended:
            process.end()


def _start() -> _Process:
    try:
        return _Process()
    except OSError as error:
        raise UnreadableError(f"the process that parses it cannot be started: {error.strerror}") from None


def _reason(status: int, request: Request) -> str:
    if status == OUT_OF_MEMORY:
        return f"needs over {request.limits.memory_bytes:,} bytes of memory; split the file or save it as text"
    if status == -getattr(signal, "SIGXCPU", 0):
        return too_slow(time_limit(request.path, request.limits)).reason
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return f"its parser crashed ({how}); save it again, or as text"


@functools.cache
def reader_processes(pid: int) -> ReaderProcesses:
    """Return the pool of this process, whose id is ``pid``; a forked child must not use the pool of its parent."""
    processes = ReaderProcesses()
    atexit.register(lambda: processes.close() if os.getpid() == pid else None)
    return processes
