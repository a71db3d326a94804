"""Serve the sessions of many relays in one process, each over a Unix socket.

A session has its own server, settings, flow control and log; ``Service`` holds what all sessions share.
"""

import asyncio
import logging
import os
import re
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import anyio
from mcp.server import Server
from mcp_types import JSONRPCMessage

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError, EmbeddingsError
from mcp_server_embeddings.mcp_layer.backpressure import Flow, Incoming
from mcp_server_embeddings.mcp_layer.calls import Service
from mcp_server_embeddings.mcp_layer.messages import MAX_LINE_BYTES, decode, line_too_long
from mcp_server_embeddings.mcp_layer.notifications import ChangeNotifier
from mcp_server_embeddings.mcp_layer.server import build_server, initialization_options
from mcp_server_embeddings.mcp_layer.session_logs import SessionLog, notice_line
from mcp_server_embeddings.relay.address import EngineAddress
from mcp_server_embeddings.relay.greeting import MAX_GREETING, Greeting, received_settings
from mcp_server_embeddings.relay.notices import READY, REFUSED
from mcp_server_embeddings.relay.peer import is_same_user
from mcp_server_embeddings.relay.relay import LAST_ANSWERS_SECONDS
from mcp_server_embeddings.relay.remembered import forget, remember
from mcp_server_embeddings.store.protocol import CollectionStore

_log = logging.getLogger(__name__)

MAX_SESSIONS = 500

_GREETING_TIMEOUT_SECONDS = 10.0
"""A relay that has not sent its greeting within this time is disconnected."""

_CHECKSUM = re.compile("[0-9a-f]{16}")

_ACCEPT_RETRY_SECONDS = 0.5

_RECEIVE_BYTES = 65_536

_LARGE_LINE_BYTES = 100_000
"""A line of more bytes is decoded on a worker thread, since all sessions share the event loop."""


class SharedEngine:
    """The process that serves all sessions of a user.

    Args:
        service: The state that all sessions share.
        store: The collections of all sessions.
        settings: Settings of the engine; a session sends its own in its greeting.
        listener: The listening socket that relays connect to.
        address: Address of the listener.
        idle_seconds: The process exits after this long without a session; 0 means never.
    """

    def __init__(
        self,
        service: Service,
        store: CollectionStore,
        settings: Settings,
        listener: socket.socket,
        address: EngineAddress,
        idle_seconds: float,
    ) -> None:
        self._service = service
        self._store = store
        self._settings = settings
        self._listener = listener
        self._address = address
        self._inode = Path(address.socket_path).stat().st_ino
        self._idle_seconds = idle_seconds
        self._started = self._idle_since = time.monotonic()
        self._sessions = self._exit_status = 0
        service.process = self.status

    def run(self) -> int:
        """Serve until there has been no session for the idle time, or a signal arrives; return the exit status."""
        return anyio.run(self._run)

    def status(self) -> str:
        """Return a description of this process: its id, uptime, number of sessions and log file."""
        minutes = (time.monotonic() - self._started) / 60
        sessions = f"{self._sessions} session" + ("s" if self._sessions != 1 else "")
        return f"engine process {os.getpid()}, up {minutes:.1f} min, {sessions}, log {self._address.log_path}"

    async def _run(self) -> int:
        self._listener.setblocking(False)
        async with anyio.create_task_group() as tasks:
            for task in (self._accept, self._end_on_signal, self._end_when_idle):
                tasks.start_soon(task, tasks)
        return self._exit_status

    async def _accept(self, tasks: anyio.abc.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # for example, no file descriptor is left
                _log.warning("a session cannot be accepted: %s", error)
                await anyio.sleep(_ACCEPT_RETRY_SECONDS)
                continue
            if not is_same_user(connection):
                connection.close()
                continue
            connection.setblocking(False)
            tasks.start_soon(self._serve, connection)

    async def _serve(self, connection: socket.socket) -> None:
        """Serve one relay until it disconnects."""
        loop = asyncio.get_running_loop()
        self._sessions += 1
        try:
            lines = _LineReader(connection)
            with anyio.fail_after(_GREETING_TIMEOUT_SECONDS):
                greeting = await lines.next(MAX_GREETING)
            try:
                server, log_level = self._session_server(greeting)
            except EmbeddingsError as error:
                await loop.sock_sendall(connection, notice_line(REFUSED, str(error)))
            else:
                self._service.engine.start()
                await _Session(connection, lines, server).run(log_level)
        except (OSError, TimeoutError):
            _log.debug("a relay went away before its session began")
        except Exception:  # noqa: BLE001 - no error of one session may end the others
            _log.exception("a session crashed")
        finally:
            connection.close()
            self._sessions -= 1
            self._idle_since = time.monotonic()

    def _session_server(self, line: bytes) -> tuple[Server[ChangeNotifier], str]:
        """Return the server and the log level of the session that a greeting introduces."""
        if self._sessions > MAX_SESSIONS:
            raise ConfigurationError(f"the engine process already serves {MAX_SESSIONS} sessions, its limit")
        greeting = Greeting.parse(line)
        settings = received_settings(self._settings, greeting.settings)
        server = build_server(self._service, self._store, settings)
        if _CHECKSUM.fullmatch(greeting.command):
            with suppress(OSError):  # remembering only saves time
                remember(self._address, greeting.command, line)
        return server, settings.log_level

    async def _end_on_signal(self, tasks: anyio.abc.TaskGroup) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for signum in signals:
                self._exit_status = 128 + signum
                with self._address.lock(wait=False):
                    self._remove_socket()
                tasks.cancel_scope.cancel()

    async def _end_when_idle(self, tasks: anyio.abc.TaskGroup) -> None:
        if not self._idle_seconds:
            return
        while True:
            idle = 0.0 if self._sessions else time.monotonic() - self._idle_since
            await anyio.sleep(max(self._idle_seconds - idle, 0.01))
            if self._sessions or time.monotonic() - self._idle_since < self._idle_seconds:
                continue
            with self._address.lock(wait=False) as locked:
                if locked:  # if it is not, a relay is about to connect
                    self._remove_socket()
                    tasks.cancel_scope.cancel()
                    return

    def _remove_socket(self) -> None:
        """Remove the socket file, unless another engine has replaced it."""
        try:
            path = Path(self._address.socket_path)
            if path.stat().st_ino == self._inode:
                path.unlink()
                forget(self._address)
        except OSError:
            pass  # it has been removed already
        self._listener.close()


class _Session:
    """One relay's session."""

    def __init__(self, connection: socket.socket, lines: "_LineReader", server: Server[ChangeNotifier]) -> None:
        self._connection = connection
        self._lines = lines
        self._server = server
        to_server, self._from_client = anyio.create_memory_object_stream[Incoming](0)
        self._flow = Flow(to_server)

    async def run(self, log_level: str) -> None:
        """Serve until the relay has sent its last line and has been answered, or has disconnected."""
        self._flow.send_notice(notice_line(READY, os.getpid()))
        async with self._from_client, anyio.create_task_group() as tasks:
            with SessionLog(self._flow, log_level):
                tasks.start_soon(self._receive)
                tasks.start_soon(self._transmit, tasks)
                tasks.start_soon(self._flow.forward)
                await self._server.run(self._from_client, self._flow, initialization_options(self._server))
            tasks.cancel_scope.cancel()

    async def _receive(self) -> None:
        while line := await self._lines.next(MAX_LINE_BYTES):
            message = await _decode_line(line)
            while message is not None and not await self._flow.put(message, len(line)):
                continue  # retry until the client reads answers; if the relay disconnects, the session is cancelled
        await self._flow.finish(LAST_ANSWERS_SECONDS)

    async def _transmit(self, tasks: anyio.abc.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            line = await self._flow.next_line()
            try:
                await loop.sock_sendall(self._connection, line)
            except OSError:  # the relay has disconnected
                tasks.cancel_scope.cancel()
                return
            self._flow.mark_written()


async def _decode_line(line: bytes) -> JSONRPCMessage | None:
    if len(line) > MAX_LINE_BYTES:
        return line_too_long()
    if not line.strip():
        return None
    if len(line) > _LARGE_LINE_BYTES:
        return await anyio.to_thread.run_sync(decode, line)
    return decode(line)


class _LineReader:
    """Reads lines from a non-blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    async def next(self, limit: int) -> bytes:
        """Return the next line; empty after the last.

        A line over ``limit`` bytes is consumed whole, and its first ``limit + 1`` bytes are returned.
        """
        overlong, searched = bytearray(), 0
        while not (end := self._buffer.find(b"\n", searched) + 1):
            if len(self._buffer) + len(overlong) > limit:
                overlong = overlong or self._buffer[: limit + 1]
                self._buffer.clear()
            searched = len(self._buffer)
            received = await self._receive()
            if not received:
                break
            self._buffer += received
        end = end or len(self._buffer)
        line = bytes(overlong or self._buffer[: min(end, limit + 1)])
        del self._buffer[:end]
        return line

    async def _receive(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._connection, _RECEIVE_BYTES)
        except ConnectionError:
            return b""
