"""What clients see of the tools: a committed snapshot, and the tools against it."""

import inspect
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import mcp_server_embeddings
from mcp_server_embeddings.mcp_layer.registry import published
from mcp_server_embeddings.mcp_layer.server import INSTRUCTIONS
from mcp_server_embeddings.tools.declaration import Tool, declared_tools

SNAPSHOT = Path(__file__).parent / "snapshots" / "tools.json"
TOOLS = tuple(declared_tools().values())

PROVIDED_BY_THE_SERVER = ("embedder", "engine", "protocol", "store", "reader")


def listed() -> str:
    """The tools as a client gets them, and the instructions."""
    tools = [published(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in TOOLS]
    return json.dumps({"instructions": INSTRUCTIONS, "tools": tools}, indent=2, ensure_ascii=False) + "\n"


def test_tools_list_is_the_committed_snapshot() -> None:
    """After an intended change: ``make snapshot``, and read the difference."""
    assert listed() == SNAPSHOT.read_text(encoding="utf-8")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_schema_and_the_function_agree_on_names_and_defaults(tool: Tool) -> None:
    """The Python API and the MCP tool are one function."""
    parameters = inspect.signature(getattr(mcp_server_embeddings, tool.name)).parameters
    of_function = {name: p.default for name, p in parameters.items() if name not in PROVIDED_BY_THE_SERVER}
    schema = published(tool).input_schema
    required = TypeAdapter(list[str]).validate_python(schema.get("required", []))
    properties = TypeAdapter(dict[str, dict[str, object]]).validate_python(schema["properties"])
    of_schema = {
        name: inspect.Parameter.empty if name in required else published_as.get("default")
        for name, published_as in properties.items()
    }
    assert of_schema == of_function


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_descriptions_say_purpose_use_misuse_and_result(tool: Tool) -> None:
    for part in ("Use it ", "Not ", "Returns "):
        assert part in tool.description
    properties = TypeAdapter(dict[str, dict[str, object]]).validate_python(published(tool).input_schema["properties"])
    assert all("description" in schema for schema in properties.values())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_published_schemas_hold_no_unions_and_no_noise(tool: Tool) -> None:
    text = json.dumps(published(tool).input_schema)
    assert "anyOf" not in text
    assert '"title"' not in text
    assert published(tool).input_schema["additionalProperties"] is False


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_annotations_tell_what_a_tool_can_do(tool: Tool) -> None:
    hints = published(tool).annotations
    assert hints is not None
    assert hints.open_world_hint is False
    writes = tool.name in ("embed", "collection_add", "collection_remove")
    assert hints.read_only_hint is not writes
    assert hints.destructive_hint is (tool.name != "embed" if writes else None)
