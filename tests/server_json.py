"""Make ``server.json``, the entry of the MCP registry, from the project's metadata and settings.

The registry publishes the entry only if the README of the package on PyPI names the same server.
"""

import json
import re
from dataclasses import Field, fields
from typing import Any

from bundle import PROJECT, SHOWN
from mcp_server_embeddings.config import Settings, default, variable
from mcp_server_embeddings.program import DISTRIBUTION, VERSION
from readme import README

SERVER_JSON = README.with_name("server.json")
_SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
_NAME = re.compile(r"<!-- mcp-name: (\S+) -->")


def server_json() -> str:
    """Return the content of ``server.json``."""
    (name,) = _NAME.findall(README.read_text(encoding="utf-8"))
    entry = {
        "$schema": _SCHEMA,
        "name": name,
        "title": "Embeddings",
        "description": PROJECT["description"],
        "version": VERSION,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": DISTRIBUTION,
                "version": VERSION,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [_variable(field) for field in fields(Settings) if field.name in SHOWN],
            }
        ],
    }
    return json.dumps(entry, indent=2, ensure_ascii=False) + "\n"


def _variable(field: "Field[object]") -> dict[str, Any]:
    """Return a setting as an environment variable of the registry's schema."""
    value = default(field)
    described = {"name": variable(field), "description": field.metadata["help"]}
    return {**described, "default": value} if isinstance(value, str) else {**described, "format": "filepath"}
