# /// script
# requires-python = ">=3.11"
# dependencies = ["mcp>=2.3,<3", "mcp-server-embeddings"]
# ///
"""Compare Apple with Orange and Apple with Lightning: the smallest program over this server."""

import sys

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

client = Client(stdio_client(StdioServerParameters(command=sys.executable, args=["-m", "mcp_server_embeddings"])))


async def embed(text: str) -> list[float]:
    result = await client.call_tool("embed", {"texts": [text]})
    vector: list[float] = result.structured_content["vectors"][0]
    return vector


async def get_similarity(text1: str, text2: str) -> float:
    result = await client.call_tool("similarity", {"left": [text1], "right": [text2]})
    score: float = result.structured_content["pairs"][0]["score"]
    return score


async def main() -> None:
    async with client:
        print(f"Apple is a vector of {len(await embed('Apple'))} numbers")
        print(f"Apple and Orange:    {await get_similarity('Apple', 'Orange'):.4f}")
        print(f"Apple and Lightning: {await get_similarity('Apple', 'Lightning'):.4f}")


if __name__ == "__main__":
    anyio.run(main)
