"""Make the answers and sizes in ``docs/tools.md`` with a real server that may read the examples' data."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wire import ServerProcess

PAGE = Path(__file__).parents[1] / "docs" / "tools.md"
DATA = Path(__file__).parents[1] / "examples" / "data"

_CALL = re.compile(r"<!-- call (\w+) -->\n```json\n(.*?)\n```\n(?:```json\n.*?\n```\n)?<!-- /call -->", re.DOTALL)
_SIZES = re.compile(r"(<!-- sizes -->\n)(.*?)(<!-- /sizes -->)", re.DOTALL)
CORE = ("embed", "search", "similarity", "status")


@contextmanager
def page_server(data_dir: Path) -> Iterator[ServerProcess]:
    """Run the server of the page; the files that it writes are removed at the end."""
    with (
        TemporaryDirectory() as output,
        ServerProcess(data_dir, "--allow-dir", str(DATA), "--output-dir", output) as server,
    ):
        server.handshake()
        yield server


def with_answers(text: str, server: ServerProcess) -> str:
    """Return the page with the server's current answer to each call, and the current sizes."""

    def replace_answer(match: re.Match[str]) -> str:
        tool, arguments = match[1], match[2]
        answer = shown(server.call(tool, json.loads(arguments))["structuredContent"])
        return f"<!-- call {tool} -->\n```json\n{arguments}\n```\n```json\n{answer}\n```\n<!-- /call -->"

    return _SIZES.sub(lambda match: match[1] + sizes(server) + match[3], _CALL.sub(replace_answer, text))


def shown(answer: dict[str, Any]) -> str:
    """Format an answer for the page: a line for each field and each object of a list, paths shortened."""
    lines = []
    for name, value in answer.items():
        objects = isinstance(value, list) and value and isinstance(value[0], dict)
        entries = ",\n".join(f"    {_line(entry)}" for entry in value) if objects else ""
        lines.append(f"  {_line(name)}: " + (f"[\n{entries}\n  ]" if objects else _line(value)))
    text = "{\n" + ",\n".join(lines) + "\n}"
    return re.sub(r'"/[^"]*/(?=[^"]*")', '"…/', text)


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def sizes(server: ServerProcess) -> str:
    """Return the table of the sizes of the tools' definitions, in characters of compact JSON."""
    tools = server.request("tools/list")["tools"]
    definitions = [{name: tool[name] for name in ("name", "description", "inputSchema")} for tool in tools]
    core = [tool for tool in definitions if tool["name"] in CORE]
    counts = [len(json.dumps(part, separators=(",", ":"), ensure_ascii=False)) for part in (definitions, core, tools)]
    return (
        "| | all tools | `--tools core` | all tools, with output schemas, titles and annotations |\n"
        "| --- | --- | --- | --- |\n"
        f"| characters of `tools/list` | {counts[0]:,} | {counts[1]:,} | {counts[2]:,} |\n"
    )
