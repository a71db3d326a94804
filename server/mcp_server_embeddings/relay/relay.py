"""Pass messages between a client and the engine process, and from one engine process to the next."""

import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from mcp_server_embeddings.errors import EmbeddingsError
from mcp_server_embeddings.program import DISTRIBUTION
from mcp_server_embeddings.relay.address import EngineAddress
from mcp_server_embeddings.relay.notices import LOG, READY, REFUSED
from mcp_server_embeddings.relay.parent_process import wait_for_parent_exit
from mcp_server_embeddings.relay.unanswered import SessionState
from mcp_server_embeddings.relay.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is a tenth of a relay's memory
    from typing import NoReturn

_CHUNK = 65_536

_MAX_KEPT = 32_000_000
"""Bytes of a line over which it is passed on in parts and not kept: the engine refuses it."""

_MAX_FAILURES = 10
"""Engine processes in a row that end before they accept the session. After three, calls were given up where processes
were killed at random moments (``benchmarks/sessions.py --kills``); a broken installation ends ten within seconds."""

LAST_ANSWERS_SECONDS = 0.4
"""How long an engine that has accepted the session may still answer calls of tools after the client's last line."""

LISTS_SECONDS = 10.0
"""Likewise what needs no model, such as lists: a client may pipe its requests in, and one that wants the server gone
sends SIGTERM after two seconds."""

_PATIENCE_MS = 50
"""Between two looks whether a client whose messages wait has closed its end."""

_START_SECONDS = 30.0
"""How long the same client waits for an engine that has not."""


class Relay:
    """One client's session.

    Args:
        wire: The client's pipes.
        address: Of the engine process.
        engine: Connected to it.
        greeting: The line that introduces the session.
        connect: Connects to the next engine process, and starts it if need be.
    """

    def __init__(
        self,
        wire: Wire,
        address: EngineAddress,
        engine: socket.socket,
        greeting: bytes,
        connect: Callable[[], socket.socket],
    ) -> None:
        self._wire = wire
        self._address = address
        self._engine = engine
        self._greeting = greeting
        self._connect = connect
        self._state = SessionState()
        self._sending = threading.Lock()
        self._answering = threading.Lock()
        self._ready = threading.Event()
        self._failures = 0
        self._finished = False  # the client has sent its last line
        self._send(greeting)

    def run(self) -> "NoReturn":
        """Serve the client until it goes away; ends the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: leave(128 + received))
        for work in (self._pass_requests, self._end_with_parent):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self._pass_answers()
            if self._finished and (self._ready.is_set() or not self._state.unanswered()):
                leave(0)
            self._take_over()

    def _pass_requests(self) -> None:
        """Pass the client's lines on, until there are no more. A thread's."""
        whole = True  # whether the next part begins a line
        while part := self._wire.reader.readline(_MAX_KEPT + 1):
            with self._sending:
                if whole and len(part) <= _MAX_KEPT:
                    self._state.sent(part)
                self._send(part)
            whole = part.endswith(b"\n")
        self._finish()

    def _finish(self) -> None:
        """Leave when what can be answered is, after the client's last line."""
        self._finished = True
        self._ready.wait(_START_SECONDS)  # it may refuse the settings, which is to be said
        if not self._state.unanswered():
            leave(0)
        with self._sending, suppress(OSError):  # it ended
            self._engine.shutdown(socket.SHUT_WR)
        seconds = LISTS_SECONDS if self._state.unanswered(but="tools/call") else 0.0
        deadline = threading.Timer(seconds + LAST_ANSWERS_SECONDS, leave, args=(0,))
        deadline.daemon = True
        deadline.start()

    def _pass_answers(self) -> None:
        """Pass the engine's lines on until it ends."""
        for line in _lines(self._engine):
            if not line.startswith(b"{"):
                self._notice(line)
            elif self._state.received(line):
                self._answer(line)

    def _notice(self, line: bytes) -> None:
        kind, content = line[:1], line[1:]
        if kind == READY:
            self._failures = 0
            self._ready.set()
        elif kind == LOG:
            with suppress(OSError):  # nobody reads it any more
                sys.stderr.write(json.loads(content) + "\n")
        elif kind == REFUSED:
            sys.stderr.write(f"{DISTRIBUTION}: {json.loads(content)}\n")
            leave(2)

    def _take_over(self) -> None:
        """Have the next engine process do what this one left undone."""
        self._sending.acquire()  # until the rest of the session has been sent
        accepted = self._ready.is_set()
        if not accepted:
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                self._give_up()
        self._ready.clear()
        self._engine.close()
        try:
            self._engine = self._connect()
        except (OSError, EmbeddingsError) as error:
            self._give_up(str(error))
        self._send(self._greeting)
        threading.Thread(target=self._send_session, args=(accepted,), daemon=True).start()

    def _send_session(self, accepted: bool) -> None:
        """Send the handshake and the unanswered requests again; holds the right to send from ``_take_over`` on."""
        try:
            requests = self._state.repeated(accepted=accepted)
            for error in self._state.given_up():
                self._answer(error)
            for line in [*self._state.handshake(), *requests]:
                self._send(line)
            for notification in self._state.changed():
                self._answer(notification)
        finally:
            self._sending.release()

    def _give_up(self, reason: str = "it ends as soon as it has started") -> "NoReturn":
        for error in self._state.given_up(every=True):
            self._answer(error)
        sys.stderr.write(
            f"{DISTRIBUTION}: the engine process cannot be used: {reason}. Its log is {self._address.log_path}; "
            "--engine-process own serves without it\n"
        )
        leave(1)

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        with suppress(OSError):  # the engine ended: what is unanswered goes to the next
            while rest:
                try:
                    rest = rest[self._engine.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    self._wait_for_engine()

    def _wait_for_engine(self) -> None:
        """Wait until the engine reads on, which it does not while its answers are not read."""
        poll = select.poll()
        poll.register(self._engine, select.POLLOUT)
        if not poll.poll(_PATIENCE_MS) and self._wire.hung_up():
            leave(0)

    def _answer(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            with self._answering:
                while rest:
                    rest = rest[self._wire.writer.write(rest) :]
        except OSError:  # the client is gone
            leave(0)

    def _end_with_parent(self) -> None:
        if wait_for_parent_exit():
            leave(0)


def leave(status: int) -> "NoReturn":
    """End the process at once."""
    sys.stderr.flush()
    os._exit(status)


def _lines(engine: socket.socket) -> Iterator[bytes]:
    """Yield whole lines until the other end closes; a last part without an end is dropped."""
    waiting = bytearray()
    while True:
        try:
            received = engine.recv(_CHUNK)
        except OSError:
            return
        if not received:
            return
        searched = len(waiting)
        waiting += received
        while (end := waiting.find(b"\n", searched) + 1) > 0:
            yield bytes(waiting[:end])
            del waiting[:end]
            searched = 0
