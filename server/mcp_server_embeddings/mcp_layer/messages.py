"""Conversion between JSON-RPC messages and lines of UTF-8."""

import pydantic_core
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
)
from pydantic import ValidationError

from mcp_server_embeddings.lenient_json import encode_json, parse_json
from mcp_server_embeddings.relay.session_state import is_valid_id

MAX_LINE_BYTES = 32_000_000
"""A longer line is answered with an error and discarded. The two million characters that a call may send take 24 MB
when each is written as two escapes of six bytes."""

MAX_VALUES = 500_000
"""Limit of values in the lists and objects of a message. Two thousand texts with the most metadata have 340,000."""

_NOT_A_MESSAGE = (
    "the line is JSON but not a JSON-RPC 2.0 message; send an object with jsonrpc, method and, for a request, id "
    "(batches are not part of MCP)"
)


def decode(line: bytes) -> JSONRPCMessage | None:
    """Decode a line into a request or notification, or into the error response to a malformed line.

    Returns:
        None for a response, since this server sends no requests.
    """
    try:
        message = parse_json(line)
    except ValueError as error:
        return error_response(PARSE_ERROR, f"the line is not JSON ({error}); send one JSON-RPC message a line", None)
    if not isinstance(message, dict):
        return error_response(INVALID_REQUEST, _NOT_A_MESSAGE, None)
    if "method" not in message and not message.keys().isdisjoint({"result", "error"}):
        return None
    request_id = message.get("id")
    if isinstance(request_id, float) and request_id.is_integer():  # JSON has one kind of number: 1.0 is the integer 1
        message["id"] = request_id = int(request_id)
    valid_id = request_id if is_valid_id(request_id) else None
    if "method" in message and "id" in message and valid_id is None:
        return error_response(
            INVALID_REQUEST, f"id is {request_id!r:.60}; send a short string or an integer, or none to notify", None
        )
    if _has_too_many_values(message):
        return error_response(INVALID_REQUEST, f"a message has over {MAX_VALUES:,} values; send less at once", valid_id)
    message_type = JSONRPCRequest if "id" in message else JSONRPCNotification
    try:
        return message_type.model_validate(message, by_name=False)
    except ValidationError:
        return error_response(INVALID_REQUEST, _NOT_A_MESSAGE, valid_id)


def _has_too_many_values(message: dict[str, object]) -> bool:
    """Return whether validation could collect an excessive number of errors, one for each wrong value."""
    values = 0
    containers: list[dict[str, object] | list[object]] = [message]
    while containers:
        container = containers.pop()
        values += len(container)
        if values > MAX_VALUES:
            return True
        children = container.values() if isinstance(container, dict) else container
        containers.extend(value for value in children if isinstance(value, dict | list))
    return False


def encode(message: JSONRPCMessage) -> bytes:
    """Encode a message as a line, including the newline."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except (pydantic_core.PydanticSerializationError, UnicodeEncodeError):
        return encode_json(message.model_dump(by_alias=True, exclude_unset=True)) + b"\n"


def line_too_long() -> JSONRPCError:
    """Build the response to a line of over ``MAX_LINE_BYTES``; it has no id, since the line is not parsed."""
    return error_response(INVALID_REQUEST, f"a line is over {MAX_LINE_BYTES:,} bytes; send less at once", None)


def error_response(code: int, reason: str, request_id: str | int | None) -> JSONRPCError:
    """Build an error response; ``request_id`` is None if the id of the request could not be read."""
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=reason))
