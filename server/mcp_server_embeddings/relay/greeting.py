"""What a relay and an engine process say to each other beside the client's messages.

A relay's first line is its greeting; all that follows is the client's. For the other direction see ``notices``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.program import VERSION

PROTOCOL = 1
"""Of these lines. The program's version is part of an engine's address, so only equal ones meet."""

MAX_GREETING = 1_000_000
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """How a relay introduces its session.

    Attributes:
        settings: Those of the settings that are a session's own, as JSON has them.
        command: Of ``command_checksum``; the engine keeps the greeting under it.
        protocol: See ``PROTOCOL``.
        version: The program's.
    """

    settings: Mapping[str, Any]
    command: str = ""
    protocol: int = PROTOCOL
    version: str = VERSION

    def line(self) -> bytes:
        """Return the line that is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Read the line that was received.

        Raises:
            ConfigurationError: It is no greeting of this protocol.
        """
        try:
            greeting = cls(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise ConfigurationError("the first line is not the greeting of a relay") from None
        if (greeting.protocol, greeting.version) != (PROTOCOL, VERSION):
            raise ConfigurationError(f"the relay is of version {greeting.version}, this engine process of {VERSION}")
        return greeting


def session_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings of a session for its greeting; paths are made absolute, since an engine runs elsewhere."""
    return {field.name: _sent(getattr(settings, field.name)) for field in fields(Settings) if is_of_session(field.name)}


def is_of_session(name: str) -> bool:
    """Tell whether a setting is one session's own."""
    return any(field.name == name and field.metadata["scope"] == "session" for field in fields(Settings))


def received_settings(engine: Settings, sent: Mapping[str, Any]) -> Settings:
    """Return the settings of a session: its own, and for the rest those of the engine. They are checked as at a start.

    Raises:
        ConfigurationError: One is unknown, not a session's own, or refused.
    """
    values = {field.name: getattr(engine, field.name) for field in fields(Settings)}
    for name, value in sent.items():
        if not is_of_session(name):
            raise ConfigurationError(f"{name} is not a setting of a session")
        values[name] = _received(name, value)
    return Settings(**values)


def _sent(value: object) -> object:
    if isinstance(value, tuple):
        return [_sent(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def _received(name: str, value: object) -> object:
    kinds = {field.name: field.type for field in fields(Settings)}
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kinds[name] == tuple[str, ...] and texts and isinstance(value, list):
        return tuple(value)
    if kinds[name] == tuple[Path, ...] and texts and isinstance(value, list):
        return tuple(_absolute(name, item) for item in value)
    if kinds[name] == Path | None and (value is None or isinstance(value, str)):
        return None if value is None else _absolute(name, value)
    if kinds[name] not in (tuple[str, ...], tuple[Path, ...], Path | None) and isinstance(value, str):
        return value
    raise ConfigurationError(f"{name} is {value!r:.100}, not of its type")


def _absolute(name: str, text: str) -> Path:
    if not Path(text).is_absolute():
        raise ConfigurationError(f"{name} {text!r:.100} is not an absolute path")
    return Path(text)
