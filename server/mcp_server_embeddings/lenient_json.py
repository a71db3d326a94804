"""Parse and encode JSON as clients really send it, with unpaired surrogates and bytes that are not UTF-8."""

import json
import re

import pydantic_core

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
"""An escaped high surrogate not followed by a low one, or an escaped low surrogate not preceded by a high one."""


def parse_json(data: bytes) -> object:
    r"""Parse JSON, copying its bytes only if they are not valid.

    Clients send unpaired surrogates (``"\ud83d"``, from a string cut inside an emoji), which are not valid Unicode;
    they become U+FFFD, as do bytes that are not UTF-8.

    Raises:
        ValueError: The bytes are not JSON, or nested more than 200 levels deep. The message does not repeat them.

    Example:
        >>> parse_json(rb'["cut \ud83d"]')
        ['cut �']
    """
    try:
        return pydantic_core.from_json(data)
    except ValueError:
        return pydantic_core.from_json(_well_formed(data))


def encode_json(value: object) -> bytes:
    """Encode a value as JSON with every unpaired surrogate replaced by U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _well_formed(data: bytes) -> bytes:
    """Replace unpaired surrogates, literal or escaped, and bytes that are not UTF-8."""
    text = data.decode("utf-8", "replace").encode()
    if b"\0" in text:  # not allowed in JSON, so below it can stand for an escaped backslash
        return text
    escapes = text.replace(rb"\\", b"\0\0")
    return _LONE_SURROGATE.sub(rb"\\ufffd", escapes).replace(b"\0\0", rb"\\")
