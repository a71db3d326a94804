"""Requests to ``/embeddings`` of a server with OpenAI's API.

Embedding changes nothing on the server, so every request may be retried. Texts and the key are never logged, nor are
the server's messages, which may repeat them.
"""

import base64
import binascii
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential_jitter,
)

from mcp_server_embeddings.config import ENGINE_KEY
from mcp_server_embeddings.errors import (
    CallCancelledError,
    RemoteEngineError,
    RemoteRefusalError,
    RemoteUnavailableError,
)
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from mcp_server_embeddings.vectors.scores import Vectors

_log = logging.getLogger(__name__)

ATTEMPTS = 8
"""Attempts at one request. The waits add up to some 13 seconds, longer than a proxy takes to notice a dead replica."""

_BACK_OFF = wait_exponential_jitter(multiplier=0.1, max=5, jitter=0.5)

_LONGEST_WAIT = 60.0
"""Longest wait that a server may ask for, in seconds."""

_CONNECT_SECONDS = 5.0

READ_SECONDS = 60.0
"""Longest time without a byte of the answer: more than a batch takes on a busy processor."""

_TRANSIENT = frozenset({408, 425, 429})
"""Statuses of temporary failures; those from 500 on are temporary too."""

_QUOTED_CHARACTERS = 200
"""Characters of the server's message that are quoted in an error."""


class _Entry(BaseModel):
    index: int = -1
    embedding: str | list[float]


class _Answer(BaseModel):
    data: list[_Entry]


class RemoteClient:
    """Sends texts to one URL. Thread-safe.

    Args:
        url: URL of the API, without ``/embeddings``.
        model: Name of the model on the server.
        key: Sent as a bearer token; empty for none.
        connections: Maximum number of connections.
    """

    def __init__(self, url: str, model: str, key: str, connections: int) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self._key = key
        self._encoding_format: str | None = None  # not known before the first answer
        self._closed = threading.Event()
        self._http = httpx2.Client(
            headers={"User-Agent": f"{DISTRIBUTION}/{VERSION}", **({"Authorization": f"Bearer {key}"} if key else {})},
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def close(self) -> None:
        """Stop retrying failed requests."""
        self._closed.set()

    def free(self) -> None:
        """Close the connections, once no thread uses them."""
        self._http.close()

    def embed(self, texts: Sequence[str], *, attempts: int = ATTEMPTS, seconds: float = READ_SECONDS) -> Vectors:
        """Return one vector for each text, in order, as the server computes them.

        Args:
            texts: One or more.
            attempts: Number of attempts; the wait between them grows, or is as long as the server asks for.
            seconds: Longest time without a byte of the answer.

        Raises:
            RemoteUnavailableError: The server did not answer in any attempt.
            RemoteRefusalError: The server rejected the request for good.
            RemoteEngineError: The answer does not have a usable vector for each text.
            CallCancelledError: The client was closed.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_temporary),
            stop=stop_after_attempt(attempts) | stop_when_event_set(self._closed),
            wait=_wait,
            sleep=sleep_using_event(self._closed),
            before_sleep=_log_failure,
            reraise=True,
        )
        try:
            return retrying(self._embed_once, texts, seconds)
        except RemoteUnavailableError as error:
            if self._closed.is_set():
                raise CallCancelledError("the engine is shutting down") from None
            hint = f", asked {attempts} times; start that server, or correct --engine-url"
            if error.wait > _LONGEST_WAIT:
                hint = f"; it asks to wait {error.wait:,.0f} seconds"
            raise RemoteUnavailableError(f"{error}{hint}", error.status, error.wait) from error

    def _embed_once(self, texts: Sequence[str], seconds: float) -> Vectors:
        if self._encoding_format is not None:
            return _vectors(self._post(texts, seconds, self._encoding_format), len(texts))
        # Some servers reject unknown fields; sending the request without this one shows whether that is the reason.
        chosen = "base64"
        try:
            content = self._post(texts, seconds, chosen)
        except RemoteRefusalError:
            chosen = ""
            content = self._post(texts, seconds, chosen)
        vectors = _vectors(content, len(texts))
        self._encoding_format = chosen
        return vectors

    def _post(self, texts: Sequence[str], seconds: float, encoding_format: str) -> bytes:
        body: dict[str, object] = {"model": self.model, "input": list(texts)}
        if encoding_format:
            body["encoding_format"] = encoding_format
        timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS, pool=None)
        try:
            response = self._http.post(f"{self.url}/embeddings", json=body, timeout=timeout)
        except httpx2.TimeoutException as error:
            reason = f"did not answer in {seconds:g} seconds ({type(error).__name__})"
            raise RemoteUnavailableError(f"the remote engine at {self.url} {reason}") from None
        except httpx2.RequestError as error:
            reason = f"cannot be reached ({type(error).__name__}: {error})"
            raise RemoteUnavailableError(f"the remote engine at {self.url} {reason}") from None
        if response.status_code != httpx2.codes.OK:
            self._raise_refusal(response)
        return response.content

    def _raise_refusal(self, response: httpx2.Response) -> None:
        status = response.status_code
        message = _quoted_message(response, self._key)
        refused = f"the remote engine at {self.url} answered with status {status}"
        if status in _TRANSIENT or status >= 500:
            raise RemoteUnavailableError(refused + message, status, _retry_after(response))
        if status in (401, 403):  # the server's message may hold a part of the key
            raise RemoteRefusalError(f"{refused}: it wants another key; pass one in the variable {ENGINE_KEY}", status)
        if status == 404:
            remedy = "correct --engine-model, or --engine-url, which for most servers ends in /v1"
        else:
            remedy = "see its log, or correct --engine-url and --engine-model"
        raise RemoteRefusalError(f"{refused}{message}; {remedy}", status)


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, RemoteUnavailableError) and error.wait <= _LONGEST_WAIT


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, RemoteUnavailableError) else 0.0
    return asked + _BACK_OFF(state)  # requests refused at the same time are retried one by one


def _log_failure(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    _log.info("a request to the remote engine failed for the %s. time: %s", state.attempt_number, type(error).__name__)


def _retry_after(response: httpx2.Response) -> float:
    """Return the seconds that ``Retry-After`` asks for, as a number or as a date; 0 without one."""
    value = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if date.tzinfo is None:  # the offset "-0000" gives a naive date
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _quoted_message(response: httpx2.Response, key: str) -> str:
    """Return the server's error message, on one line after a colon; empty if there is none that can be read."""
    try:
        content = from_json(response.content)
    except ValueError:
        return ""
    message = _find_message(content)
    if key:
        message = message.replace(key, "***")
    line = " ".join(message.split())
    return f": {line[:_QUOTED_CHARACTERS]}" if line else ""


def _find_message(content: object) -> str:
    """Find the message in OpenAI's format or in simpler ones; lists are ignored, because they repeat the request."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return next(filter(None, (_find_message(content.get(name)) for name in ("error", "message", "detail"))), "")
    return ""


def _vectors(content: bytes, count: int) -> Vectors:
    """Read the vectors of an answer, shape ``(count, d)``.

    Raises:
        RemoteEngineError: The answer does not have a usable vector for each text.
    """
    try:
        entries = _Answer.model_validate_json(content).data
        rows = [_row(entry.embedding) for entry in entries]
    except (ValidationError, binascii.Error, ValueError):
        raise RemoteEngineError(
            "the remote engine's answer is not that of OpenAI's /embeddings; correct --engine-url"
        ) from None
    if len(rows) != count or len({len(row) for row in rows}) != 1 or not len(rows[0]):
        raise RemoteEngineError(
            f"the remote engine answered {count} texts with {len(rows)} vectors of lengths "
            f"{sorted({len(row) for row in rows})}; serve another model there"
        )
    order = sorted(range(count), key=lambda position: entries[position].index)
    vectors = np.stack([rows[position] for position in order])
    if not np.isfinite(vectors).all():
        raise RemoteEngineError("the remote engine returned vectors that are not finite; serve the model in float32")
    return vectors


def _row(embedding: str | list[float]) -> Vectors:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    return np.array(embedding, dtype=np.float32)
