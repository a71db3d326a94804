"""Real clients, each with a real server process that it starts itself."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import CallToolResult, Implementation, PromptReference, TextContent, TextResourceContents
from pydantic import BaseModel

from mcp_server_embeddings.tools.declaration import declared_tools
from mcp_server_embeddings.vectors.calibration import BANDS
from wire import MODE, OWN_FOLDERS, PATIENCE, PROGRAM, client_environment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("engine_process")]

CLIENTS = Path(__file__).parent / "clients"
TOOLS = list(declared_tools())
COMPARED: dict[str, Any] = {"left": ["Apple"], "right": ["Orange", "Lightning"]}

ERAS = {"2025-11-25": (), "2026-07-28": ("--protocol-era", "modern")}
"""The Inspector's options by protocol revision."""


class Session(BaseModel):
    """What a client saw: the same calls in every client."""

    protocol: str
    server: Implementation
    tools: list[str]
    similarity: CallToolResult
    embed: CallToolResult
    status: CallToolResult
    models: str
    guide: str
    prompt: str
    completed: list[str]
    refused: CallToolResult
    progress: list[float]


def settings(data_dir: Path) -> dict[str, str]:
    """The ``env`` block of the client's configuration."""
    own = {name: os.environ[name] for name in (*OWN_FOLDERS, *MODE)}
    return {"HF_HUB_OFFLINE": "1", "MCP_EMBEDDINGS_DATA_DIR": str(data_dir), **own}


def run_node(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an installed JavaScript client to its end; fails, never skips, when there is none."""
    node = shutil.which("node")
    if node is None or not (CLIENTS / "node_modules").is_dir():
        missing = "node is not on PATH" if node is None else f"{CLIENTS / 'node_modules'} is missing"
        pytest.fail(f"{missing}; the clients need Node.js 20 or later, installed by `make setup`")
    return subprocess.run(
        [node, *arguments],
        capture_output=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
        env=client_environment(**environment),
        stdin=subprocess.DEVNULL,
        timeout=2 * PATIENCE,
    )


def typescript_session(script: str, data_dir: Path) -> Session:
    """The session of one of the TypeScript SDKs, which check structured content against the schemas."""
    ended = run_node(str(CLIENTS / script), json.dumps(settings(data_dir)), *PROGRAM)
    assert ended.returncode == 0, ended.stderr
    return Session.model_validate_json(ended.stdout)


def python_session(mode: str, data_dir: Path) -> Session:
    """The session of the Python SDK, which checks structured content too."""
    return anyio.run(python_calls, mode, data_dir)


async def python_calls(mode: str, data_dir: Path) -> Session:
    """The calls of ``python_session``."""
    command, *arguments = PROGRAM
    server = StdioServerParameters(command=command, args=arguments, env=settings(data_dir))
    reported: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        reported.append(progress)

    async with Client(stdio_client(server), mode=mode, read_timeout_seconds=PATIENCE) as client:
        assert client.server_info is not None
        tools = await client.list_tools()
        similarity = await client.call_tool("similarity", COMPARED, progress_callback=report)
        embed = await client.call_tool("embed", {"texts": ["Apple"]})
        status = await client.call_tool("status", {})
        (models,) = (await client.read_resource("embeddings://models")).contents
        (guide,) = (await client.read_resource("embeddings://guide")).contents
        assert isinstance(models, TextResourceContents)
        assert isinstance(guide, TextResourceContents)
        (message,) = (await client.get_prompt("find_duplicates", {"texts": "red"})).messages
        assert isinstance(message.content, TextContent)
        reference = PromptReference(type="ref/prompt", name="find_duplicates")
        begun = await client.complete(reference, {"name": "keep", "value": "l"})
        return Session(
            protocol=client.protocol_version,
            server=client.server_info,
            tools=[tool.name for tool in tools.tools],
            similarity=similarity,
            embed=embed,
            status=status,
            models=models.text,
            guide=guide.text,
            prompt=message.content.text,
            completed=begun.completion.values,
            refused=await client.call_tool("embed", {"texts": []}),
            progress=reported,
        )


SESSIONS = {
    "TypeScript v1": ("2025-11-25", partial(typescript_session, "session_v1.mjs")),
    "TypeScript v2": ("2026-07-28", partial(typescript_session, "session_v2.mjs")),
    "Python, handshake": ("2025-11-25", partial(python_session, "legacy")),
    "Python, modern": ("2026-07-28", partial(python_session, "auto")),
}
"""By client: the protocol revision it must negotiate, and how it runs."""


@pytest.fixture(scope="module", params=SESSIONS)
def session(request: pytest.FixtureRequest, data_dir: Path, engine_process: str) -> Session:
    """One session of every client."""
    _, run = SESSIONS[request.param]
    return run(data_dir)


def text_of(result: CallToolResult) -> str:
    """The only content of a result."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def data_of(result: CallToolResult) -> dict[str, Any]:
    """The structured content of an answer."""
    assert not result.is_error, text_of(result)
    data = result.structured_content
    assert isinstance(data, dict)
    return data


def test_a_client_negotiates_its_revision_and_the_server_knows_it(
    session: Session, request: pytest.FixtureRequest
) -> None:
    expected, _ = SESSIONS[request.node.callspec.params["session"]]

    assert session.protocol == expected
    assert data_of(session.status)["protocol"] == expected
    assert session.server.name == "mcp-server-embeddings"
    assert session.server.version == data_of(session.status)["server"]["version"]


def test_a_client_lists_the_tools_in_their_order(session: Session) -> None:
    assert session.tools == TOOLS


def test_the_text_is_the_structured_content(session: Session) -> None:
    """Clients that show only one of the two lose nothing."""
    for result in (session.similarity, session.embed, session.status):
        assert json.loads(text_of(result)) == data_of(result)


def test_an_answer_has_scores_and_bands_best_first(session: Session) -> None:
    pairs = data_of(session.similarity)["pairs"]

    assert [(pair["left"], pair["right"], pair["score"]) for pair in pairs] == [(0, 1, 0.4251), (0, 0, 0.3726)]
    assert all(pair["band"] in BANDS for pair in pairs)


def test_a_vector_reaches_the_client(session: Session) -> None:
    (vector,) = data_of(session.embed)["vectors"]
    assert len(vector) == 384


def test_a_server_that_has_answered_is_ready(session: Session) -> None:
    assert data_of(session.status)["state"] == "ready"
    assert "ready" in text_of(session.status)


def test_a_client_reads_the_list_of_models(session: Session) -> None:
    assert "sentence-transformers/all-MiniLM-L6-v2" in [model["id"] for model in json.loads(session.models)]


def test_the_guide_and_the_prompts_with_their_completion_reach_the_client(session: Session) -> None:
    assert "| same | 0.838 |" in session.guide
    assert "source='red'" in session.prompt
    assert session.completed == ["longest"]


def test_a_refused_call_is_an_error_that_says_what_to_do(session: Session) -> None:
    assert session.refused.is_error
    assert "give 1 to 2,000 texts" in text_of(session.refused)


def test_a_call_that_asks_for_progress_is_answered_and_its_reports_only_grow(session: Session) -> None:
    assert not session.similarity.is_error
    assert session.progress == sorted(set(session.progress))


INSPECTED = pytest.mark.parametrize(
    "engine_process", ["shared", pytest.param("own", marks=pytest.mark.harden)], indirect=True, scope="module"
)
"""The Inspector starts a server for each of its calls; the sessions above are also served by processes of their own."""


def inspect(data_dir: Path, era: str, *arguments: str) -> dict[str, Any]:
    """What the Inspector's command line gets from a server."""
    environment = [part for item in settings(data_dir).items() for part in ("-e", "=".join(item))]
    ended = run_node(
        str(CLIENTS / "node_modules" / ".bin" / "mcp-inspector"),
        "--cli",
        "-q",
        "--format",
        "json",
        *ERAS[era],
        *environment,
        *PROGRAM,
        *arguments,
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def inspect_call(data_dir: Path, era: str, tool: str, *pairs: str) -> CallToolResult:
    """Call a tool with ``name=value`` arguments as a person would type them."""
    typed: Sequence[str] = [part for pair in pairs for part in ("--tool-arg", pair)]
    answer = inspect(data_dir, era, "--method", "tools/call", "--tool-name", tool, *typed)
    return CallToolResult.model_validate(answer["result"])


@INSPECTED
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_lists_the_tools_and_its_strict_lint_finds_nothing(data_dir: Path, era: str) -> None:
    answer = inspect(data_dir, era, "--method", "tools/list", "--strict")

    assert [tool["name"] for tool in answer["result"]["tools"]] == TOOLS
    assert "schemaFindings" not in answer


@INSPECTED
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_calls_status(data_dir: Path, era: str) -> None:
    result = inspect_call(data_dir, era, "status")

    assert data_of(result)["protocol"] == era


@INSPECTED
def test_the_inspector_calls_the_toolset_as_a_person_types_it(data_dir: Path) -> None:
    texts = 'texts=["Where is my parcel?","My package is late.","Prune the apple tree."]'
    handshake, modern = ERAS

    labelled = inspect_call(data_dir, handshake, "classify", texts, "labels=parcels, gardens", "abstain=false")
    assert data_of(labelled)["labels"] == {"parcels": [0, 1], "gardens": [2]}
    found = inspect_call(data_dir, modern, "search", "query=apples", texts, "top=1")
    assert data_of(found)["hits"][0]["text"] == "Prune the apple tree."
    compared = inspect_call(data_dir, modern, "similarity", 'left=["Apple"]', 'right=["Orange","Lightning"]')
    assert data_of(compared)["scores"] == [[0.3726, 0.4251]]
