"""Run the fenced blocks of a page, in order, in one prepared folder, as a reader would.

- ``sh``: each command is run; those of this program in this process, through its command line, others in bash.
- ``python``: is run in this process. After ``<!-- file NAME -->`` a block of any kind is written to that file instead.
- ``text`` or ``json`` directly below a block that ran is its output.
- ``json``, ``toml``, ``yaml`` elsewhere must parse; ``text`` lines such as ``search {"query": …}`` must be valid calls.
- After ``<!-- not run: REASON -->`` commands are only parsed, by the program's parser.

``make snapshot`` writes the output into the pages.
"""

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from mcp_server_embeddings.cli.main import main, parse
from mcp_server_embeddings.mcp_layer.arguments import parse as parse_arguments
from mcp_server_embeddings.tools.declaration import declared_tools
from wire import PATIENCE

ROOT = Path(__file__).parents[1]
PROGRAM = "mcp-server-embeddings"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>file|not run:|call) ?(?P<value>.*?) -->\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_CONTINUED = re.compile(r"\\\n\s*")
_COMMENT = re.compile(r"\s+# .*$")
"""A comment of a shell. shlex would also take ``#message`` in ``tickets.csv#message`` for a comment."""

_CALL = re.compile(r"^(\w+) +(\{.*\})$", re.MULTILINE)
_SHELL = frozenset({"|", ">", ">>", "<", "&&", "&"})
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


@dataclass(slots=True)
class PageRun:
    """A run of the blocks of one page.

    Attributes:
        page: Its file.
        folder: The folder in which its commands run.
        ran: Number of blocks that ran or were checked.
        unrun: The reasons given for blocks that did not run.
    """

    page: Path
    folder: Path
    ran: int = 0
    unrun: list[str] = field(default_factory=list)
    _output: str | None = None
    _end: int = -1

    def written(self) -> str:
        """Run all blocks; return the page with their current output."""
        shutil.copytree(ROOT / "examples" / "data", self.folder, dirs_exist_ok=True)
        text = self.page.read_text(encoding="utf-8")
        parts, last = [], 0
        for block in _BLOCK.finditer(text):
            parts.append(text[last : block.start()])
            shows_output = self._output is not None and not text[self._end : block.start()].strip()
            parts.append(self._block(block, shows_output))
            last = self._end = block.end()
        return "".join(parts) + text[last:]

    def _block(self, block: re.Match[str], shows_output: bool) -> str:
        """Run or check a block; return it with the current output."""
        kind, code, mark = block["kind"], block["code"], block["mark"]
        output, self._output = self._output, None
        if mark == "call":  # tests/tools_page.py writes these
            return block[0]
        self.ran += mark != "not run:"
        if mark == "file":
            (self.folder / block["value"]).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block["value"]).write_text(code, encoding="utf-8")
        elif mark == "not run:":
            self.unrun.append(f"{self.page.name}: {block['value']}")
            for command in commands(code) if kind == "sh" else ():
                check(command)
        elif shows_output and kind in ("text", "json"):
            return f"```{kind}\n{output}```"
        elif kind in ("sh", "python"):
            self._output = self._run(kind, code).replace(str(self.folder), "…")
        else:
            validate(kind, code)
        return block[0]

    def _run(self, kind: str, code: str) -> str:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) as output:
            if kind == "python":
                exec(compile(code, str(self.page), "exec"), {"__name__": "__main__"})
            for command in commands(code) if kind == "sh" else ():
                self._command(command)
            output.flush()
            return re.sub(r" +$", "", output.buffer.getvalue().decode(), flags=re.MULTILINE)

    def _command(self, command: str) -> None:
        words = program_arguments(command)
        if words is not None:
            assert words[:1] not in ([], ["serve"]), f"serves until it is stopped: {command}"
            assert main(words) == 0, f"{self.page.name}: {command}"
            return
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            # Encoders that stay loaded (tests/warm.py) exist in this process only.
            env={name: value for name, value in os.environ.items() if name != "MCP_EMBEDDINGS_ENGINE"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        sys.stdout.write(finished.stdout)
        assert finished.returncode == 0, f"{self.page.name}: {command}"


def commands(code: str) -> list[str]:
    """Return the commands of a block: one on each line, which a backslash continues."""
    return [line for line in _CONTINUED.sub(" ", code).splitlines() if line.strip() and not line.startswith("#")]


def program_arguments(command: str) -> list[str] | None:
    """Return the arguments of a command of this program that needs no shell; None for any other command."""
    words = shlex.split(_COMMENT.sub("", command))
    needs_no_shell = not _SHELL & set(words) and not any("$" in word or word.startswith("~") for word in words)
    return words[1:] if words and words[0] == PROGRAM and needs_no_shell else None


def check(command: str) -> None:
    """Parse a command of this program without running it."""
    words = shlex.split(_COMMENT.sub("", command))
    if PROGRAM in words[:1] and words[1:] != ["--version"]:  # parsing --version ends the process
        parse(list(itertools.takewhile(lambda word: word not in _SHELL, words[1:])))


def validate(kind: str, code: str) -> None:
    """Check a block that is not run: its syntax, and the arguments of tool calls."""
    if kind == "json":
        json.loads(code)
    elif kind == "toml":
        tomllib.loads(code)
    elif kind == "yaml":
        list(yaml.safe_load_all(code))
    for tool, arguments in _CALL.findall(code) if kind == "text" else ():
        parse_arguments(declared_tools()[tool].arguments, json.loads(arguments))


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Make commands run in this folder, with their own data, home and configuration there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        patch.setenv("MCP_EMBEDDINGS_DATA_DIR", str(folder / ".data"))
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield


def without_numbers(text: str) -> str:
    """Replace each number and time of a page, and the lengths of lines and gaps, which depend on them."""
    return re.sub(r" +", " ", re.sub(r"─+", "─", _NUMBER.sub("#", _TIME.sub("TIME", text))))


def numbers(text: str) -> list[float]:
    """Return the numbers of a page."""
    return [float(number.replace(",", "")) for number in _NUMBER.findall(_TIME.sub("", text))]


def equal_up_to_rounding(text: str, other: str) -> bool:
    """Whether two pages differ only in times and in the last digits of numbers, which depend on the processor."""
    return without_numbers(text) == without_numbers(other) and numbers(text) == pytest.approx(
        numbers(other), rel=0.02, abs=0.02
    )
