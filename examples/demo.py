"""Start a server, connect a client, make three calls, and print how long each took (``make demo``)."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

SERVER = StdioServerParameters(command=sys.executable, args=["-m", "mcp_server_embeddings"])


class Watch:
    """Prints each step and the time since the previous one."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def say(self, what: str) -> None:
        now = time.perf_counter()
        print(f"{now - self._last:7.3f} s  {what}", flush=True)
        self._last = now


def pair_line(left: str, right: str, content: Mapping[str, Any]) -> str:
    pair = content["pairs"][0]
    return f"{left} ~ {right}: {pair['score']:.4f}, percentile {pair['percentile']:g}, {pair['band']}"


async def main() -> None:
    watch = Watch()
    async with Client(stdio_client(SERVER)) as client:
        watch.say("connected")
        tools = await client.list_tools()
        watch.say(f"tools: {', '.join(tool.name for tool in tools.tools)}")
        result = await client.call_tool("embed", {"texts": ["Apple"]})
        vector = result.structured_content["vectors"][0]
        watch.say(f"embedded 'Apple' (waiting for the model to load): {len(vector)} numbers, {vector[:3]} ...")
        for left, right in (("Apple", "Orange"), ("Apple", "Lightning")):
            result = await client.call_tool("similarity", {"left": [left], "right": [right]})
            watch.say(pair_line(left, right, result.structured_content))
    watch.say("the server has ended")


if __name__ == "__main__":
    anyio.run(main)
