"""The answers and sizes in ``docs/tools.md``, made by a real server."""

import json
import re
from pathlib import Path

from corpus import sentences
from test_answers import DEFAULT_CALLS, Calls, compact, tokens
from wire import ServerProcess

PAGE = Path(__file__).parents[1] / "docs" / "tools.md"

_CALL = re.compile(r"<!-- call (\w+) -->\n```json\n(.*?)\n```\n(?:```text\n.*?\n```\n)?<!-- /call -->", re.DOTALL)
_SIZES = re.compile(r"(<!-- sizes -->\n)(.*?)(<!-- /sizes -->)", re.DOTALL)
COUNTS = (10, 100, 2000)

CALLS: dict[str, Calls] = {
    **DEFAULT_CALLS,
    "rank": lambda texts: {"query": "a lost bicycle", "texts": texts},
    "condense": lambda texts: {"texts": texts, "max_tokens": 500},
}
"""By tool: a call with these texts as a client would make it."""


def with_answers(text: str, server: ServerProcess, data_dir: Path) -> str:
    """The page with each call's answer and the sizes as the server gives them now."""

    def answered(found: re.Match[str]) -> str:
        tool, arguments = found[1], found[2]
        answer: str = server.call(tool, json.loads(arguments))["content"][0]["text"]
        shown = answer.replace(str(data_dir), "~/.local/share/mcp-server-embeddings")
        return f"<!-- call {tool} -->\n```json\n{arguments}\n```\n```text\n{shown}\n```\n<!-- /call -->"

    return _SIZES.sub(lambda found: found[1] + sizes(server) + found[3], _CALL.sub(answered, text))


def sizes(server: ServerProcess) -> str:
    """One row a tool: bytes on the wire and tokens, by the number of texts."""
    rows = ["| tool | " + " | ".join(f"{count:,} texts" for count in COUNTS) + " |", "| --- |" + " --- |" * len(COUNTS)]
    for tool, arguments in CALLS.items():
        cells = []
        for count in COUNTS:
            result = server.call(tool, arguments(sentences(count)))
            dearest = max(tokens(result["content"][0]["text"]), tokens(compact(result["structuredContent"])))
            cells.append(f"{len(server.lines[-1]):,} bytes, {dearest:,} tokens")
        rows.append(f"| `{tool}` | {' | '.join(cells)} |")
    listed = tokens(compact(server.request("tools/list")))
    return "\n".join(rows) + f"\n\n`tools/list` for all tools costs {listed:,} tokens.\n"
