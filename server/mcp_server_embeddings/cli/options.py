"""Options from the command line and the environment, in one pass over the settings' fields."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import NoReturn

from mcp_server_embeddings.config import ENVIRONMENT_PREFIX, Settings, nearest
from mcp_server_embeddings.errors import ConfigurationError

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


class Parser(argparse.ArgumentParser):
    """Names the nearest option when it meets an unknown one."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As in argparse, with a hint."""
        parsed, unknown = self.parse_known_args(args, namespace)
        self.refuse(unknown)
        return parsed

    def refuse(self, unknown: Sequence[str]) -> None:
        """Name what was not understood, and the option nearest to it.

        Raises:
            ConfigurationError: There is such.
        """
        for name in unknown:
            if not name.startswith("-"):
                self.error(f"one argument too many: {name!r}; see --help")
            flag = name.split("=", 1)[0]
            known = [option for option in self._option_string_actions if option.startswith("--")]
            self.error(f"unknown option {flag!r}; {nearest(flag, known)}")

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting, so that every wrong start ends in one place."""
        raise ConfigurationError(message)


def flag(field: "Field[object]") -> str:
    """``--log-level`` for ``log_level``."""
    return "--" + field.name.replace("_", "-")


def variable(field: "Field[object]") -> str:
    """``MCP_EMBEDDINGS_LOG_LEVEL`` for ``log_level``."""
    return ENVIRONMENT_PREFIX + field.name.upper()


def default(field: "Field[object]") -> object:
    """The value a setting has when nobody sets it."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add one option for each setting."""
    group = parser.add_argument_group(
        "settings", f"each also as an environment variable, such as {ENVIRONMENT_PREFIX}LOG_LEVEL for --log-level"
    )
    for field in fields(Settings):
        text = f"{field.metadata['help']}{_default_text(field)}"
        if isinstance(default(field), bool):
            group.add_argument(flag(field), action="store_const", const="1", help=text)
        elif field.metadata.get("repeated"):
            group.add_argument(flag(field), metavar=field.metadata["metavar"], action="append", help=text)
        else:
            group.add_argument(flag(field), metavar=field.metadata["metavar"], help=text)


def settings_from(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """The settings: an option wins over its variable, a variable over the default.

    Raises:
        ConfigurationError: A variable with our prefix is unknown, or a value is malformed or out of range.
    """
    known = {variable(field): field for field in fields(Settings)}
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            raise ConfigurationError(f"unknown environment variable {name!r}; {nearest(name, known)}")
    chosen: dict[str, object] = {}
    for name, field in known.items():
        given = getattr(options, field.name, None)
        source = flag(field) if given is not None else name
        text = given if given is not None else environment.get(name)
        if field.metadata.get("repeated") and text is not None:
            # The environment has one string for several folders: separated as in PATH.
            folders = text if isinstance(text, list) else [part for part in text.split(os.pathsep) if part]
            chosen[field.name] = tuple(_path(source, folder) for folder in folders)
        elif text is not None:
            chosen[field.name] = _READERS[type(default(field)).__name__](source, text)
    return Settings(**chosen)  # type: ignore[arg-type]


def _default_text(field: "Field[object]") -> str:
    value = default(field)
    return f" (default: {value})" if value and not callable(value) else ""


def _text(_: str, text: str) -> str:
    return text


def _number(source: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{source} is {text!r}; give a whole number") from None


def _decimal(source: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{source} is {text!r}; give a number") from None


def _switch(source: str, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE | _FALSE:
        return lowered in _TRUE
    raise ConfigurationError(f"{source} is {text!r}; give 1 or 0")


def _names(_: str, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _path(_: str, text: str) -> Path:
    return Path(text).expanduser()


_READERS: dict[str, Callable[[str, str], object]] = {
    "str": _text,
    "int": _number,
    "float": _decimal,
    "bool": _switch,
    "tuple": _names,
    "PosixPath": _path,
    "WindowsPath": _path,
}
