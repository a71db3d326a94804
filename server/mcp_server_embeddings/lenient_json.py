"""JSON as clients really send it: unpaired surrogates and bytes that are not UTF-8 included."""

import json
import re

import pydantic_core

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
"""The escape of a high surrogate without a low one after it, or of a low one without a high one before it."""


def parse_json(written: bytes) -> object:
    r"""Parse JSON without a second copy of its bytes.

    Clients send unpaired surrogates (``"\ud83d"``, from a string cut inside an emoji), which are not valid Unicode;
    they become U+FFFD, as do bytes that are not UTF-8.

    Raises:
        ValueError: It is not JSON, or nested more than 200 levels deep. The message does not repeat its content.

    Example:
        >>> parse_json(rb'["cut \ud83d"]')
        ['cut �']
    """
    try:
        value: object = pydantic_core.from_json(written)
    except ValueError:
        value = pydantic_core.from_json(_well_formed(written))
    return value


def encode_json(value: object) -> bytes:
    """Encode a value as JSON with every unpaired surrogate replaced by U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _well_formed(written: bytes) -> bytes:
    """Replace unpaired surrogates, literal or escaped, and bytes that are not UTF-8."""
    text = written.decode("utf-8", "replace").encode()
    if b"\0" in text:  # nowhere in JSON, so it can stand for an escaped backslash below
        return text
    escapes = text.replace(rb"\\", b"\0\0")
    return _LONE_SURROGATE.sub(rb"\\ufffd", escapes).replace(b"\0\0", rb"\\")
