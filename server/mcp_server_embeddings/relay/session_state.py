"""The session state that a relay records, so that the next engine process can take the session over."""

import json
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing and dataclasses would take a third of a relay's memory
    from typing import Any, TypeGuard

    Message = dict[str, Any]

MAX_ATTEMPTS = 10
"""Engine processes to which a request is sent before it is given up, so that a request which crashes the engine cannot
crash every later one. Processes that ended before accepting the session do not count: they had not started on it."""

_OWN_ID = f"relay-{os.urandom(8).hex()}:"
"""Prefix for the ids of requests that the relay itself repeats to a new engine; their answers are not for the client.
Random, since a client may choose any id."""

_ANSWER = re.compile(rb'\{"jsonrpc":"2\.0","id":(-?\d+|"(?:[^"\\]|\\.)*"),"(result|error)":')
"""The beginning of an answer as this program's engine serializes it."""

_PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress"'

MAX_ID = 1_000
"""Maximum characters of a request's id, which every answer repeats. The engine refuses a longer id with an error that
has no id."""

_MAX_DEPTH = 201
"""Maximum nesting of lists and objects. The engine refuses a deeper message with an error that has no id."""

_RESTORED_METHODS = frozenset({"initialize", "resources/subscribe", "resources/unsubscribe", "resources/list"})
"""Methods whose successful requests change the state that a new engine must have. After a list of resources, an engine
notifies the client when the list changes."""


class _Request:
    def __init__(self, line: bytes, method: str, token: object) -> None:
        self.line = line
        self.token = token
        self.method = method
        self.attempts = 1


class SessionState:
    """The client's handshake, subscriptions and unanswered requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._initialize: Message | None = None
        self._initialized = b""
        self._subscriptions: dict[tuple[str, str], Message] = {}  # requests after which an engine sends notifications
        self._requests: dict[tuple[type, object], deque[_Request]] = {}
        self._progress: dict[object, float] = {}

    def record_sent(self, line: bytes) -> None:
        """Record a line from the client before it is forwarded."""
        message = _parse(line)
        method, identifier = message.get("method"), _identifier(message)
        with self._lock:
            if identifier is not None and ("method" in message or not _is_response(message)):
                self._requests.setdefault(identifier, deque()).append(_Request(line, str(method), _token(message)))
            elif "id" in message or message.get("jsonrpc") != "2.0":
                pass  # the engine refuses it
            elif method == "notifications/cancelled":
                self._cancel(_parameters(message).get("requestId"))
            elif method == "notifications/initialized":
                self._initialized = line

    def record_received(self, line: bytes) -> bool:
        """Record a line from the engine. Return whether it must be forwarded to the client."""
        if match := _ANSWER.match(line):
            identifier = json.loads(match[1])
            if isinstance(identifier, str) and identifier.startswith(_OWN_ID):
                return False
            with self._lock:
                request = self._pop_request((type(identifier), identifier))
                if request is not None and match[2] == b"result":
                    self._record_success(request)
        elif line.startswith(_PROGRESS):
            return self._is_new_progress(json.loads(line)["params"])
        return True

    def count_pending(self, *, excluding: str = "") -> int:
        """Count unanswered requests, excluding those of method ``excluding``."""
        with self._lock:
            return sum(request.method != excluding for group in self._requests.values() for request in group)

    def handshake(self) -> Iterator[bytes]:
        """Yield the messages that restore the session in a new engine; nothing until ``initialize`` was answered."""
        with self._lock:
            initialize, initialized = self._initialize, self._initialized
            subscriptions = list(self._subscriptions.values())
        if initialize is not None:
            yield _line({**initialize, "id": f"{_OWN_ID}initialize"})
            yield initialized
            for number, message in enumerate(subscriptions):
                yield _line({**message, "id": f"{_OWN_ID}{number}"})

    def requests_to_resend(self, *, accepted: bool = True) -> list[bytes]:
        """Return the unanswered requests to send to a new engine, in their order, without those given up.

        Args:
            accepted: Whether the engine that ended had accepted the session; if so, it counts as an attempt.
        """
        with self._lock:
            groups = list(self._requests.values())
            for group in groups:
                for request in group:
                    request.attempts += accepted
            # Requests with the same id are given up together: give_up answers all of them.
            return [request.line for group in groups if group[0].attempts <= MAX_ATTEMPTS for request in group]

    def give_up(self, *, every: bool = False) -> list[bytes]:
        """Remove the requests that ended too many engine processes, or every request; return the errors for them."""
        with self._lock:
            keys = [key for key, group in self._requests.items() if every or group[0].attempts > MAX_ATTEMPTS]
            return [_error(key[1]) for key in keys for _ in self._requests.pop(key)]

    def change_notifications(self) -> list[bytes]:
        """Return notifications that subscribed resources may have changed while no engine was connected."""
        with self._lock:
            subscriptions = list(self._subscriptions)
        listed = [b'{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}\n'] if subscriptions else []
        updated = [
            _line({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
            for _, uri in subscriptions
            if uri
        ]
        return listed + updated

    def _record_success(self, request: _Request) -> None:
        """Keep a successful request that a new engine needs to see again."""
        if request.method not in _RESTORED_METHODS:
            return
        message = _parse(request.line)
        uri = str(_parameters(message).get("uri", ""))
        if request.method == "initialize":
            self._initialize = message
        elif request.method == "resources/subscribe":
            self._subscriptions["subscribe", uri] = message
        elif request.method == "resources/unsubscribe":
            self._subscriptions.pop(("subscribe", uri), None)
        else:
            self._subscriptions["list", ""] = message

    def _pop_request(self, identifier: tuple[type, object]) -> _Request | None:
        requests = self._requests.get(identifier)
        if not requests:
            return None
        request = requests.popleft()
        self._progress.pop(request.token, None)
        if not requests:
            del self._requests[identifier]
        return request

    def _cancel(self, identifier: object) -> None:
        """Remove a cancelled request. The SDK treats a numeric id and the same number as a string as equal."""
        identifiers: set[object] = {identifier, str(identifier)} if is_valid_id(identifier) else set()
        if isinstance(identifier, str):
            with suppress(ValueError):
                identifiers.add(int(identifier))
        for spelling in identifiers:
            self._pop_request((type(spelling), spelling))

    def _is_new_progress(self, parameters: "Message") -> bool:
        """Return whether a report exceeds the last one for its token: a new engine reports from the start again."""
        token, progress = parameters.get("progressToken"), parameters.get("progress", 0)
        with self._lock:
            if progress <= self._progress.get(token, -1):
                return False
            self._progress[token] = progress
            return True


def _token(message: "Message") -> object:
    """Return the progress token of a request, if it has one."""
    meta = _parameters(message).get("_meta")
    token = meta.get("progressToken") if isinstance(meta, dict) else None
    return token if isinstance(token, str | int) else None  # the engine refuses other types


def _is_response(message: "Message") -> bool:
    return "result" in message or "error" in message


def _parameters(message: "Message") -> "Message":
    parameters = message.get("params")
    return parameters if isinstance(parameters, dict) else {}


def _parse(line: bytes) -> "Message":
    """Parse a line as the engine does (``mcp_layer/messages.py``), so that both expect answers to the same requests."""
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) and not _is_too_deep(line, message) else {}


def _is_too_deep(line: bytes, message: "Message") -> bool:
    if line.count(b"[") + line.count(b"{") <= _MAX_DEPTH:
        return False
    depth = 0
    level: list[Any] = [message]
    while level:
        depth += 1
        values = [value for parent in level for value in (parent.values() if isinstance(parent, dict) else parent)]
        level = [value for value in values if isinstance(value, dict | list)]
    return depth > _MAX_DEPTH


def _identifier(message: "Message") -> tuple[type, object] | None:
    """Return the id of a request, and its type, as the answer will repeat it; None if the answer cannot repeat it."""
    identifier = message.get("id")
    if isinstance(identifier, float) and identifier.is_integer():  # the engine converts it too
        identifier = int(identifier)
    if isinstance(identifier, str):  # the engine replaces unpaired surrogates
        identifier = identifier.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return (type(identifier), identifier) if is_valid_id(identifier) else None


def is_valid_id(identifier: object) -> "TypeGuard[str | int]":
    """Return whether a response can repeat the id: MCP allows strings and integers, JSON-RPC also null."""
    if isinstance(identifier, str):
        return len(identifier) <= MAX_ID
    return isinstance(identifier, int) and not isinstance(identifier, bool)


def _line(message: "Message") -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _error(identifier: object) -> bytes:
    reason = "the engine process ended whenever it worked on this; its log says why, and status names its log"
    return _line({"jsonrpc": "2.0", "id": identifier, "error": {"code": -32603, "message": reason}})
