"""Forward messages between a client and the engine process, and move the session when an engine process ends."""

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
from mcp_server_embeddings.relay.session_state import SessionState
from mcp_server_embeddings.relay.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing would take a tenth of a relay's memory
    from typing import NoReturn

_CHUNK_BYTES = 65_536

_MAX_LINE_BYTES = 32_000_000
"""Bytes. A longer line is forwarded in parts and not recorded, because the engine refuses it."""

_MAX_FAILURES = 10
"""Give up after this many consecutive engine processes ended before accepting the session. With three, calls were lost
when processes were killed at random moments (``benchmarks/sessions.py --kills``); a broken installation reaches ten
within seconds."""

LAST_ANSWERS_SECONDS = 0.4
"""Time after the client's last line in which an engine that has accepted the session may still answer tool calls."""

LISTS_SECONDS = 10.0
"""The same for requests that need no model, such as lists: a client may pipe its requests in, and a client that wants
the server to stop sends SIGTERM after two seconds."""

_HANG_UP_CHECK_MS = 50
"""Interval for checking whether the client has closed its end while its messages wait for the engine."""

_ACCEPT_SECONDS = 30.0
"""Time after the client's last line in which the engine may still accept the session."""


class Relay:
    """The session of one client.

    Args:
        wire: The pipes of the client.
        address: The address of the engine process.
        engine: A connection to the engine process.
        greeting: The line that introduces the session.
        connect: Connects to the next engine process, starting it if necessary.
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
        self._engine_lock = threading.Lock()
        self._client_lock = threading.Lock()
        self._ready = threading.Event()
        self._failures = 0
        self._input_ended = False  # whether the client has sent its last line
        self._send_to_engine(greeting)

    def run(self) -> "NoReturn":
        """Serve the client until it disconnects, then end the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: leave(128 + received))
        for work in (self._forward_requests, self._leave_with_parent):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self._forward_answers()
            if self._input_ended and (self._ready.is_set() or not self._state.count_pending()):
                leave(0)
            self._reconnect()

    def _forward_requests(self) -> None:
        """Forward the client's lines until there are no more. Runs on a thread."""
        whole = True  # whether the next part begins a line
        while part := self._wire.reader.readline(_MAX_LINE_BYTES + 1):
            with self._engine_lock:
                if whole and len(part) <= _MAX_LINE_BYTES:
                    self._state.record_sent(part)
                self._send_to_engine(part)
            whole = part.endswith(b"\n")
        self._finish()

    def _finish(self) -> None:
        """After the client's last line, leave when its requests are answered or the time for that is over."""
        self._input_ended = True
        self._ready.wait(_ACCEPT_SECONDS)  # the engine may refuse the settings, which must be reported
        if not self._state.count_pending():
            leave(0)
        with self._engine_lock, suppress(OSError):  # the engine has ended
            self._engine.shutdown(socket.SHUT_WR)
        seconds = LISTS_SECONDS if self._state.count_pending(excluding="tools/call") else 0.0
        deadline = threading.Timer(seconds + LAST_ANSWERS_SECONDS, leave, args=(0,))
        deadline.daemon = True
        deadline.start()

    def _forward_answers(self) -> None:
        """Forward the engine's lines until it ends."""
        for line in _lines(self._engine):
            if not line.startswith(b"{"):
                self._handle_notice(line)
            elif self._state.record_received(line):
                self._send_to_client(line)

    def _handle_notice(self, line: bytes) -> None:
        kind, content = line[:1], line[1:]
        if kind == READY:
            self._failures = 0
            self._ready.set()
        elif kind == LOG:
            with suppress(OSError):  # the client has closed standard error
                sys.stderr.write(json.loads(content) + "\n")
        elif kind == REFUSED:
            sys.stderr.write(f"{DISTRIBUTION}: {json.loads(content)}\n")
            leave(2)

    def _reconnect(self) -> None:
        """Move the session to the next engine process."""
        self._engine_lock.acquire()  # held until _resend_session has finished
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
        self._send_to_engine(self._greeting)
        threading.Thread(target=self._resend_session, args=(accepted,), daemon=True).start()

    def _resend_session(self, accepted: bool) -> None:
        """Send the handshake and the unanswered requests again, then release the lock acquired by ``_reconnect``."""
        try:
            requests = self._state.requests_to_resend(accepted=accepted)
            for error in self._state.give_up():
                self._send_to_client(error)
            for line in [*self._state.handshake(), *requests]:
                self._send_to_engine(line)
            for notification in self._state.change_notifications():
                self._send_to_client(notification)
        finally:
            self._engine_lock.release()

    def _give_up(self, reason: str = "it ends as soon as it has started") -> "NoReturn":
        for error in self._state.give_up(every=True):
            self._send_to_client(error)
        sys.stderr.write(
            f"{DISTRIBUTION}: the engine process cannot be used: {reason}. Its log is {self._address.log_path}; "
            "--engine-process own serves without it\n"
        )
        leave(1)

    def _send_to_engine(self, data: bytes) -> None:
        rest = memoryview(data)
        with suppress(OSError):  # the engine has ended; unanswered requests go to the next one
            while rest:
                try:
                    rest = rest[self._engine.send(rest, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    self._wait_for_engine()

    def _wait_for_engine(self) -> None:
        """Wait until the engine reads again. It stops reading while the client does not read its answers."""
        poll = select.poll()
        poll.register(self._engine, select.POLLOUT)
        if not poll.poll(_HANG_UP_CHECK_MS) and self._wire.hung_up():
            leave(0)

    def _send_to_client(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            with self._client_lock:
                while rest:
                    rest = rest[self._wire.writer.write(rest) :]
        except OSError:  # the client is gone
            leave(0)

    def _leave_with_parent(self) -> None:
        if wait_for_parent_exit():
            leave(0)


def leave(status: int) -> "NoReturn":
    """End the process at once."""
    sys.stderr.flush()
    os._exit(status)


def _lines(engine: socket.socket) -> Iterator[bytes]:
    """Yield complete lines until the other end closes; drop an incomplete last line."""
    buffer = bytearray()
    while True:
        try:
            received = engine.recv(_CHUNK_BYTES)
        except OSError:
            return
        if not received:
            return
        searched = len(buffer)
        buffer += received
        while (end := buffer.find(b"\n", searched) + 1) > 0:
            yield bytes(buffer[:end])
            del buffer[:end]
            searched = 0
