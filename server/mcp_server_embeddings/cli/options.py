"""Options from the command line and the environment, both derived from the fields of ``Settings``."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import NoReturn

from mcp_server_embeddings.config import ENGINE_KEY, Settings, default, flag, nearest, variable
from mcp_server_embeddings.errors import ConfigurationError
from mcp_server_embeddings.program import ENVIRONMENT_PREFIX

SERVE = "serve:run"
"""The function that runs without a command; see ``commands``."""

_BOOLEANS = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("", "0", "false", "no", "off"), False)}


class Parser(argparse.ArgumentParser):
    """A parser that raises ``ConfigurationError`` instead of exiting, and suggests the nearest option."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse all arguments, as in argparse.

        Raises:
            ConfigurationError: An argument is unknown, missing or malformed.
        """
        parsed, unknown = self.parse_known_args(args, namespace)
        self.refuse(unknown)
        return parsed

    def refuse(self, unknown: Sequence[str]) -> None:
        """Raise ``ConfigurationError`` for the first unknown argument, if any."""
        for argument in unknown:
            if not argument.startswith("-"):
                raise ConfigurationError(f"unexpected argument {argument!r}; see --help")
            option = argument.split("=", 1)[0]
            known = [name for name in self._option_string_actions if name.startswith("--")]
            raise ConfigurationError(f"unknown option {option!r}; {nearest(option, known)}")

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting, so that all errors are reported in one place."""
        raise ConfigurationError(message)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add one option for each setting; options that are not given are absent from the namespace."""
    groups = {
        "settings": f"also as environment variables: {ENVIRONMENT_PREFIX}LOG_LEVEL for --log-level",
        "http": "with --transport http; docs/http.md says more",
    }
    parsers = {
        name: parser.add_argument_group(name, text, argument_default=argparse.SUPPRESS) for name, text in groups.items()
    }
    for field in fields(Settings):
        group = parsers["http" if field.metadata["scope"] == "http" else "settings"]
        value, metavar = default(field), field.metadata["metavar"]
        text = field.metadata["help"] + (f" (default: {value})" if value else "")
        if field.type is bool:
            group.add_argument(flag(field), action="store_const", const="1", help=text)
        else:
            action = "append" if field.type == tuple[Path, ...] else "store"
            group.add_argument(flag(field), metavar=metavar, action=action, help=text)


def serving_options(arguments: Sequence[str]) -> argparse.Namespace | None:
    """Parse options for serving over stdio, without the slow step of building the parsers of all commands.

    Returns:
        The options; None if there is anything else, such as a command or a mistake.
    """
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.set_defaults(run=SERVE)
    add_settings(parser)
    try:
        options, unknown = parser.parse_known_args(arguments)
    except ConfigurationError:
        return None
    return None if unknown else options


def settings_from(options: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Combine options, environment variables and defaults, in this order of precedence.

    Raises:
        ConfigurationError: A variable with our prefix is unknown, or a value is malformed or out of range.

    Example:
        >>> settings_from(argparse.Namespace(threads="2"), {"MCP_EMBEDDINGS_THREADS": "1"}).threads
        2
    """
    known = {variable(field): field for field in fields(Settings)}
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in (*known, ENGINE_KEY):
            raise ConfigurationError(f"unknown environment variable {name!r}; {nearest(name, (*known, ENGINE_KEY))}")
    values: dict[str, object] = {}
    for name, field in known.items():
        option = getattr(options, field.name, None)
        text = environment.get(name) if option is None else option
        if text is not None:
            values[field.name] = _value(name if option is None else flag(field), field, text)
    return Settings(**values)  # type: ignore[arg-type]


def _value(source: str, field: "Field[object]", text: str | list[str]) -> object:
    if field.type == tuple[Path, ...]:
        # From the environment one string, separated as in PATH; from repeated options a list.
        folders = text if isinstance(text, list) else filter(None, text.split(os.pathsep))
        return tuple(Path(folder).expanduser() for folder in folders)
    parse, expected = _PARSERS.get(field.type, (str, "a text"))
    try:
        return parse(str(text))
    except (KeyError, ValueError):
        raise ConfigurationError(f"{source} is {text!r}; give {expected}") from None


_PARSERS: dict[object, tuple[Callable[[str], object], str]] = {
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (lambda text: _BOOLEANS[text.strip().lower()], "1 or 0"),
    Path: (lambda text: Path(text).expanduser(), "a folder"),
    Path | None: (lambda text: Path(text).expanduser(), "a folder"),
    tuple[str, ...]: (lambda text: tuple(name.strip() for name in text.split(",") if name.strip()), "names"),
}
"""The parser for each type of field, and a description of the values it expects."""
