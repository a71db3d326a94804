"""What commands print: results on standard output, never anything that gives orders to a terminal."""

import io
import json
import sys
from typing import TYPE_CHECKING

from mcp_server_embeddings.tools.texts import CONTROL

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

_WIDE = 10_000
"""Columns where no terminal is: what reads a pipe wants whole lines."""

_UNITS = ("B", "kB", "MB", "GB")


def console() -> "Console":
    """Standard output as rich writes it: colours and line breaks in a terminal, plain lines elsewhere."""
    from rich.console import Console

    _write_anything()
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else _WIDE, highlight=False, markup=False, emoji=False)


def say(*sentences: str) -> None:
    """Print lines."""
    _write_anything()
    sys.stdout.writelines(safe(sentence) + "\n" for sentence in sentences)


def say_json(result: "BaseModel | dict[str, object]") -> None:
    """Print a result for another program."""
    _write_anything()
    fields = result if isinstance(result, dict) else result.model_dump(mode="json")
    sys.stdout.write(json.dumps(fields, ensure_ascii=False, indent=2) + "\n")


def safe(text: str) -> str:
    """A text from a file without control characters: some are orders to a terminal."""
    return CONTROL.sub(" ", text)


def size(number: int) -> str:
    """Bytes for a person: ``12.3 MB``."""
    value, unit = float(number), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _write_anything() -> None:
    """Some terminals cannot show every character; a result is not lost for one."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
