"""What a relay and an engine process say to each other beside the client's messages.

A relay's first line is its greeting; all that follows is the client's. For the other direction see ``notices``.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from mcp_server_embeddings.config import Settings
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.program import VERSION

PROTOCOL = 1
"""Of these lines. The program's version is part of an engine's address, so only equal ones meet."""

MAX_GREETING = 1_000_000
"""Bytes."""


_KINDS = {field.name: field.type for field in fields(Settings) if field.metadata["scope"] == "session"}
"""The types of the settings that are a session's own."""


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
    return {name: _sent(getattr(settings, name)) for name in _KINDS}


def received_settings(engine: Settings, sent: Mapping[str, Any]) -> Settings:
    """Return the settings of a session: its own, and for the rest those of the engine. They are checked as at a start.

    Raises:
        ConfigurationError: One is unknown, not a session's own, or refused.
    """
    for name in sent:
        if name not in _KINDS:
            raise ConfigurationError(f"{name} is not a setting of a session")
    return replace(engine, **{name: _received(name, value) for name, value in sent.items()})


def _sent(value: object) -> object:
    if isinstance(value, tuple):
        return [_sent(item) for item in value]
    return str(value.absolute()) if isinstance(value, Path) else value


def _received(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    kind = _KINDS[name]
    if kind in (tuple[str, ...], tuple[Path, ...]):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(_absolute(name, item) if kind == tuple[Path, ...] else item for item in value)
    elif isinstance(value, str):
        return _absolute(name, value) if kind == Path | None else value
    elif value is None and kind == Path | None:
        return None
    raise ConfigurationError(f"{name} is {value!r:.100}, not of its type")


def _absolute(name: str, text: str) -> Path:
    if not Path(text).is_absolute():
        raise ConfigurationError(f"{name} {text!r:.100} is not an absolute path")
    return Path(text)
