"""The greeting: the first line that a relay sends to an engine process, before the client's messages.

See ``notices`` for the lines that the engine process sends to the relay.
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
"""Version of the greeting's format. The program's version is part of an engine's address, so only equal ones meet."""

MAX_GREETING = 1_000_000
"""Maximum size of a greeting in bytes."""


_KINDS = {field.name: field.type for field in fields(Settings) if field.metadata["scope"] == "session"}
"""The settings of a session and their types."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """A relay's introduction of its session.

    Attributes:
        settings: The session's settings as JSON values; see ``session_settings``.
        command: The result of ``command_checksum``, under which the engine stores an accepted greeting.
        protocol: See ``PROTOCOL``.
        version: The relay's program version.
    """

    settings: Mapping[str, Any]
    command: str = ""
    protocol: int = PROTOCOL
    version: str = VERSION

    def line(self) -> bytes:
        """Serialize the greeting as one line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Self:
        """Parse a line that was received.

        Raises:
            ConfigurationError: The line is not a greeting, or has another protocol or program version.
        """
        try:
            greeting = cls(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise ConfigurationError("the first line is not the greeting of a relay") from None
        if (greeting.protocol, greeting.version) != (PROTOCOL, VERSION):
            raise ConfigurationError(f"the relay is of version {greeting.version}, this engine process of {VERSION}")
        return greeting


def session_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings of a session for its greeting, with absolute paths: the engine runs in another directory."""
    return {name: _sent(getattr(settings, name)) for name in _KINDS}


def received_settings(engine: Settings, sent: Mapping[str, Any]) -> Settings:
    """Combine the settings sent by a session with those of the engine, and validate them as at startup.

    Raises:
        ConfigurationError: A setting is unknown, does not belong to sessions, or has an invalid value.
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
