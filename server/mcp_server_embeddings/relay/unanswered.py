"""What a relay keeps of its session, so that the next engine process can take it over."""

import json
import re
import threading
from collections import deque
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing and dataclasses are a third of a relay's memory
    from typing import Any

    Message = dict[str, Any]

MAX_ATTEMPTS = 10
"""Engine processes that a request may end: one that ends each of them must not end all that follow. Those that had not
accepted the session do not count, since they had not begun to work on it."""

_OWN_ID = "relay:"
"""Begins the ids of requests that are repeated for the engine's sake; their answers are not the client's."""

_ANSWER = re.compile(rb'\{"jsonrpc":"2\.0","id":(-?\d+|"(?:[^"\\]|\\.)*"),"(?:result|error)":')
"""An answer as this program's engine writes it."""

_PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress"'


class _Request:
    def __init__(self, line: bytes, method: str) -> None:
        self.line = line
        self.method = method
        self.attempts = 1


class SessionState:
    """The client's handshake, subscriptions and unanswered requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._initialize: Message | None = None
        self._initialized = b""
        self._standing: dict[tuple[str, str], Message] = {}  # what makes an engine notify: subscriptions, lists
        self._requests: dict[tuple[type, object], deque[_Request]] = {}
        self._progress: dict[object, float] = {}

    def sent(self, line: bytes) -> None:
        """Take note of a line of the client, before it is sent."""
        message = _parsed(line)
        method, identifier = message.get("method"), _identifier(message)
        parameters = message.get("params")
        parameters = parameters if isinstance(parameters, dict) else {}
        with self._lock:
            if method == "notifications/cancelled":
                self._answered(_identifier({"id": parameters.get("requestId")}))
            elif method == "notifications/initialized":
                self._initialized = line
            elif isinstance(method, str) and identifier is not None:
                self._requests.setdefault(identifier, deque()).append(_Request(line, method))
                self._keep(method, message, str(parameters.get("uri", "")))

    def received(self, line: bytes) -> bool:
        """Take note of a line of the engine; False if it is not for the client."""
        if found := _ANSWER.match(line):
            identifier = json.loads(found[1])
            if isinstance(identifier, str) and identifier.startswith(_OWN_ID):
                return False
            with self._lock:
                self._answered((type(identifier), identifier))
        elif line.startswith(_PROGRESS):
            return self._is_progress(json.loads(line)["params"])
        return True

    def unanswered(self, *, but: str = "") -> int:
        """Count the requests without an answer, but those of a method."""
        with self._lock:
            return sum(request.method != but for same in self._requests.values() for request in same)

    def handshake(self) -> Iterator[bytes]:
        """Yield what makes a new engine know the session; the first is a request where there is any."""
        with self._lock:
            answered = self._initialize is not None and _identifier(self._initialize) not in self._requests
            first = self._initialize if answered else None
            initialized, standing = self._initialized, list(self._standing.values())
        if first is not None:
            yield _line({**first, "id": f"{_OWN_ID}initialize"})
            yield initialized
            for number, message in enumerate(standing):
                yield _line({**message, "id": f"{_OWN_ID}{number}"})

    def repeated(self, *, accepted: bool = True) -> list[bytes]:
        """Return the unanswered requests once more, in their order; those given up are left out.

        Args:
            accepted: Whether the engine that ended had accepted the session.
        """
        with self._lock:
            requests = [request for same in self._requests.values() for request in same]
            for request in requests:
                request.attempts += accepted
            return [request.line for request in requests if request.attempts <= MAX_ATTEMPTS]

    def given_up(self, *, every: bool = False) -> list[bytes]:
        """Return the errors that answer requests which ended too many engine processes, or every request."""
        with self._lock:
            given_up = [
                identifier
                for identifier, requests in self._requests.items()
                if every or requests[0].attempts > MAX_ATTEMPTS
            ]
            return [_error(identifier[1]) for identifier in given_up for _ in self._requests.pop(identifier)]

    def changed(self) -> list[bytes]:
        """Return notifications that something may have changed while there was no engine."""
        with self._lock:
            standing = list(self._standing)
        listed = [b'{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}\n'] if standing else []
        updated = [
            _line({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
            for _, uri in standing
            if uri
        ]
        return listed + updated

    def _keep(self, method: str, message: "Message", uri: str) -> None:
        if method == "initialize":
            self._initialize = message
        elif method == "resources/subscribe":
            self._standing["subscribe", uri] = message
        elif method == "resources/unsubscribe":
            self._standing.pop(("subscribe", uri), None)
        elif method == "resources/list":
            self._standing["list", ""] = message

    def _answered(self, identifier: tuple[type, object] | None) -> None:
        requests = self._requests.get(identifier) if identifier else None
        if requests and identifier:
            self._progress.pop(_token(requests.popleft()), None)
            if not requests:
                del self._requests[identifier]

    def _is_progress(self, parameters: "Message") -> bool:
        """Tell whether a report goes further than the last: an engine that takes over begins anew."""
        token, progress = parameters.get("progressToken"), parameters.get("progress", 0)
        with self._lock:
            if progress <= self._progress.get(token, -1):
                return False
            self._progress[token] = progress
            return True


def _token(request: _Request) -> object:
    parameters = _parsed(request.line).get("params")
    meta = parameters.get("_meta") if isinstance(parameters, dict) else None
    return meta.get("progressToken") if isinstance(meta, dict) else None


def _parsed(line: bytes) -> "Message":
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _identifier(message: "Message") -> tuple[type, object] | None:
    identifier = message.get("id")
    if isinstance(identifier, float) and identifier.is_integer():  # as the engine reads it
        identifier = int(identifier)
    known = isinstance(identifier, str | int) and not isinstance(identifier, bool)
    return (type(identifier), identifier) if known else None


def _line(message: "Message") -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _error(identifier: object) -> bytes:
    reason = "the engine process ended whenever it worked on this; its log says why, and status names its log"
    return _line({"jsonrpc": "2.0", "id": identifier, "error": {"code": -32603, "message": reason}})
