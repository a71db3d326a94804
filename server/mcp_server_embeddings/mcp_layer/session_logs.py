"""The log of an engine process: a file of bounded size, and for each session what concerns it."""

import asyncio
import json
import logging
import os
from contextvars import ContextVar
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Self

from mcp_server_embeddings.mcp_layer.backpressure import Flow
from mcp_server_embeddings.relay.notices import LOG

_MAX_BYTES = 1_000_000
"""Of the log's file; the file before it is kept as well."""

_session: ContextVar["SessionLog | None"] = ContextVar("session", default=None)
"""The session that the running code works for."""

_sessions: "set[SessionLog]" = set()


def notice(kind: bytes, content: object) -> bytes:
    """Return a line for a relay that is no message for its client."""
    return kind + json.dumps(content).encode() + b"\n"


class SessionLog:
    """Sends what is logged while a session is served to its relay, for the standard error that its client sees.

    What concerns no session in particular, such as the model, is sent to all. Used in the session's task.

    Args:
        flow: Of the session.
        level: The least severe records that it wants.
    """

    def __init__(self, flow: Flow, level: str) -> None:
        self._flow = flow
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        _session.set(self)
        _sessions.add(self)
        _set_level()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        _sessions.discard(self)
        _set_level()

    def send(self, level: int, text: str) -> None:
        """Send one record from any thread."""
        if level >= self._level:
            self._loop.call_soon_threadsafe(self._flow.notice, notice(LOG, text))


class SessionHandler(logging.Handler):
    """Hands records to the session that they concern, or to all."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        session = _session.get()
        text = self.format(record)
        for wanted in [session] if session is not None else list(_sessions):
            wanted.send(record.levelno, text)


class LogFile(RotatingFileHandler):
    """The file that also takes what native code and crashes write to standard error.

    Args:
        path: Its path.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_MAX_BYTES, backupCount=1, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        return stream


def _set_level() -> None:
    levels = [log._level for log in _sessions]  # noqa: SLF001 - of this module
    logging.getLogger().setLevel(min([logging.WARNING, *levels]))
