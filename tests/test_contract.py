"""The tools as clients see them: compared with a committed snapshot and with the contract."""

import inspect
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mcp_server_embeddings.mcp_layer.registry import published
from mcp_server_embeddings.mcp_layer.server import INSTRUCTIONS
from mcp_server_embeddings.tools.declaration import Tool, declared_tools

SNAPSHOT = Path(__file__).parent / "snapshots" / "tools.json"
TOOLS = tuple(declared_tools().values())

PROVIDED_BY_THE_SERVER = ("embedder", "engine", "protocol", "store", "sources", "folders", "output_dir", "process")

DEFINITIONS = 12_000
CORE_DEFINITIONS = 4_000
WITH_RESULTS = 18_000
"""Limits of characters of tools/list: names, descriptions and input schemas of all tools; the same of the core tools;
those of all tools with their output schemas.
"""


def listed() -> str:
    """Return the tools and the instructions as a client receives them, as JSON."""
    tools = [published(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in TOOLS]
    return json.dumps({"instructions": INSTRUCTIONS, "tools": tools}, indent=2, ensure_ascii=False) + "\n"


def test_tools_list_is_the_committed_snapshot() -> None:
    """After an intended change: ``make snapshot``, and read the difference."""
    assert listed() == SNAPSHOT.read_text(encoding="utf-8")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_schema_and_the_function_agree_on_names_and_defaults(tool: Tool) -> None:
    """The Python API and the MCP tool are one function."""
    parameters = inspect.signature(tool.function).parameters
    of_function = {name: p.default for name, p in parameters.items() if name not in PROVIDED_BY_THE_SERVER}
    schema = published(tool).input_schema
    required = TypeAdapter(list[str]).validate_python(schema.get("required", []))
    properties = TypeAdapter(dict[str, dict[str, object]]).validate_python(schema["properties"])
    # A schema leaves out a default of null, because a missing default means the same.
    of_schema = {
        name: inspect.Parameter.empty if name in required else published_as.get("default")
        for name, published_as in properties.items()
    }
    assert of_schema == of_function


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_descriptions_say_purpose_use_misuse_and_result(tool: Tool) -> None:
    places = [tool.description.rfind(part) for part in ("Use it ", "Not ", "Returns ")]
    assert -1 not in places
    assert places == sorted(places)
    properties = TypeAdapter(dict[str, dict[str, object]]).validate_python(published(tool).input_schema["properties"])
    assert all("description" in schema for schema in properties.values())


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_published_schemas_hold_no_unions_and_no_noise(tool: Tool) -> None:
    text = json.dumps(published(tool).input_schema)
    assert "anyOf" not in text
    assert '"title"' not in text
    assert "$ref" not in text
    assert "null" not in text


def characters(tools: Iterable[Tool], *keys: str) -> int:
    """Count the characters of these keys of the tools as they are sent; of all keys if none is given."""
    sent = [published(tool).model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    parts = [{key: entry[key] for key in entry if not keys or key in keys} for entry in sent]
    return len(json.dumps(parts, separators=(",", ":"), ensure_ascii=False))


def test_definitions_cost_little() -> None:
    defined = ("name", "description", "inputSchema")
    assert characters(TOOLS, *defined) <= DEFINITIONS
    assert characters((tool for tool in TOOLS if tool.core), *defined) <= CORE_DEFINITIONS
    assert characters(TOOLS, *defined, "outputSchema") <= WITH_RESULTS


def test_the_tools_are_those_of_the_contract() -> None:
    core = {"embed", "similarity", "search", "status"}
    assert {tool.name for tool in TOOLS if tool.core} == core
    others = {"read", "classify", "cluster", "deduplicate", "align", "condense", "collection_add", "collection_remove"}
    assert {tool.name for tool in TOOLS} == core | others


PARAMETERS: dict[str, str] = {
    "embed": "texts source id_field ids where save_as role dimensions encoding long_text",
    "similarity": "left right left_source right_source metric top",
    "search": "texts source id_field ids where top query queries mode diversity full explain",
    "read": "source id_field ids around max_tokens",
    "classify": "texts source id_field ids where top save_as tag labels examples abstain",
    "cluster": "texts source id_field ids where save_as tag clusters members",
    "deduplicate": "texts source id_field ids where top save_as threshold keep",
    "align": "left right left_source right_source top save_as threshold",
    "condense": "texts source id_field ids where max_tokens count query",
    "collection_add": "collection texts source id_field metadata",
    "collection_remove": "collection ids all",
    "status": "",
}

RESULTS: dict[str, str] = {
    "embed": "dimensions vectors file",
    "similarity": "pairs scores",
    "search": "hits results no_match",
    "read": "items",
    "classify": "counts labels abstained check method",
    "cluster": "clusters outliers",
    "deduplicate": "groups doubtful unique threshold suggested_threshold",
    "align": "changed same left_only right_only counts",
    "condense": "text selected tokens coverage",
    "collection_add": "added updated unchanged removed skipped size",
    "collection_remove": "removed",
    "status": "server state device precision limits collections",
}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_parameters_and_results_are_those_of_the_contract(tool: Tool) -> None:
    entry = published(tool)
    assert set(PARAMETERS[tool.name].split()) <= set(entry.input_schema["properties"])
    assert entry.output_schema is not None
    assert {"model", "notes", *RESULTS[tool.name].split()} <= set(entry.output_schema["properties"])


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_annotations_say_what_a_tool_can_do(tool: Tool) -> None:
    hints = published(tool).annotations
    assert hints is not None
    assert hints.open_world_hint is False
    # A tag replaces what an earlier call stored under the same name.
    destroys = tool.name in ("collection_add", "collection_remove") or "tag" in tool.arguments.model_fields
    writes = destroys or "save_as" in tool.arguments.model_fields
    assert hints.read_only_hint is not writes
    assert hints.destructive_hint is (destroys if writes else None)
