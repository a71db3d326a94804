# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3,<3", "mcp-server-embeddings"]
# ///
"""Work on files without reading them into the conversation: label a CSV, find its duplicates, join two by meaning.

The client sends the name of a file. It gets back ids, counts, and the cases that a person or a language model should
check. The complete results are written to a folder as tables.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

DATA = Path(__file__).parent / "data"


def server(output: str) -> StdioServerParameters:
    """Return the parameters of a server that may read the examples' data and writes results to another folder."""
    options = ["--allow-dir", str(DATA), "--output-dir", output]
    return StdioServerParameters(command=sys.executable, args=["-m", "mcp_server_embeddings", *options])


async def call(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise SystemExit(str(result.content))
    answer: dict[str, Any] = result.structured_content
    return answer


async def label(client: Client) -> None:
    rows = [line.split(",", 1) for line in (DATA / "examples.csv").read_text(encoding="utf-8").splitlines()[1:]]
    examples = [{"label": kind, "text": text} for kind, text in rows]
    answer = await call(
        client, "classify", source="tickets.csv#message", examples=examples, top=3, save_as="labelled.csv"
    )
    print("Labels:", ", ".join(f"{kind} {count}" for kind, count in answer["counts"].items()))
    for doubt in answer["check"]:
        print(f"  look at {doubt['id']}: {doubt['label']} or {doubt['runner_up']}? {doubt['text']}")
    print(f"  {answer['file']['rows']} rows in {Path(answer['file']['path']).name}")


async def find_duplicates(client: Client) -> None:
    answer = await call(client, "deduplicate", source="tickets.csv#message")
    print(f"Duplicates: {answer['unique']} tickets are left")
    for kept, *others in answer["groups"]:
        print(f"  {kept} is also {', '.join(others)}")


async def join(client: Client) -> None:
    answer = await call(
        client, "align", left_source="products.csv#name", right_source="supplier.csv#article", save_as="joined.csv"
    )
    print("Join:", ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in answer["counts"].items()))
    for pair in answer["changed"]:
        numbers = "; ".join(pair.get("differs", {}).get("numbers", []))
        print(f"  {pair['left']} = {pair['right']}: {' / '.join(pair['texts'])}{f' ({numbers})' if numbers else ''}")
    for side, whose in (("left_only", "ours"), ("right_only", "theirs")):
        print(f"  only {whose}: {', '.join(item['text'] for item in answer.get(side, []))}")


async def session(output: str) -> None:
    async with Client(stdio_client(server(output))) as client:
        await label(client)
        await find_duplicates(client)
        await join(client)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(session, folder)
        print("Written:", ", ".join(sorted(path.name for path in Path(folder).iterdir())))
