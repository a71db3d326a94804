"""Print results on standard output, without control characters that a terminal would interpret."""

import io
import json
import sys
from typing import TYPE_CHECKING

from mcp_server_embeddings.tools.texts import CONTROL

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 10_000
"""Width in columns without a terminal, since programs that read a pipe expect unbroken lines."""

_UNITS = ("B", "kB", "MB", "GB")


def console() -> "Console":
    """Return a rich console on standard output: colours and wrapped lines in a terminal, plain lines elsewhere."""
    from rich.console import Console

    _escape_unencodable()
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else _PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def say(*sentences: str) -> None:
    """Print lines."""
    _escape_unencodable()
    sys.stdout.writelines(safe(sentence) + "\n" for sentence in sentences)


def say_json(fields: dict[str, object]) -> None:
    """Print fields as JSON."""
    _escape_unencodable()
    sys.stdout.write(json.dumps(fields, ensure_ascii=False, indent=2) + "\n")


def say_result(result: "BaseModel", as_json: bool, *sentences: str) -> None:
    """Print a result, either as JSON or as sentences."""
    if as_json:
        say_json(result.model_dump(mode="json", exclude_defaults=True))
    else:
        say(*sentences)


def table(*columns: str) -> "Table":
    """Return an empty table in the style of all commands, with columns that are not wrapped."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Column, Table

    return Table(*(Column(name, no_wrap=True) for name in columns), box=SIMPLE_HEAD, pad_edge=False, show_edge=False)


def safe(text: str) -> str:
    """Replace control characters with spaces."""
    return CONTROL.sub(" ", text)


def format_size(number: int) -> str:
    """Format a number of bytes, such as ``12.3 MB``."""
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _escape_unencodable() -> None:
    """Make standard output escape characters that its encoding lacks, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
