"""Start a server and use it like any client, by tool calls only."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import anyio.to_thread
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent

from mcp_server_embeddings.errors import InputError
from mcp_server_embeddings.tools.results import Result, SimilarityResult
from mcp_server_embeddings.tools.status_results import Limits, Status

R = TypeVar("R", bound=Result)


class Session:
    """A connection to the server.

    Args:
        client: Connected client.
        status: Result of the tool ``status``: server, model, and limits of a call.
    """

    def __init__(self, client: Client, status: Status) -> None:
        self._client = client
        self.status = status
        self.limits = status.limits

    async def call(self, tool: str, result: type[R], arguments: Mapping[str, object]) -> R:
        """Call a tool.

        Raises:
            InputError: The server refuses the call; the message is the server's.
        """
        return await _call(self._client, tool, result, arguments)

    async def saved(
        self, tool: str, result: type[R], arguments: Mapping[str, object]
    ) -> tuple[R, list[dict[str, object]]]:
        """Call a tool that writes its full result, a row for each text, to a file; read and remove the file.

        Raises:
            InputError: The server refuses the call; the message is the server's.
        """
        answer = await self.call(tool, result, {**arguments, "save_as": f"quality-{uuid4().hex}.jsonl"})
        file = getattr(answer, "file", None)
        if file is None:
            raise InputError(f"the server wrote no file for {tool}")
        return answer, await anyio.to_thread.run_sync(_take_rows, Path(file.path))


def _take_rows(path: Path) -> list[dict[str, object]]:
    """Read a JSON lines file and remove it."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.unlink()
    return rows


@asynccontextmanager
async def open_session(model: str | None) -> AsyncIterator[Session]:
    """Start a server with this process's environment, and wait until its model is loaded.

    Args:
        model: Value of ``--model``; None for the server's default.

    Raises:
        InputError: The model cannot be used.
    """
    options = ["--model", model] if model is not None else []
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_server_embeddings", *options], env=dict(os.environ)
    )
    async with Client(stdio_client(server)) as client:
        await _call(client, "similarity", SimilarityResult, {"left": ["ready"], "right": ["steady"]})
        yield Session(client, await _call(client, "status", Status, {}))


async def _call(client: Client, tool: str, result: type[R], arguments: Mapping[str, object]) -> R:
    answer = await client.call_tool(tool, dict(arguments))
    while (answer.structured_content or {}).get("running"):
        answer = await client.call_tool(tool, dict(arguments))
    if answer.is_error:
        message = " ".join(block.text for block in answer.content if isinstance(block, TextContent))
        raise InputError(f"the server refused a call of {tool}: {message}")
    return result.model_validate(answer.structured_content)


def parts(texts: Sequence[str], shared: Sequence[str], limits: Limits) -> list[slice]:
    """Split texts into as few calls as possible, in order.

    Args:
        texts: One or more texts.
        shared: Texts that every call also contains.
        limits: Limits of a call.

    Raises:
        InputError: A call has no room for one text, or for the longest one.
    """
    max_texts = limits.texts - len(shared)
    room = limits.characters - sum(map(len, shared))
    longest = max(map(len, texts))
    if max_texts < 1 or longest > room:
        raise InputError(
            f"a text of {longest:,} characters and the {len(shared):,} that go with it (labels and examples, or a "
            f"query) do not fit into one call of at most {limits.texts:,} texts and {limits.characters:,} characters; "
            "give fewer labels or --examples, or leave long texts out"
        )
    starts, used = [0], 0
    for position, text in enumerate(texts):
        used += len(text)
        if used > room or position - starts[-1] == max_texts:
            starts.append(position)
            used = len(text)
    return [slice(start, end) for start, end in pairwise([*starts, len(texts)])]
