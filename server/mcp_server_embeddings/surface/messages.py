"""JSON-RPC messages to and from lines of UTF-8."""

import json

import pydantic_core
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

MAX_LINE_BYTES = 64_000_000
"""A line longer than this is answered with an error and not kept. The largest call a tool accepts is about
12 MB when every character is escaped."""


def decoded(line: bytes) -> JSONRPCMessage:
    r"""The message in a line, or the error to answer it with.

    A lone surrogate (``"\ud83d"``: half of a character, from a string cut inside an emoji) is no valid
    Unicode, but real clients send it; it becomes U+FFFD.
    """
    try:
        return jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        pass
    try:
        # The standard parser accepts lone surrogates. Bytes that are no UTF-8 become U+FFFD as well.
        message = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        position = f" at byte {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        return refusal(PARSE_ERROR, f"the line is not JSON{position}; send one JSON-RPC message a line", None)
    try:
        return jsonrpc_message_adapter.validate_json(repaired(message), by_name=False)
    except ValidationError:
        identifier = message.get("id") if isinstance(message, dict) else None
        if isinstance(identifier, bool) or not isinstance(identifier, str | int):
            identifier = None
        return refusal(
            INVALID_REQUEST,
            "the line is JSON but no JSON-RPC 2.0 message; send an object with jsonrpc, method and, for a "
            "request, id (batches are not part of MCP)",
            identifier,
        )


def encoded(message: JSONRPCMessage) -> bytes:
    """The line for a message, newline included."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except (pydantic_core.PydanticSerializationError, UnicodeEncodeError):
        return repaired(message.model_dump(by_alias=True, exclude_unset=True)) + b"\n"


def refusal(code: int, reason: str, identifier: str | int | None) -> JSONRPCError:
    """An error answer; ``identifier`` is None when the request's could not be read."""
    return JSONRPCError(jsonrpc="2.0", id=identifier, error=ErrorData(code=code, message=reason))


def repaired(value: object) -> bytes:
    """A value as JSON with every lone surrogate replaced by U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
