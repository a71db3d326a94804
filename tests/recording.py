"""Draw the terminal session of the README: real commands and their output. ``make snapshot`` runs this."""

import contextlib
import io
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from mcp_server_embeddings.cli.main import main
from snippets import PROGRAM, prepared, program_arguments

ROOT = Path(__file__).parents[1]
RECORDING = ROOT / "docs" / "session.svg"

COMMANDS = (
    f"{PROGRAM} similarity --left 'Pay within 30 days.' --right 'Payment is due in 60 days.'",
    f"{PROGRAM} search tickets.csv#message 'the machine swallowed it' --top 2",
    f"{PROGRAM} classify tickets.csv#message --labels delivery --labels payment --labels PIN --top 2",
)

_WIDTH = 106
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""Fonts on another server, which no picture may load."""


def session() -> list[tuple[str, str]]:
    """Run each command in a folder with the tickets; return the commands with their output."""
    outputs = []
    with TemporaryDirectory() as folder, prepared(Path(folder)):
        shutil.copy(ROOT / "examples" / "data" / "tickets.csv", folder)
        for command in COMMANDS:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                assert main(program_arguments(command)) == 0
            outputs.append((command, output.getvalue()))
    return outputs


def drawn(outputs: list[tuple[str, str]]) -> str:
    """Return a session as an SVG picture."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), highlight=False)
    for command, output in outputs:
        console.print(Text("$ ", "bold green").append(command, "bold"))
        for line in output.splitlines():
            console.print(Text(line.rstrip()), overflow="ellipsis", no_wrap=True)
        console.print()
    return _FONTS.sub("", console.export_svg(title=PROGRAM, unique_id="session"))
