"""The log of an engine process: a file of bounded size, and the records of each session, sent to its relay."""

import asyncio
import json
import logging
import os
from contextvars import ContextVar
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Self

from mcp_server_embeddings.mcp_layer.backpressure import Flow
from mcp_server_embeddings.relay.notices import LOG

_MAX_BYTES = 1_000_000
"""Maximum size of the log file; one earlier file is kept as well."""

_session: ContextVar["SessionLog | None"] = ContextVar("session", default=None)
"""The session that the running code belongs to."""

_sessions: "set[SessionLog]" = set()


def notice_line(kind: bytes, content: object) -> bytes:
    """Return a line for a relay that is not a message for its client."""
    return kind + json.dumps(content).encode() + b"\n"


class SessionLog:
    """Sends a session's log records to its relay, which writes them to the standard error that the client sees.

    Records that do not belong to a session, for example about the model, are sent to all. Enter it in the session's
    task.

    Args:
        flow: Flow control of the session.
        level: Minimum level of the records that are sent.
    """

    def __init__(self, flow: Flow, level: str) -> None:
        self._flow = flow
        self.level = logging.getLevelNamesMapping()[level.upper()]
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        _session.set(self)
        _sessions.add(self)
        _set_level()
        return self

    def __exit__(self, *_: object) -> None:
        _sessions.discard(self)
        _set_level()

    def send(self, level: int, text: str) -> None:
        """Send one record from any thread."""
        if level >= self.level:
            self._loop.call_soon_threadsafe(self._flow.send_notice, notice_line(LOG, text))


class SessionHandler(logging.Handler):
    """Passes records to the session that they belong to, or to all sessions."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        session = _session.get()
        text = self.format(record)
        for target in [session] if session is not None else list(_sessions):
            target.send(record.levelno, text)


class LogFile(RotatingFileHandler):
    """A log file that also receives what native code and crashes write to standard output and standard error.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        return stream


def _set_level() -> None:
    logging.getLogger().setLevel(min([logging.WARNING, *(log.level for log in _sessions)]))
